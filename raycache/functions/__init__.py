"""Functions whose results are kept in a cluster: `cache.cached(...)` and `raycache.cached(...)`.

What lives here: the keys of calls, the options of the decorator, the decorated functions for threads and for asyncio,
and what they count. What does not: how a value is loaded once for everybody (`raycache.loading`), handles
(`raycache.client`).
"""
