"""What the cache is used for: which keys are hot, and what decorated functions have saved.

What lives here: the bounded sketch of hot keys, the bounded table of functions, and the row in which both ends of a
connection count a function. What does not: who feeds them (`raycache.shard`, `raycache.functions`), and showing them
(`raycache.cli.top`). Pure: time is handed in.
"""
