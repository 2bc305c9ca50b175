"""What more memory, or less, would give: miss-ratio curves from samples.

What lives here: the curve of one shard (`shards.py`), and putting those of several together (`points.py`). What does
not: who feeds it (`raycache.store.watching`). Pure: numbers in, numbers out.
"""
