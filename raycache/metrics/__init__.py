"""What raycache measures of itself, and how that is written down for Prometheus and Redis' tools.

What lives here: histograms, the list of every metric, the text format, the slow log and the log of latency events: all
pure. What does not: counting (`raycache.shard`, `raycache.gateway`), the HTTP door (`raycache.gateway.scrape`), Ray's
metrics agent (`raycache.actors.metrics`).
"""
