"""The sketch of hot keys: its bounds hold for every stream."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raycache.usage.sketch import FADED, SpaceSaving

KEYS = st.integers(0, 30).map(lambda number: b"key:%d" % number)
STREAMS = st.lists(KEYS, max_size=400)


@given(STREAMS, st.integers(1, 20))
def test_the_bounds_of_the_paper_hold(stream: list[bytes], size: int) -> None:
    sketch, truth = SpaceSaving(size), defaultdict[bytes, int](int)
    for key in stream:
        sketch.add(key)
        truth[key] += 1
    kept = {heavy.key: heavy for heavy in sketch.top(size)}
    assert sketch.total == len(stream)
    assert len(sketch) == len(kept) == min(size, len(truth))
    for key, heavy in kept.items():
        assert heavy.count - heavy.error <= truth[key] <= heavy.count
        assert heavy.error <= len(stream) / size
    assert {key for key, count in truth.items() if count > len(stream) / size} <= kept.keys()


@given(st.lists(st.one_of(KEYS, st.just(None)), max_size=300), st.integers(1, 12))
def test_they_hold_for_what_has_faded_too(stream: list[bytes | None], size: int) -> None:
    """None in the stream: it fades by a fifth."""
    sketch, truth, total = SpaceSaving(size), defaultdict[bytes, float](float), 0.0
    for key in stream:
        if key is None:
            sketch.fade(0.8)
            truth, total = defaultdict(float, {each: weight * 0.8 for each, weight in truth.items()}), total * 0.8
        else:
            sketch.add(key)
            truth[key] += 1
            total += 1
    slack = 2 * FADED
    for heavy in sketch.top(size):
        assert heavy.count - heavy.error - 1e-9 <= truth[heavy.key] <= heavy.count + slack
        assert heavy.error <= total / size + 1e-9
    assert {key for key, count in truth.items() if count > total / size + slack} <= {
        heavy.key for heavy in sketch.top(size)}


def test_weights_count_as_so_many() -> None:
    sketch = SpaceSaving(2)
    sketch.add(b"a", 5.0)
    sketch.add(b"b", 2.0)
    sketch.add(b"c")
    assert [(heavy.key, heavy.count, heavy.error) for heavy in sketch.top(9)] == [(b"a", 5.0, 0.0), (b"c", 3.0, 2.0)]


def test_a_quiet_sketch_becomes_empty() -> None:
    sketch = SpaceSaving(4)
    sketch.add(b"a")
    sketch.fade(0.5)
    assert len(sketch) == 1
    sketch.fade(0.01)
    assert (len(sketch), sketch.top(4)) == (0, [])


def test_equal_counts_are_shown_in_the_order_of_the_keys() -> None:
    sketch = SpaceSaving(4)
    for key in (b"c", b"a", b"b"):
        sketch.add(key)
    assert [heavy.key for heavy in sketch.top(2)] == [b"a", b"b"]


def test_it_has_at_least_one_counter() -> None:
    with pytest.raises(ValueError, match="not 0"):
        SpaceSaving(0)
