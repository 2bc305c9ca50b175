"""Warm restart: a shard's entries in a file on its machine's disk, and back into a shard that starts again."""
