"""`make bench-hits`: hits of every policy on recorded traces, the miss-ratio curve against the exact one, its cost."""
