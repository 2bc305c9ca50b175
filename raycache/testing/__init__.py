"""Tools for testing programs that use raycache, public and documented: a clock, and a cluster without Ray."""

from raycache.testing.clock import FakeClock
from raycache.testing.local import LocalCluster

__all__ = ["FakeClock", "LocalCluster"]
