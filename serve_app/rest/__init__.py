"""Keys as resources: plain REST under `/v1/{cluster}`."""

from serve_app.rest import keys, many

routes = [*keys.router.routes, *many.router.routes]

__all__ = ["routes"]
