"""The clock that tests drive by hand."""

from __future__ import annotations

import pytest

from raycache.clock import Clock
from raycache.testing.clock import FakeClock


def test_time_stands_still_until_it_is_moved() -> None:
    clock: Clock = (fake := FakeClock(unix_ms=5000))
    assert (clock.unix_ms(), clock.monotonic_s()) == (5000, 0.0)
    fake.advance(1.5)
    assert (clock.unix_ms(), clock.monotonic_s()) == (6500, 1.5)


def test_the_wall_clock_jumps_alone_and_backwards() -> None:
    fake = FakeClock(unix_ms=5000)
    fake.jump(-3)
    assert (fake.unix_ms(), fake.monotonic_s()) == (2000, 0.0)
    with pytest.raises(ValueError, match="forwards"):
        fake.advance(-1)
