"""The control in its process."""

from __future__ import annotations

from benchmarks.harness import busy_loop


def test_a_process_of_its_own_looks_at_the_clock() -> None:
    assert 0 < busy_loop.largest_gap_ms(0.01) < 10_000
