"""Loading through the cache: what is decided about a value that was read, and what is done about one that is missing.

What lives here: names only. `options.py` and `observer.py` are public; `engine.py`, `many.py` and `refreshing.py`
decide, `early.py` is XFetch, `found.py` reads what the cache holds, `steps.py` is what the engine asks its driver to
do. No sockets, no threads, no clock: the handles (`raycache.client`) drive it.
"""

from raycache.loading.observer import LoadObserver
from raycache.loading.options import LoadOptions, LoadSettings

__all__ = ["LoadObserver", "LoadOptions", "LoadSettings"]
