"""The door for clients that know nothing of clusters: one port that looks like one standalone Redis 7."""
