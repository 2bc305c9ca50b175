"""The Grafana dashboard: what it shows, and writing it where Ray's Grafana set-up looks.

What lives here: `raycache_grafana_dashboard.json`, ready to be loaded, made by `build`. What does not: the metrics
(`raycache.metrics.families`), the command `raycache dashboard` (`raycache.cli`).
"""
