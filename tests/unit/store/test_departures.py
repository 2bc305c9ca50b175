"""What left, and why: exact about what it has, honest about what it has not, and bounded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from raycache.store import Store, make_policy
from raycache.store.departures import EXPIRED, MAX_ROWS, MIN_ROWS, MOVED, Departure, Departures

NOW_MS = 1_700_000_000_000


def store_of(entries: int = 3) -> Store:
    return Store(capacity_bytes=1 << 20, max_entries=entries, policy=make_policy("lru"))


def test_every_way_out_is_told_apart() -> None:
    store = store_of()
    store.step(NOW_MS)
    store.put(b"short", b"v", 0, NOW_MS + 5, NOW_MS)
    store.put(b"gone", b"v", 0, None, NOW_MS)
    store.delete(b"gone", NOW_MS)
    store.step(NOW_MS + 20)
    for number in range(4):
        store.put(b"%d" % number, b"v", 0, None, NOW_MS + 20)
    assert store.departures.of(b"short") == Departure("expired", NOW_MS + 20)
    assert store.departures.of(b"gone") == Departure("deleted", NOW_MS)
    assert store.departures.of(b"0") == Departure("evicted", NOW_MS + 20)
    assert store.departures.of(b"3") == Departure("", 0)


def test_an_expired_entry_that_a_read_finds_has_expired() -> None:
    store = store_of()
    store.put(b"k", b"v", 0, NOW_MS + 5, NOW_MS)
    assert store.get(b"k", NOW_MS + 5) is None
    assert store.departures.of(b"k").cause == "expired"


def test_being_written_again_and_overwritten_is_no_leaving() -> None:
    store = store_of()
    store.put(b"k", b"v", 0, None, NOW_MS)
    store.put(b"k", b"longer", 0, None, NOW_MS)
    assert store.departures.of(b"k") == Departure("", 0)


def test_clearing_counts_as_deleting_all_that_has_not_left_since() -> None:
    store = store_of(4)
    store.step(NOW_MS)
    for number in range(4):
        store.put(b"%d" % number, b"v", 0, None, NOW_MS)
    store.clear()
    store.step(NOW_MS + 100, budget=0)
    store.put(b"0", b"v", 0, NOW_MS + 110, NOW_MS + 100)
    while store.step(NOW_MS + 200):
        pass
    assert store.departures.of(b"0").cause == "expired"  # later than the clearing, though that was buried after it
    assert {store.departures.of(b"%d" % number) for number in (1, 2, 3)} == {Departure("deleted", NOW_MS)}


def test_a_cause_is_restated_only_where_it_was_noted() -> None:
    departures = Departures(1 << 20)
    departures.restate(b"k", MOVED)
    assert departures.of(b"k") == Departure("", 0)
    departures.note(b"k", EXPIRED, NOW_MS)
    departures.restate(b"k", MOVED)
    assert departures.of(b"k") == Departure("moved", NOW_MS)


def test_it_is_bounded_whatever_the_store() -> None:
    sizes = [len(Departures(capacity).hashes) for capacity in (1, 64 << 20, 512 << 20, 1 << 40)]
    assert sizes == [MIN_ROWS, 1 << 14, MAX_ROWS, MAX_ROWS]


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=3), st.integers(1, 4)), max_size=300), st.binary(max_size=3))
def test_it_never_says_something_wrong(history: list[tuple[bytes, int]], asked: bytes) -> None:
    """Against all that happened: a cause is the last one, and without one the key has not left since `at_ms`."""
    departures = Departures(1)
    departures.mask = 7  # many keys to a row
    for at, (key, cause) in enumerate(history):
        departures.note(key, cause, NOW_MS + at)
    known = departures.of(asked)
    left = [(NOW_MS + at, cause) for at, (key, cause) in enumerate(history) if key == asked]
    if known.cause:
        assert (known.at_ms, ("", "expired", "evicted", "deleted", "moved").index(known.cause)) == left[-1]
    else:
        assert all(at_ms < known.at_ms for at_ms, _ in left)
