"""What a giver reads for its receivers, by looking at all it has and by what it remembers of that."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raycache.replication.giving import give
from raycache.replication.keys_by_slot import LOOKED_THROUGH, KeysBySlot
from raycache.replication.transfers import REMEMBERED_S
from raycache.ring.slots import SLOT_COUNT, slot_of
from raycache.shard.core import ShardCore
from tests.unit.replication.cluster import PureCluster

NAMES = [f"{{{number % 7}}}{number}" for number in range(60)]
"""Keys of seven slots."""
SLOTS = sorted({slot_of(name.encode()) for name in NAMES})


def giver(copies: int) -> tuple[PureCluster, ShardCore]:
    cluster = PureCluster(2, copies=copies)
    cluster.publish([0] if copies == 1 else [0, 1])
    cluster.step(0.3)
    return cluster, cluster.cores["s0"]


def walk(core: ShardCore, slots: list[int], keys: KeysBySlot | None) -> Counter[str]:
    copies, cursor, found = core.replicator.copies, 0, Counter[str]()
    while True:
        cursor, some = give(core.whole, copies, slots, cursor, core.now_ms, keys)
        found.update(one[0].decode() for one in some if one[4] is not None)
        if cursor == 0:
            return found


def note(core: ShardCore) -> KeysBySlot:
    copies = core.replicator.copies
    copies.note_keys()
    core.whole.set_journal(copies)
    assert copies.noted is not None
    return copies.noted


@pytest.mark.parametrize("copies", [1, 2])
@settings(max_examples=60)
@given(st.data())
def test_what_is_remembered_gives_what_looking_gives(copies: int, data: st.DataObject) -> None:
    cluster, core = giver(copies)
    words = st.lists(st.tuples(st.sampled_from(["SET", "SET", "DEL", "APPEND"]), st.sampled_from(NAMES)), max_size=30)

    def write(label: str) -> None:
        for word, name in data.draw(words, label):
            cluster.run("s0", word, name, *(["v"] if word != "DEL" else []))

    write("before")
    keys = note(core)
    cursor = 0
    while not keys.is_whole:
        cursor, _ = give(core.whole, core.replicator.copies, SLOTS[:1], cursor, core.now_ms, keys)
        write("while it looks")
    for _ in range(3):
        wanted = sorted(data.draw(st.sets(st.sampled_from(SLOTS)), "slots"))
        looked = walk(core, wanted, None)
        remembered = walk(core, wanted, keys)
        assert remembered.keys() == looked.keys()
        assert set(looked.values()) <= {1}
        write("between turns")


def test_a_key_that_is_written_again_and_again_is_remembered_once() -> None:
    cluster, core = giver(1)
    keys = note(core)
    walk(core, SLOTS, keys)
    for _ in range(5):
        cluster.run("s0", "SET", "k", "v")
        cluster.run("s0", "DEL", "k")
    cluster.run("s0", "SET", "k", "v")
    assert (keys.of(slot_of(b"k")), keys.count) == ([b"k"], 1)


@pytest.mark.parametrize("count", [300, LOOKED_THROUGH + 300])
def test_a_slot_with_very_many_keys_is_given_in_chunks(count: int) -> None:
    cluster, core = giver(1)
    for number in range(count):
        cluster.run("s0", "SET", f"{{t}}{number}", "v")
    keys = note(core)
    slots = [slot_of(b"t"), (slot_of(b"t") + 1) % SLOT_COUNT]
    first = walk(core, slots, keys)
    for number in range(count, count + 10):
        cluster.run("s0", "SET", f"{{t}}{number}", "v")
    again = walk(core, slots, keys)
    assert (sum(first.values()), len(again), sum(again.values())) == (count, count + 10, count + 10)


def test_two_receivers_who_look_at_the_same_time_remember_each_key_once() -> None:
    cluster, core = giver(1)
    for number in range(9000):
        cluster.run("s0", "SET", f"{number}", "v")
    keys, copies = note(core), core.replicator.copies
    slow = quick = 0
    rounds = 0
    while not keys.is_whole:
        quick, _ = give(core.whole, copies, [1], quick, core.now_ms, keys)
        if rounds % 2:
            slow, _ = give(core.whole, copies, [2], slow, core.now_ms, keys)
        rounds += 1
    assert (rounds > 2, keys.count) == (True, 9000)


@pytest.mark.parametrize("copies", [1, 2])
def test_turns_give_everything_and_empty_the_giver_and_then_it_forgets(copies: int) -> None:
    cluster = PureCluster(3, copies=copies)
    cluster.publish([0, 1][:copies])
    cluster.step(0.3)
    names = [f"key:{number}" for number in range(900)]
    for name in names:
        cluster.run("s0", "SET", name, "v")
    bounds = [0, 3000, 9000, SLOT_COUNT]
    owners = [[0, 1][:copies] for _ in range(SLOT_COUNT)]
    for start, stop in pairwise(bounds):
        for slot in range(start, stop):
            owners[slot] = [2, 1][:copies]
        cluster.publish(owners, [("s0", "s2", range(start, stop))])
        cluster.step(1.0)
        late = [f"late:{start}:{number}" for number in range(50)]
        for name in late:  # at whoever leads its slot
            cluster.run("s2" if slot_of(name.encode()) < stop else "s0", "SET", name, "v")
        names += late
        cluster.publish(owners)
        cluster.step(1.0)
        assert all(slot_of(key) >= stop for key in keys_of(cluster, "s0"))
    assert sorted(keys_of(cluster, "s2")) == sorted(name.encode() for name in names)
    assert cluster.cores["s2"].replicator.transfers.misses == 0
    noted = cluster.cores["s0"].replicator.copies.noted
    assert noted is not None
    assert noted.count == 0
    cluster.step(REMEMBERED_S + 0.1)
    assert cluster.cores["s0"].replicator.copies.noted is None


def keys_of(cluster: PureCluster, shard_id: str) -> list[bytes]:
    core, cursor, found = cluster.cores[shard_id], 0, []
    while True:
        cursor, some = core.whole.scan(cursor, 1000, core.now_ms)
        found += some
        if cursor == 0:
            return found


def test_what_most_of_which_has_gone_is_noted_anew() -> None:
    cluster, core = giver(1)
    for number in range(100):
        cluster.run("s0", "SET", f"{number}", "v")
    first = core.replicator.transfers._keys()
    walk(core, SLOTS, first)
    assert core.replicator.transfers._keys() is first
    for number in range(SLOT_COUNT + 200):
        first.came(number % SLOT_COUNT, b"gone %d" % number)
    assert core.replicator.transfers._keys() is not first
