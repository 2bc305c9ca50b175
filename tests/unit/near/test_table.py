"""The near table: what is served, what is kept, who leaves."""

from __future__ import annotations

import random
from contextlib import nullcontext
from datetime import date
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from raycache.client.guarded import Guarded, header_in, opened
from raycache.client.near_parts import at_once, holds, known
from raycache.codec import LOADED, OBJECT, PICKLE, RAW, encode
from raycache.codec.loaded import frame
from raycache.descriptor import Descriptor
from raycache.loading.found import IS_DUE, NOT_PLAIN
from raycache.loading.options import LoadOptions
from raycache.near import ABSENT, UNTRACKED, Flight, NearTable, Source
from raycache.near.table import ENTRY_BYTES, HEADER_BYTES, TAG_BYTES

FOREVER = float("inf")


def payload_of(value: object) -> bytes:
    kind, data = encode(value)
    return bytes([kind]) + data


def table_of(capacity_bytes: int = 1 << 20) -> NearTable:
    return NearTable(capacity_bytes, opened, nullcontext())


def source() -> Source:
    return Source(b"t", FOREVER)


def keep(table: NearTable, key: bytes, value: object, by: Source, left_ms: int = -1, sent_s: float = 0.0) -> None:
    flight, is_mine = table.join(key, object)
    assert is_mine
    table.land(flight, by, payload_of(value), left_ms, sent_s)


def test_what_was_fetched_is_found() -> None:
    table = table_of()
    assert table.find(b"k", 0.0) is ABSENT
    keep(table, b"k", "v", source())
    assert table.find(b"k", 1e9) == "v"
    stats = table.stats(links=1)
    assert (stats.hits, stats.misses, stats.fetches, stats.entries, stats.hit_ratio) == (1, 1, 1, 1, 0.5)
    assert stats.used_bytes == ENTRY_BYTES + 1 + 2


@pytest.mark.parametrize("value", [[1, {"a": 2}], {"a": [1]}, bytearray(b"x"), {1, 2}, (1, [2]), np.arange(3)])
def test_each_caller_gets_a_value_of_its_own(value: Any) -> None:
    table = table_of()
    keep(table, b"k", value, source())
    first, second = table.find(b"k", 0.0), table.find(b"k", 0.0)
    assert first is not second
    assert type(first) is type(value)
    np.testing.assert_array_equal(first, value) if isinstance(value, np.ndarray) else None
    if isinstance(first, list):
        first[1]["a"] = "changed"
    elif isinstance(first, np.ndarray):
        first += 1
    elif isinstance(first, tuple):
        first[1].append(3)
    else:
        first.clear()
    third = table.find(b"k", 0.0)
    assert np.array_equal(third, value) if isinstance(value, np.ndarray) else third == value


@pytest.mark.parametrize("value", [None, True, 7, 1.5, "text", b"bytes", date(2026, 1, 1)])
def test_what_cannot_be_changed_is_shared(value: object) -> None:
    table = table_of()
    keep(table, b"k", value, source())
    assert table.find(b"k", 0.0) is table.find(b"k", 0.0)
    assert table.find(b"k", 0.0) == value


def test_a_value_is_served_while_its_source_is_fresh_and_it_lives() -> None:
    table, by = table_of(), source()
    keep(table, b"k", "v", by, left_ms=500, sent_s=10.0)
    by.fresh_until_s = 11.0
    assert (table.find(b"k", 10.4), table.find(b"k", 10.5)) == ("v", ABSENT)
    keep(table, b"k", "v", by, sent_s=10.0)
    assert (table.find(b"k", 10.9), table.find(b"k", 11.0)) == ("v", ABSENT)
    assert table.stats(0).too_old == 2
    by.fresh_until_s = 12.0
    assert table.find(b"k", 11.5) == "v"


