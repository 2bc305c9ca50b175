"""OpenTelemetry traces: from a handle's call to the shard that answers and the function that loads.

What lives here: both ends, each imported only where traces are wanted: `handles` for programs, `shards` for a shard's
process. While nobody asks for traces nothing of this is loaded, no byte of context is sent, and no call takes another
way.
"""
