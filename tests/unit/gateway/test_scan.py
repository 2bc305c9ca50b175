"""SCAN's cursor: every shard once, in order, whatever happens to the topology meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from raycache.gateway.scan import cursor_after, position_of, with_whole_cursor
from raycache.ring.topology import ShardInfo
from tests.unit.gateway.topologies import shard


def walk(shards: Sequence[ShardInfo], inner_cursors: dict[str, list[int]]) -> list[tuple[str, int]]:
    """Scan to the end; each shard gives its `inner_cursors` in turn. Return (shard, its cursor) for each call."""
    calls, cursor = [], 0
    while (position := position_of(cursor, shards)) is not None:
        calls.append((position.shard.id, position.cursor))
        answers = inner_cursors[position.shard.id]
        at = 0 if position.cursor == 0 else answers.index(position.cursor) + 1
        cursor = cursor_after(position.shard, answers[at], shards)
        if cursor == 0:
            break
    return calls


def test_each_shard_is_walked_to_its_end_in_the_order_of_their_numbers() -> None:
    shards = [shard(10), shard(2), shard(0)]
    assert walk(shards, {"s0": [5, 9, 0], "s2": [0], "s10": [1, 0]}) == [
        ("s0", 0),
        ("s0", 5),
        ("s0", 9),
        ("s2", 0),
        ("s10", 0),
        ("s10", 1),
    ]


@given(st.lists(st.integers(0, 200), min_size=1, unique=True), st.data())
def test_the_walk_is_complete_for_any_shards_and_cursors(numbers: list[int], data: st.DataObject) -> None:
    shards = [shard(number) for number in numbers]
    cursors = st.lists(st.integers(1, 2**39 - 1), max_size=3, unique=True)
    inner = {each.id: [*data.draw(cursors), 0] for each in shards}
    assert walk(shards, inner) == [(f"s{n}", cursor) for n in sorted(numbers) for cursor in [0, *inner[f"s{n}"][:-1]]]


def test_a_cursor_survives_a_shard_that_left_and_one_that_came() -> None:
    cursor = cursor_after(shard(1), 77, [shard(0), shard(1), shard(2)])
    position = position_of(cursor, [shard(0), shard(2), shard(3)])
    assert position is not None
    assert (position.shard.id, position.cursor) == ("s2", 0)
    assert cursor_after(shard(2), 0, [shard(0), shard(2), shard(3)]) == 3


def test_no_cursor_but_the_last_is_zero() -> None:
    shards = [shard(0), shard(1)]
    assert cursor_after(shard(0), 0, shards) == 1
    assert cursor_after(shard(0), 1, shards) == 1 << 14
    assert cursor_after(shard(1), 0, shards) == 0


def test_the_reply_keeps_its_keys_and_gets_the_whole_cursor() -> None:
    merge = with_whole_cursor(shard(1), [shard(0), shard(1), shard(2)])
    assert merge([b"*2\r\n$1\r\n3\r\n*1\r\n$1\r\na\r\n"]) == b"*2\r\n$5\r\n49153\r\n*1\r\n$1\r\na\r\n"
    assert merge([b"*2\r\n$1\r\n0\r\n*0\r\n"]) == b"*2\r\n$1\r\n2\r\n*0\r\n"
    assert merge([b"-ERR syntax error\r\n"]) == b"-ERR syntax error\r\n"


def test_shards_without_a_number_are_walked_by_position() -> None:
    shards = [ShardInfo(name, "h", 1, "n", "m", "", "up", 1, 1) for name in ("left", "right")]
    assert walk(shards, {"left": [3, 0], "right": [0]}) == [("left", 0), ("left", 3), ("right", 0)]
