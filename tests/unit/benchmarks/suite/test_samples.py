"""What is kept of single requests."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks.suite.samples import Sample, counts_by_length, is_sustained, ladder, record

US, MS = 1_000, 1_000_000


def times(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def test_percentiles_are_times_that_were_measured() -> None:
    found = ladder(times(*(number * US for number in range(1, 101))))
    assert found["p0"] == 1.0
    assert found["p50"] == 51.0
    assert found["p99"] == 100.0
    assert found["p99.99"] == found["p100"] == 100.0


def test_times_are_counted_from_each_edge_to_below_the_next() -> None:
    counts = counts_by_length(times(0, MS - 1, MS, 5 * MS, 4_000 * MS), edges_ms=(0, 1, 5))
    assert counts == [2, 1, 2]


def test_a_record_has_every_round_and_the_percentiles_of_all() -> None:
    kept = record([
        Sample(10.0, times(1 * US, 2 * US), wrong=1, errors={"a": 1}, failed=1),
        Sample(30.0, times(3 * US), errors={"a": 2, "b": 1}, failed=3),
        Sample(20.0, times(9 * US)),
    ])
    assert kept["rps"] == 20.0
    assert kept["rps_rounds"] == [10.0, 30.0, 20.0]
    assert kept["p99_us_rounds"] == [2.0, 3.0, 9.0]
    assert kept["latency_us"]["p100"] == 9.0
    assert (kept["requests"], kept["wrong"], kept["failed"]) == (4, 1, 4)
    assert kept["errors"] == {"a": 3, "b": 1}
    assert "service_us" not in kept
    assert json.loads(json.dumps(kept)) == kept


def test_an_open_loop_keeps_both_ways_to_count() -> None:
    kept = record([Sample(10.0, times(35 * MS, 26 * MS), times(35 * MS, MS))])
    assert kept["latency_us"]["p0"] == 26_000
    assert kept["service_us"]["p0"] == 1_000


def test_no_rounds_are_an_error() -> None:
    with pytest.raises(ValueError, match="no rounds"):
        record([])


@pytest.mark.parametrize(("rps", "unserved", "failed", "kept"),
                         [(995.0, 0, 0, True), (800.0, 0, 0, False), (1_000.0, 1, 0, False), (1_000.0, 0, 1, False)])
def test_a_rate_is_kept_by_answering_everything_as_fast_as_it_comes(
    rps: float, unserved: int, failed: int, kept: bool
) -> None:
    assert is_sustained({"rps": rps, "unserved": unserved, "failed": failed}, 1_000) is kept