def test_a_lost_source_takes_its_values_and_nothing_else() -> None:
    table, lost, other = table_of(), source(), source()
    keep(table, b"a", 1, lost)
    keep(table, b"b", 2, other)
    flight, _ = table.join(b"c", object)
    table.lose(lost)
    table.lose(lost)
    assert (table.find(b"a", 0.0), table.find(b"b", 0.0), len(table)) == (ABSENT, 2, 1)
    table.land(flight, lost, payload_of(3), -1, 0.0)
    assert table.find(b"c", 0.0) is ABSENT
    assert table.stats(0).emptied == 1


@pytest.mark.parametrize("change", ["invalidate", "forget", "clear"])
def test_what_changes_while_it_is_fetched_is_not_kept(change: str) -> None:
    table = table_of()
    flight, _ = table.join(b"k", object)
    if change == "clear":
        table.clear()
    else:
        getattr(table, change)([b"k"])
    later, is_mine = table.join(b"k", object)  # whoever comes now does not wait for the old answer
    assert is_mine
    assert later is not flight
    table.land(flight, source(), payload_of("old"), -1, 0.0)
    assert table.find(b"k", 0.0) is ABSENT
    assert table.join(b"k", object) == (later, False)
    table.land(later, source(), payload_of("new"), -1, 0.0)
    assert table.find(b"k", 0.0) == "new"


@pytest.mark.parametrize(("by", "payload", "left_ms"), [
    (None, payload_of(1), -1), (source(), None, -1), (source(), payload_of(1), UNTRACKED),
    (source(), b"\xff unknown kind", -1), (source(), payload_of("x" * (1 << 18)), -1),
], ids=["without a source", "absent", "untracked", "not to be decoded", "too large"])
def test_what_is_not_kept(by: Source | None, payload: bytes | None, left_ms: int) -> None:
    table = table_of()
    flight, _ = table.join(b"k", object)
    table.land(flight, by, payload, left_ms, 0.0)
    assert (table.find(b"k", 0.0), len(table), table.stats(0).used_bytes) == (ABSENT, 0, 0)
    assert table.join(b"k", object)[1]  # its flight is over


def test_what_is_not_used_leaves_first() -> None:
    size = ENTRY_BYTES + 2 + 101
    table, by = table_of(10 * size), source()
    for number in range(10):
        keep(table, b"%02d" % number, b"x" * 100, by)
    assert table.find(b"00", 0.0) is not ABSENT
    for number in range(10, 15):
        keep(table, b"%02d" % number, b"x" * 100, by)
    kept = sorted(key for key in (b"%02d" % number for number in range(15)) if table.find(key, 0.0) is not ABSENT)
    assert kept == [b"00", b"06", b"07", b"08", b"09", b"10", b"11", b"12", b"13", b"14"]
    assert table.stats(0).evicted == 5
    assert table.stats(0).used_bytes <= 10 * size


LOADED_PAYLOAD = bytes([LOADED]) + frame(*encode("v"), number=1, load_s=0.5, grace_ms=0)
TAGGED_PAYLOAD = bytes([LOADED]) + frame(*encode("v"), number=1, load_s=0.5, grace_ms=0, tags=((b"tag", 7),))


def keep_payload(table: NearTable, key: bytes, payload: bytes, left_ms: int = -1) -> None:
    flight, _ = table.join(key, object)
    table.land(flight, source(), payload, left_ms, 0.0)


def guarded_table() -> NearTable:
    return NearTable(1 << 20, opened, nullcontext(), (Guarded,), header_in)


def test_what_loading_keeps_beside_a_value_is_kept_and_charged() -> None:
    table = guarded_table()
    keep_payload(table, b"k", LOADED_PAYLOAD, left_ms=1000)
    entry = table.served(b"k", 0.5)
    assert entry is not None
    assert (entry.header.load_s, entry.value, entry.payload, entry.is_guarded) == (0.5, "v", None, False)
    assert table.served(b"k", 1.0) is None
    assert table.stats(0).used_bytes == ENTRY_BYTES + HEADER_BYTES + 1 + len(LOADED_PAYLOAD)
    keep(table, b"plain", "v", source())
    plain = table.served(b"plain", 0.0)
    assert plain is not None
    assert plain.header is None


