"""raycache over HTTP: a Ray Serve application.

What lives here: the HTTP door. `app.py` puts it together, `rest/` has keys as resources, `commands/` the convention of
Redis clients that speak HTTP. What does not: the cache, which it reaches through an ordinary handle. It keeps nothing
between two requests but connections, so any number of Serve replicas may run.
"""
