"""The speed and memory goals, beside Redis 7 and the bare loopback in the same run: `make bench-fast`."""
