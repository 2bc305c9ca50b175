"""The small parts: versions, outboxes, tombstones, digests, leases, questions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raycache.replication import messages
from raycache.replication.copies import NOT_WHOLE
from raycache.replication.digests import SlotDigests, pair_hash
from raycache.replication.lease import LEASE_S, ROUTER, lease_until
from raycache.replication.mutation import Mutation, size_of
from raycache.replication.outbox import BATCH_MUTATIONS, Outbox
from raycache.replication.quorum import Question, is_safe, newest, whole
from raycache.replication.tombstones import Tombstones
from raycache.replication.version import HybridClock, first_version, version_ms, version_shard


@given(st.lists(st.one_of(st.integers(0, 2**41), st.tuples(st.integers(0, 2**62))), max_size=50), st.booleans())
def test_a_clock_never_repeats_and_never_goes_back(events: list[int | tuple[int]], steps: bool) -> None:
    clock, last = HybridClock(7), 0
    for event in events:
        if isinstance(event, tuple):
            clock.observe(event[0])
            last = max(last, event[0] & ~1023 | 7 if event[0] >> 10 > last >> 10 else last)
        else:
            if steps:
                clock.step(event)
                assert clock.latest >= last
            version = clock.next(event)
            assert version > last
            assert version_shard(version) == 7
            last = version
    assert clock.latest >= last


def test_a_version_tells_its_time_and_the_shard_breaks_ties() -> None:
    one, two = HybridClock(1), HybridClock(2)
    assert version_ms(one.next(1_700_000_000_000)) == 1_700_000_000_000
    assert one.next(2_000) < two.next(1_700_000_000_000 + 5)
    assert HybridClock(1).next(9) < HybridClock(2).next(9)
    assert first_version(9) <= HybridClock(0).next(9) < 2**63


def test_a_clock_goes_on_as_fast_as_the_one_furthest_ahead() -> None:
    slow, fast = HybridClock(1), HybridClock(2)
    fast.step(1_000_000)
    slow.step(5_000)
    slow.observe(fast.latest)
    slow.step(5_000)
    assert slow.given == 0
    slow.step(5_400)
    fast.step(1_000_400)
    assert version_ms(slow.next(5_401)) == 1_000_401
    assert fast.next(1_000_400) < slow.given == slow.latest
    assert slow.age_ms(fast.given, 5_500) == 100
    assert slow.age_ms(first_version(2_000_000), 5_500) == 0
    slow.step(2_000)  # the machine's clock was set back
    assert version_ms(slow.next(2_300)) == 1_000_701


@pytest.mark.parametrize("index", [-1, 1024])
def test_a_shard_index_must_fit(index: int) -> None:
    with pytest.raises(ValueError, match="0 to 1023"):
        HybridClock(index)


def mutation(number: int, size: int = 10) -> Mutation:
    return (b"k%d" % number, number, 0, 0, b"x" * size)


def test_an_outbox_sends_each_mutation_once_until_it_is_rewound() -> None:
    box = Outbox("s1", 1 << 20)
    for number in range(1, 4):
        box.add(mutation(number))
    assert [one[1] for one in box.take()[1]] == [1, 2, 3]
    assert box.take() == (4, [])
    box.acknowledge(2)
    box.rewind()
    assert box.take() == (3, [mutation(3)])
    box.acknowledge(3)
    assert (len(box), box.bytes, box.acked, box.age_s(9.0)) == (0, 0, 3, 0.0)


def test_a_full_outbox_forgets_all_and_claims_nothing_of_it() -> None:
    box = Outbox("s1", 1000)
    box.add(mutation(1))
    box.take()
    box.acknowledge(1)
    for number in range(2, 9):
        box.add(mutation(number, 100))
    assert box.dropped > 0
    first, batch = box.take()
    box.acknowledge(box.offset)
    assert box.has(1)
    assert box.has(first + len(batch) - 1) is bool(batch)
    assert not box.has(2)


@given(st.lists(st.sampled_from(["add", "add many", "take", "ack", "rewind"]), max_size=60), st.data())
def test_whatever_happens_an_outbox_gives_what_is_not_acknowledged(steps: list[str], data: st.DataObject) -> None:
    box, sent = Outbox("s1", 1 << 30), 0
    for step in steps:
        if step.startswith("add"):
            for _ in range(1 if step == "add" else BATCH_MUTATIONS * 2 // 3):
                box.add(mutation(box.offset + 1, box.offset % 50))
        elif step == "take":
            first, batch = box.take()
            assert [one[1] for one in batch] == list(range(first, first + len(batch)))
            sent = max(sent, first + len(batch) - 1)
        elif step == "ack" and sent:
            box.acknowledge(data.draw(st.integers(0, sent)))
        elif step == "rewind":
            box.rewind()
        waiting = box.waiting()
        assert [one[1] for one in waiting] == list(range(box.acked + 1, box.offset + 1))
        assert (len(box), box.bytes) == (len(waiting), sum(map(size_of, waiting)))
    box.rewind()
    assert [one[1] for _ in range(len(box)) for one in box.take()[1]] == list(range(box.acked + 1, box.offset + 1))


def test_tombstones_go_when_they_are_old_or_too_many() -> None:
    tombstones = Tombstones(10.0, most=3)
    for number in range(5):
        tombstones.add(b"k%d" % number, number, float(number))
    tombstones.step(5.0)
    assert (len(tombstones), tombstones.dropped_early) == (3, 2)
    tombstones.add(b"k4", 9, 6.0)
    tombstones.step(14.5)
    assert dict(tombstones.items()) == {b"k4": 9}
    tombstones.discard(b"k4")
    assert b"k4" not in tombstones


def test_tombstones_of_long_keys_go_when_they_take_too_much() -> None:
    tombstones = Tombstones(10.0, most_key_bytes=250)
    for number in range(5):
        tombstones.add(b"%d" % number * 100, number, 0.0)
    tombstones.step(1.0)
    assert [key[:1] for key, _ in tombstones.items()] == [b"3", b"4"]
    assert tombstones.dropped_early == 3
    tombstones.clear()
    tombstones.add(b"x" * 200, 9, 2.0)
    tombstones.step(3.0)
    assert len(tombstones) == 1, "what was cleared does not count"


def test_digests_do_not_depend_on_order_and_tell_slots_that_differ() -> None:
    one, two = SlotDigests(), SlotDigests()
    pairs = [(b"k%d" % number, number + 1) for number in range(100)]
    for pair in pairs:
        one.of[5] ^= pair_hash(*pair)
    for pair in reversed(pairs):
        two.of[5] ^= pair_hash(*pair)
    assert one.differing([4, 5], two.pack([4, 5])) == []
    two.of[5] ^= pair_hash(b"k1", 2) ^ pair_hash(b"k1", 3)
    assert one.differing([4, 5], two.pack([4, 5])) == [5]
    with pytest.raises(ValueError, match=r"shorter|longer"):
        one.differing([1], two.pack([1, 2]))


@pytest.mark.parametrize(("answered", "voters", "left"), [
    ({}, ["s0"], float("inf")),
    ({"s1": 5.0}, ["s0", "s1", "s2"], 5.0 + LEASE_S),
    ({ROUTER: 5.0}, ["s0", "s1", "s2"], float("-inf")),
    ({ROUTER: 5.0}, ["s0", "s1"], 5.0 + LEASE_S),
    ({"s1": 4.0}, ["s0", "s1"], 4.0 + LEASE_S),
    ({"s1": 5.0, "s2": 3.0}, ["s0", "s1", "s2", "s3"], 3.0 + LEASE_S),
    ({"s1": 5.0, ROUTER: 4.0}, ["s0", "s1", "s2", "s3"], 4.0 + LEASE_S),
    ({"s1": 5.0}, ["s0", "s1", "s2", "s3"], float("-inf")),
])
def test_a_lease_needs_a_majority_and_the_router_decides_ties(
    answered: dict[str, float], voters: list[str], left: float
) -> None:
    assert lease_until("s0", voters, answered) == left


def test_the_newest_answer_is_safe_only_if_enough_copies_would_know_a_newer_one() -> None:
    new, old = (b"k", 20, 0, 0, b"n"), (b"k", 10, 0, 0, b"o")
    assert newest([(old, 0), (new, 0), (None, 99)]) == new
    assert is_safe([(old, 0), (None, 5)], old, 2)
    assert not is_safe([(old, 0), (None, 15)], old, 2)
    assert newest([(None, 7)]) is None


def test_a_copy_that_is_being_filled_vouches_for_what_it_has_and_nothing_else() -> None:
    new, old = (b"k", 20, 0, 0, b"n"), (b"k", 10, 0, 0, b"o")
    assert is_safe([(new, 0), (new, NOT_WHOLE)], new, 2)
    assert not is_safe([(new, 0), (old, NOT_WHOLE)], new, 2)
    assert not is_safe([(new, 0), (None, NOT_WHOLE)], new, 2)
    assert whole([(new, 0), (None, 5), (None, NOT_WHOLE)]) == 2


def test_a_question_is_done_when_enough_or_all_have_answered() -> None:
    done: list[int] = []
    question = Question({"s1": [b"k"], "s2": [b"k"]}, 9.0, lambda: done.append(1), needed=1)
    question.gone("s2")
    assert done == []
    question.answered("s1", [(None, 0)])
    assert done
    assert question.is_complete


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x93\x01\x02\x03", b"\x91\x90", b"\x81\x01\x02"])
def test_bytes_that_are_no_messages_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="messages"):
        messages.unpack(data)
