"""Keys as resources: plain REST under `/v1/{cluster}`."""

from serve_app.rest.keys import router

__all__ = ["router"]
