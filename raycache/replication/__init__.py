"""Copies of slots on several shards: versions, streams between shards, transfers, repair, leases.

Pure, all of it: no sockets, no Ray, no clock. `Replicator` is one shard's part; `raycache.shard.peers` carries its
messages.
"""