def test_what_needs_a_second_look_is_kept_and_never_simply_returned() -> None:
    table = guarded_table()
    keep_payload(table, b"k", TAGGED_PAYLOAD)
    entry = table.served(b"k", 0.0)
    assert entry is not None
    assert (entry.is_guarded, entry.payload, entry.header.tags) == (True, TAGGED_PAYLOAD, ((b"tag", 7),))
    assert table.stats(0).used_bytes == (
        ENTRY_BYTES + HEADER_BYTES + TAG_BYTES + len(b"tag") + 1 + len(TAGGED_PAYLOAD))
    with pytest.raises(Guarded):
        table.find(b"k", 0.0)
    with pytest.raises(Guarded):
        table.take(entry)
    strict = table_of()  # which knows no such thing
    keep_payload(strict, b"k", TAGGED_PAYLOAD)
    assert len(strict) == 0


def test_looks_are_counted_and_generations_are_not() -> None:
    table = guarded_table()
    keep(table, b"k", "v", source(), left_ms=1000)
    keep(table, b"tag", 7, source())
    keep(table, b"list", [7], source())
    assert [table.generation(tag, 0.0) for tag in (b"tag", b"list", b"absent")] == [7, ABSENT, ABSENT]
    assert table.served(b"k", 0.0) is not None
    stats = table.stats(0)
    assert (stats.hits, stats.misses, stats.too_old) == (0, 0, 0)
    entry = table.look(b"k", 0.0)
    assert entry is not None
    assert table.take(entry) == "v"
    assert (table.look(b"k", 5.0), table.look(b"absent", 0.0)) == (None, None)
    stats = table.stats(0)
    assert (stats.hits, stats.misses, stats.too_old) == (2, 2, 1)


@pytest.mark.parametrize(("left_ms", "beta", "expected"), [
    (-1, 1.0, "v"), (10_000_000, 1.0, "v"), (1000, 0.0, "v"), (1000, 1e9, IS_DUE),
])
def test_a_hit_of_loading_is_returned_at_once_unless_it_is_to_be_refreshed(left_ms: int, beta: float,
                                                                        expected: object) -> None:
    table = guarded_table()
    options, rng = LoadOptions(beta=beta), random.Random(1)
    keep(table, b"tag", 7, source())
    for payload in (LOADED_PAYLOAD, TAGGED_PAYLOAD):
        keep_payload(table, b"k", payload, left_ms)
        hits = table.stats(0).hits
        assert at_once(table, b"k", 0.0, options, rng) == expected
        assert table.stats(0).hits - hits == (expected == "v")
    found = known(table, b"k", 0.0)
    assert found is not None
    assert (found.value, found.left_ms, found.tags) == ("v", left_ms, ((b"tag", 7),))


def test_what_is_not_plainly_good_is_left_to_the_engine() -> None:
    table = guarded_table()
    options, rng = LoadOptions(), random.Random(1)
    grace = bytes([LOADED]) + frame(*encode("v"), number=1, load_s=0.0, grace_ms=500)
    pickled = bytes([LOADED, *frame(PICKLE, b"frame", number=1, load_s=0.0, grace_ms=0)])
    large = bytes([OBJECT]) + Descriptor(b"n" * 16, LOADED, 10, "s0").pack()
    for key, payload, left_ms in ((b"tags", TAGGED_PAYLOAD, -1), (b"grace", grace, 1000), (b"pickle", pickled, -1),
                                  (b"large", large, -1)):
        keep_payload(table, key, payload, left_ms)
    assert at_once(table, b"grace", 0.4, options, rng) == "v"
    assert at_once(table, b"grace", 0.6, options, rng) is NOT_PLAIN
    keep(table, b"tag", 8, source())
    for key in (b"absent", b"tags", b"pickle", b"large"):
        assert at_once(table, key, 0.0, options, rng) is NOT_PLAIN
    header = header_in(grace)
    assert header is not None
    assert [holds(table, b"grace", header, {}, now_s) for now_s in (0.4, 0.6)] == [True, False]
    assert not holds(table, b"gone", header, {}, 0.0)


