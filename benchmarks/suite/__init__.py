"""Everything side by side: raycache, Redis, Redis Cluster, memcached, an actor with a dict, and the raw loopback.

The parts are questions of `make bench` like any other, but they have no goals: they show how each side behaves when one
thing changes. benchmarks/README.md says how each is made, `benchmarks.report` makes tables and plots from the answers.
"""
