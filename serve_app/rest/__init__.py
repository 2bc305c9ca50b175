"""Keys as resources: plain REST under `/v1/{cluster}`."""

from raycache.shard.classes import READ, WRITE, WRITE_MANY
from serve_app.rest import keys, many

routes = [*keys.router.routes, *many.router.routes]
classes = {keys.get_key: READ, keys.head_key: READ, keys.put_key: WRITE, keys.delete_key: WRITE,
           many.invalidate: WRITE_MANY}
"""Which class a route's requests have; a batch's depends on what is in it."""

__all__ = ["classes", "routes"]
