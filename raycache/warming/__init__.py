"""Warming a cache before its users come: from access logs and a database, from another cluster, by replaying reads.

What lives here: which keys are hot (`logs`, `topk`), how fast to load them (`controller`, `pace`), loading and copying
(`filling`, `running`), recording and replaying reads (`recording`, `replaying`, `read_log`). What does not: the command
line (`raycache.cli`), and what the shards do for it (`raycache.shard.commands.warming`). No Ray.
"""