class Fetch:
    """One fetch: its flight, and what the shard has answered."""

    def __init__(self, flight: Flight, by: Source, number: int) -> None:
        self.flight = flight
        self.source = by
        self.link = number
        self.answer: tuple[bool, int] | None = None


class OneShard(RuleBasedStateMachine):
    """A table and a shard, with every order of the messages between them.

    The shard has one number per key, and only larger ones are written. Announcements wait in the order in which they
    were made; answers come in any order. What is served must be what the shard has, unless an announcement is on its
    way; and never less than what this handle has written itself.
    """

    def __init__(self) -> None:
        super().__init__()
        self.table = table_of()
        self.now = {b"a": 0, b"b": 0}
        self.own = {b"a": 0, b"b": 0}
        self.noted: set[bytes] = set()
        self.link = 0
        """Which connection it is: whoever read for an earlier one is not known any more."""
        self.source = source()
        self.announced: list[bytes | None] = []
        self.fetches: list[Fetch] = []
        self.writes: list[tuple[bytes, int]] = []
        """Own writes that the shard has done, and whose answers are on their way."""

    keys = st.sampled_from([b"a", b"b"])

    def change(self, key: bytes) -> None:
        self.now[key] += 1
        if key in self.noted:
            self.noted.discard(key)
            self.announced.append(key)

    @rule(key=keys)
    def somebody_writes(self, key: bytes) -> None:
        self.change(key)

    @rule(key=keys)
    def this_handle_writes(self, key: bytes) -> None:
        self.change(key)
        self.writes.append((key, self.now[key]))

    @precondition(lambda self: self.writes)
    @rule(data=st.data())
    def its_write_returns(self, data: st.DataObject) -> None:
        key, value = self.writes.pop(data.draw(st.integers(0, len(self.writes) - 1)))
        self.table.forget((key,))
        self.own[key] = max(self.own[key], value)

    @rule(key=keys)
    def it_asks(self, key: bytes) -> None:
        flight, is_mine = self.table.join(key, object)
        if is_mine:
            self.fetches.append(Fetch(flight, self.source, self.link))

    @precondition(lambda self: any(fetch.answer is None for fetch in self.fetches))
    @rule(data=st.data())
    def the_shard_reads(self, data: st.DataObject) -> None:
        fetch = data.draw(st.sampled_from([fetch for fetch in self.fetches if fetch.answer is None]))
        is_known = fetch.link == self.link
        if is_known:
            self.noted.add(fetch.flight.key)
        fetch.answer = is_known, self.now[fetch.flight.key]

    @precondition(lambda self: any(fetch.answer is not None for fetch in self.fetches))
    @rule(data=st.data())
    def an_answer_comes(self, data: st.DataObject) -> None:
        fetch = data.draw(st.sampled_from([fetch for fetch in self.fetches if fetch.answer is not None]))
        self.fetches.remove(fetch)
        assert fetch.answer is not None
        is_tracked, value = fetch.answer
        self.table.land(fetch.flight, fetch.source, bytes([RAW]) + b"%d" % value, -1 if is_tracked else UNTRACKED, 0.0)

    @precondition(lambda self: self.announced)
    @rule()
    def an_announcement_comes(self) -> None:
        key = self.announced.pop(0)
        if key is None:
            self.table.lose(self.source)
            self.source = source()
        else:
            self.table.invalidate([key])

    @rule()
    def everything_may_have_changed(self) -> None:
        self.noted.clear()
        self.announced.append(None)

    @rule()
    def the_link_is_lost_and_made_again(self) -> None:
        self.noted.clear()
        self.announced.clear()  # what was on its way never comes
        self.table.lose(self.source)
        self.link += 1
        self.source = source()

    @invariant()
    def what_is_served_is_true_or_about_to_go(self) -> None:
        for key, value in self.now.items():
            found = self.table.find(key, 0.0)
            if found is not ABSENT:
                assert int(found) == value or key in self.announced or None in self.announced
                assert int(found) >= self.own[key]


TestOneShard = OneShard.TestCase
