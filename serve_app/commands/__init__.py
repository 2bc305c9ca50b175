"""Redis commands over HTTP, by the convention of serverless Redis services."""

from serve_app.commands.routes import paths, router

__all__ = ["paths", "router"]
