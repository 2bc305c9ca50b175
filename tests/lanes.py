"""Who runs beside whom when the tests run in several processes, as `make test` has them.

What lives here: which tests share a process, one after the other, and in which order all of them begin. What does not:
any fixture.

Most of the time a test with real processes waits: for a start, for a loss to be noticed. What only computes fills the
cores meanwhile, at a lower priority, so that those who wait for something are not late because of it. Tests of one lane
never run at the same time: they share what is started once, and each may look at its watch.
"""

from __future__ import annotations

from typing import Final

from xdist.scheduler import LoadScopeScheduling

RAY: Final = "tests/cluster/"
"""What shares the session's Ray."""
COMPUTING: Final = ("tests/unit/", "tests/model/", "tests/simulation/", "tests/differential/", "tests/typing/")
"""Whoever only computes: nothing waits for them, and they for nothing."""
BUT: Final = "tests/unit/benchmarks/real_servers/"
LONG: Final = ("tests/simulation/test_seeds.py", "tests/simulation/")
"""Of those what takes longest: begun last, everybody would wait for it."""
NICENESS: Final = 10


def is_computing(nodeid: str) -> bool:
    """Whether a test only computes."""
    return nodeid.startswith(COMPUTING) and not nodeid.startswith(BUT)


def scope_of(nodeid: str) -> str:
    """Return what a test shares its process with: a lane, or else its file."""
    if nodeid.startswith(RAY):
        return "ray"
    return nodeid.split("::", 1)[0] if is_computing(nodeid) else "servers"


def rank(nodeid: str) -> int:
    """Return a number by which tests are to be sorted, so that what takes longest begins first."""
    if not is_computing(nodeid):
        return 0 if nodeid.startswith(RAY) else 1
    return next((2 + number for number, start in enumerate(LONG) if nodeid.startswith(start)), 2 + len(LONG))


class Lanes(LoadScopeScheduling):
    """Hands out a lane, or a file, to each process that has nothing left to do, in the order of `rank`."""

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid)
