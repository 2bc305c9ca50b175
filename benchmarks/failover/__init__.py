"""`make bench-failover`: what losing a shard, a machine, the router or Ray's GCS costs those who read and write."""
