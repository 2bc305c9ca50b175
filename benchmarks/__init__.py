"""Measurements against real servers. `python -m benchmarks.bench` runs them; README.md says how each is made."""
