"""What a cluster of 10, 100 or 1,000 nodes costs, by parts measured here and by simulation: `make bench-scale`."""
