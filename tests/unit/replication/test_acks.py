"""Who waits for copies, against the plain way: to ask each of them anew."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from raycache.replication.acks import Acks
from raycache.replication.mutation import Mutation
from raycache.replication.outbox import Outbox

MUTATION: Mutation = (b"k", 1, 0, b"v", None)  # type: ignore[assignment]
WHOLE = {"s1": True, "s2": True}

steps = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(1, 2)),
        st.tuples(st.just("take"), st.integers(0, 1)),
        st.tuples(st.just("ack"), st.integers(0, 1), st.integers(0, 20)),
        st.tuples(st.just("drop"), st.integers(0, 1)),
        st.tuples(st.just("fill"), st.sampled_from(["s1", "s2"]), st.booleans()),
        st.tuples(st.just("pass"), st.floats(0.0, 0.7)),
    ),
    max_size=40,
)


@given(steps)
def test_a_write_is_done_as_soon_as_enough_copies_have_it_and_no_sooner(moves: list[tuple[object, ...]]) -> None:
    boxes = (Outbox("s1", 1 << 20), Outbox("s2", 1 << 20))
    whole, now_s = dict(WHOLE), 0.0
    acks = Acks(whole.__getitem__)
    waiting: dict[int, tuple[tuple[int, ...], int, float]] = {}
    done: list[int] = []
    for number, move in enumerate(moves):
        match move:
            case ("write", int(wanted)):
                for box in boxes:
                    box.add(MUTATION, 10)
                offsets = tuple(box.offset for box in boxes)
                if acks.copies(boxes, offsets) < wanted:
                    waiting[number] = (offsets, wanted, now_s + 1.0)
                    acks.wait(boxes, offsets, wanted, now_s + 1.0, lambda number=number: done.append(number))
            case ("take", int(which)):
                boxes[which].take()
            case ("ack", int(which), int(back)):
                boxes[which].acknowledge(boxes[which].offset - back)
            case ("drop", int(which)):
                boxes[which].drop()
            case ("fill", str(peer), bool(is_whole)):
                whole[peer] = is_whole
            case ("pass", float(seconds)):
                now_s += seconds
        expected = [number for number, (offsets, wanted, deadline_s) in waiting.items()
                    if deadline_s >= now_s and acks.copies(boxes, offsets) >= wanted]
        done.clear()
        acks.step(now_s)
        assert sorted(done) == expected
        for number in [*expected, *(n for n, (_, _, deadline_s) in waiting.items() if deadline_s < now_s)]:
            del waiting[number]
    assert not waiting or acks._queues


def test_a_copy_that_is_being_filled_counts_beside_a_whole_one_only() -> None:
    whole = {"s1": False, "s2": True}
    boxes = (Outbox("s1", 1 << 20), Outbox("s2", 1 << 20))
    for box in boxes:
        box.add(MUTATION, 10)
        box.take()
    acks = Acks(whole.__getitem__)
    boxes[0].acknowledge(1)
    assert acks.copies(boxes, (1, 1)) == 0
    boxes[1].acknowledge(1)
    assert acks.copies(boxes, (1, 1)) == 2
    whole["s2"] = False
    assert acks.copies(boxes, (1, 1)) == 2
