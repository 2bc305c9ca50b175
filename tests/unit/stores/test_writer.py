"""The core of write-behind: order, batches, what a failure means, and that nothing is lost whoever dies when."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raycache.stores.backoff import Backoff
from raycache.stores.writer import Bury, Pause, Pull, Remove, Store, Waiting, Writer, WriterSettings


def one(key: str, version: int = 1, payload: bytes | None = b"\0v") -> Waiting:
    return Waiting(b"r:" + key.encode(), key.encode(), version, version, payload)


def writer(**options: float) -> Writer:
    return Writer(WriterSettings(**options), random.Random(1))  # type: ignore[arg-type]


def test_what_is_pulled_is_stored_and_then_removed() -> None:
    core = writer()
    assert core.next_step(0.0) == Pull(500)
    core.pulled([one("a"), one("b")], 0.0, is_complete=True)
    assert core.next_step(0.0) == Store([one("a"), one("b")])
    core.stored(0.0)
    assert core.next_step(0.0) == Remove([one("a"), one("b")])
    core.removed(0.0)
    assert core.next_step(0.0) == Pull(500)
    assert (core.figures.written, core.figures.batches) == (2, 1)


def test_many_are_cut_into_batches_that_follow_each_other() -> None:
    core = writer(batch=2)
    core.pulled([one(name) for name in "abcde"], 0.0, is_complete=True)
    sizes = []
    while isinstance(step := core.next_step(0.0), Store):
        sizes.append(len(step.batch))
        core.stored(0.0)
        assert isinstance(core.next_step(0.0), Remove)
        core.removed(0.0)
    assert sizes == [2, 2, 1]


def test_with_nothing_to_do_it_waits_and_is_drained_only_if_all_have_said_so() -> None:
    core = writer(flush_s=0.5)
    core.pulled([], 0.0, is_complete=False)
    assert not core.is_drained
    assert core.next_step(0.1) == Pause(0.4)
    core.pulled([], 0.5, is_complete=True)
    assert core.is_drained
    core.pulled([one("a")], 1.0, is_complete=True)
    assert not core.is_drained


def test_what_is_handed_out_again_is_written_and_removed_again_but_not_at_once() -> None:
    """While slots move, or until other owners have heard, a shard hands out what the store has already."""
    core = writer(flush_s=0.5)
    core.pulled([one("a"), one("b")], 0.0, is_complete=True)
    core.stored(0.0)
    core.removed(0.0)
    core.pulled([one("a"), one("b", 2), one("c")], 0.1, is_complete=True)
    assert core.next_step(0.1) == Store([one("a"), one("b", 2), one("c")]), "something is new"
    core.stored(0.1)
    core.removed(0.1)
    core.pulled([one("a"), one("c")], 0.2, is_complete=True)
    assert not core.is_drained
    assert isinstance(core.next_step(0.2), Pause)
    assert core.next_step(0.75) == Store([one("a"), one("c")]), "its removal may have gone astray"
    core.stored(0.75)
    core.removed(0.75)
    assert core.figures.written == 4
    core.pulled([], 0.8, is_complete=True)
    assert core.is_drained


def test_a_database_that_is_away_is_tried_for_ever_less_and_less_often() -> None:
    core, now, waits = writer(backoff_s=0.1, max_backoff_s=5), 0.0, []
    for _ in range(50):
        core.pulled([one("a")], now, is_complete=True)
        assert isinstance(core.next_step(now), Store)
        core.unavailable("gone", now)
        pause = core.next_step(now)
        assert isinstance(pause, Pause)
        waits.append(pause.seconds)
        now += pause.seconds
        assert isinstance(core.next_step(now), Pull), "what waits may have been replaced meanwhile"
    assert waits[0] <= 0.1 < waits[3]
    assert all(2.5 <= wait <= 5 for wait in waits[-30:])
    assert len(set(waits[-30:])) > 20
    assert (core.figures.buried, core.figures.outages) == (0, 50)


def test_the_one_that_is_refused_is_found_and_the_others_are_written() -> None:
    core, stored = writer(attempts=1), []
    records = [one(f"k{number}") for number in range(100)]
    core.pulled(records, 0.0, is_complete=True)
    buried: list[str] = []
    while not isinstance(step := core.next_step(0.0), Pull):
        match step:
            case Store(batch):
                if any(each.key in (b"k17", b"k18", b"k90") for each in batch):
                    core.refused("no", 0.0)
                else:
                    stored += batch
                    core.stored(0.0)
            case Bury(each, reason):
                buried.append(f"{each.key.decode()} {reason}")
                core.removed(0.0)
            case Remove():
                core.removed(0.0)
    assert sorted(buried) == ["k17 no", "k18 no", "k90 no"]
    assert {each.key for each in stored} == {each.key for each in records} - {b"k17", b"k18", b"k90"}
    assert core.figures.buried == 3


def test_a_refused_write_is_tried_again_later_and_the_others_do_not_wait_for_it() -> None:
    core = writer(attempts=3, backoff_s=1.0)
    core.pulled([one("bad")], 0.0, is_complete=True)
    core.refused("no", 0.0)
    core.pulled([one("bad"), one("good")], 0.1, is_complete=True)
    assert core.next_step(0.1) == Store([one("good")])
    core.stored(0.1)
    core.removed(0.1)
    assert core.next_step(0.1) == Pull(501), "what is held back takes no place"
    core.pulled([one("bad")], 1.1, is_complete=True)
    assert core.next_step(1.1) == Store([one("bad")])
    core.refused("no", 1.1)
    core.pulled([one("bad")], 10.0, is_complete=True)
    core.next_step(10.0)
    core.refused("never", 10.0)
    assert core.next_step(10.0) == Bury(one("bad"), "never")


def test_a_newer_write_of_a_refused_key_begins_anew() -> None:
    core = writer(attempts=2, backoff_s=100.0)
    core.pulled([one("a", 1)], 0.0, is_complete=True)
    core.refused("no", 0.0)
    core.pulled([one("a", 2)], 0.1, is_complete=True)
    assert core.next_step(0.1) == Store([one("a", 2)])
    core.refused("no", 0.1)
    assert not isinstance(core.next_step(0.1), Bury)


def test_a_cache_that_cannot_be_asked_makes_it_take_everything_again() -> None:
    core = writer()
    core.pulled([one("a")], 0.0, is_complete=True)
    core.stored(0.0)
    core.cache_failed("no shard", 0.0)
    pause = core.next_step(0.0)
    assert isinstance(pause, Pause)
    assert isinstance(core.next_step(pause.seconds), Pull)
    assert core.figures.last_error == "no shard"


@pytest.mark.parametrize("name", ["batch", "flush_s", "attempts", "backoff_s", "max_backoff_s"])
def test_settings_that_make_no_sense_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        WriterSettings(**{name: 0})


def test_waits_grow_differ_and_end() -> None:
    backoff = Backoff(0.1, 10, random.Random(2))
    assert all(0.05 <= backoff.after(1) <= 0.1 for _ in range(100))
    assert all(5 <= backoff.after(number) <= 10 for number in (8, 100, 10_000))


class Database:
    """Takes what is newer, as `BackingStore` demands, and remembers in which order versions came."""

    def __init__(self) -> None:
        self.rows: dict[bytes, tuple[int, bytes | None]] = {}

    def take(self, batch: Sequence[Waiting]) -> None:
        for each in batch:
            if self.rows.get(each.key, (0, None))[0] < each.version:
                self.rows[each.key] = (each.version, each.payload)


_EVENTS = st.lists(st.one_of(
    st.tuples(st.just("write"), st.integers(0, 4), st.booleans()),
    st.tuples(st.just("step"), st.integers(0, 1), st.sampled_from(["well", "away", "lost reply", "refused", "dies"])),
), max_size=80)


@given(_EVENTS)
@settings(max_examples=300, deadline=None)
def test_no_acknowledged_write_is_lost_and_none_overtaken_whoever_dies_when(events: list[tuple[object, ...]]) -> None:
    """Two writers that do not know of each other, a database that takes a batch and may not say so, deaths at any
    point: in the end the database has for each key its last write."""
    queue: dict[bytes, Waiting] = {}
    dead: dict[bytes, int] = {}
    last: dict[bytes, tuple[int, bytes | None]] = {}
    database, now, version = Database(), 0.0, 0
    writers = [writer(batch=3, attempts=2), writer(batch=2, attempts=2)]

    def step(index: int, how: str) -> None:
        nonlocal now
        core = writers[index]
        match core.next_step(now):
            case Pause(seconds):
                now += seconds
            case Pull(count):
                core.pulled(list(queue.values())[:count], now, is_complete=True)
            case Store(batch):
                if how == "away":
                    core.unavailable("away", now)
                elif how == "refused":
                    core.refused("refused", now)
                else:
                    database.take(batch)
                    if how == "well":
                        core.stored(now)
                    elif how == "lost reply":
                        core.unavailable("lost", now)
                    else:
                        writers[index] = writer(batch=3, attempts=2)
            case Remove(batch):
                if how != "dies":
                    for each in batch:
                        if queue.get(each.record, each).version == each.version:
                            queue.pop(each.record, None)
                    core.removed(now)
                else:
                    writers[index] = writer(batch=3, attempts=2)
            case Bury(each, _):
                if queue.get(each.record, one("-", -1)).version == each.version:
                    del queue[each.record]
                    dead[each.key] = each.version
                core.removed(now)

    for event in events:
        if event[0] == "write":
            version += 1
            key = f"k{event[1]}"
            new = one(key, version, b"\0%d" % version if event[2] else None)
            queue[new.record] = new  # in the place of the one before, as a shard has it
            last[new.key] = (version, new.payload)
        else:
            step(int(event[1]), str(event[2]))  # type: ignore[call-overload]
    for _ in range(400):
        step(0, "well")
    assert queue == {}
    for key, (newest, payload) in last.items():
        if dead.get(key) != newest:
            assert database.rows[key] == (newest, payload)
