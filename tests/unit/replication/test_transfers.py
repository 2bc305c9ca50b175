"""Slots that move: with one copy and with several, while they are read, written and deleted."""

from __future__ import annotations

import numpy as np
import pytest

from raycache.replication.arrival import REFILL_REST, REST, Arrival
from raycache.ring.slots import SLOT_COUNT, slot_of
from tests.unit.replication.cluster import PureCluster

ALL = range(SLOT_COUNT)


def fill(cluster: PureCluster, shard_id: str, count: int) -> list[str]:
    keys = [f"key:{number}" for number in range(count)]
    for number, key in enumerate(keys):
        cluster.run(shard_id, "SET", key, f"value {number}", "PX", 600_000 if number % 2 else 900_000)
    return keys


def moving(count: int = 300) -> tuple[PureCluster, list[str]]:
    """Two shards with one copy; every slot has just been given from s0 to s1."""
    cluster = PureCluster(2)
    cluster.publish([0])
    keys = fill(cluster, "s0", count)
    cluster.publish([1], [("s0", "s1", ALL)])
    return cluster, keys


def test_every_entry_arrives_with_its_expiry_and_the_giver_is_emptied() -> None:
    cluster, keys = moving()
    expiries = {key: cluster.cores["s0"].store.peek(key.encode(), cluster.now_ms).expires_ms for key in keys}
    cluster.step(2)
    arrival = next(iter(cluster.cores["s1"].replicator.transfers.arrivals.values()))
    assert (arrival.state, arrival.entries, arrival.mismatches, arrival.misses) == ("done", len(keys), 0, 0)
    for key in keys:
        assert cluster.cores["s1"].store.peek(key.encode(), cluster.now_ms).expires_ms == expiries[key]
    cluster.publish([1])
    cluster.step(1)
    assert len(cluster.cores["s0"].store) == 0
    assert len(cluster.cores["s1"].store) == len(keys)


def test_a_key_that_has_not_arrived_is_pulled_when_it_is_read() -> None:
    cluster, keys = moving()
    assert cluster.run("s1", "GET", keys[-1]) == b"$9\r\nvalue 299\r\n"
    assert cluster.run("s1", "MGET", keys[5], "nobody") .endswith(b"$-1\r\n")
    assert cluster.cores["s1"].replicator.transfers.misses == 0


@pytest.mark.parametrize("is_refill", [False, True])
def test_the_receiver_rests_longer_than_answers_take_unless_copies_are_missing(is_refill: bool) -> None:
    arrival = Arrival("t", "s0", [1, 2], 0.0, is_refill=is_refill)
    assert arrival.step(0.0, 1) == ["start"]
    arrival.started(0)
    assert arrival.step(1.0, 1) is not None
    arrival.took(7, 1, 1, [1, 1], [1, 1], 1.01)
    rest_s = 0.01 * (REFILL_REST if is_refill else REST)
    assert arrival.step(1.01 + rest_s - 0.001, 1) is None
    assert arrival.step(1.01 + rest_s + 0.001, 1) is not None


def test_copies_are_missing_where_the_giver_goes_on_owning_what_it_gives() -> None:
    cluster = PureCluster(3, copies=2)
    cluster.publish([0, 1])
    cluster.publish([0, 2], [("s0", "s2", range(8)), ("s1", "s2", range(8, 16))])
    cluster.step()
    assert {one.giver: one.is_refill for one in cluster.cores["s2"].replicator.transfers.arrivals.values()} == {
        "s0": True, "s1": False}


def test_the_giver_sends_clients_on_and_serves_no_more() -> None:
    cluster, keys = moving()
    assert cluster.run("s0", "GET", keys[0]).startswith(b"-MOVED")


@pytest.mark.parametrize("words", [("SET", "new"), ("DEL",), ("GETDEL",), ("APPEND", "!"), ("GETSET", "new")])
def test_what_happens_at_the_receiver_wins_over_what_arrives(words: tuple[str, ...]) -> None:
    cluster, keys = moving()
    key = keys[-1]
    cluster.run("s1", words[0], key, *words[1:])
    expected = cluster.run("s1", "GET", key)
    cluster.step(2)
    assert cluster.run("s1", "GET", key) == expected
    after = {"SET": b"new", "DEL": b"$-1", "GETDEL": b"$-1", "APPEND": b"value 299!", "GETSET": b"new"}
    assert after[words[0]] in expected


def test_a_giver_that_dies_half_way_costs_what_had_not_arrived_and_no_error() -> None:
    cluster, keys = moving(2000)
    cluster.step(0.03)
    arrived = len(cluster.cores["s1"].store)
    assert 0 < arrived < len(keys)
    del cluster.cores["s0"]
    cluster.cut = {frozenset(("s0", "s1"))}
    replies = [cluster.run("s1", "GET", key) for key in keys[-20:]]
    assert all(reply.startswith(b"$") for reply in replies)
    assert cluster.cores["s1"].replicator.transfers.misses > 0
    cluster.publish([1])
    assert cluster.run("s1", "GET", keys[-1]).startswith(b"$")


def test_before_the_giver_has_heard_commands_wait_and_then_go_on_alone() -> None:
    cluster = PureCluster(2)
    cluster.publish([0])
    keys = fill(cluster, "s0", 10)
    cluster.cut = {frozenset(("s0", "s1"))}
    cluster.publish([1], [("s0", "s1", ALL)])
    started_s = cluster.now_s
    assert cluster.run("s1", "GET", keys[0]) == b"$-1\r\n"
    assert 0.9 < cluster.now_s - started_s < 2.0


def test_a_returned_shard_is_refilled_and_equal_in_the_end() -> None:
    cluster = PureCluster(2, copies=2)
    cluster.publish([0, 1])
    cluster.step(0.3)
    keys = fill(cluster, "s0", 300)
    cluster.run("s0", "DEL", keys[0])
    cluster.start("s1")
    cluster.publish([0, 1], [("s0", "s1", ALL)])
    cluster.step(0.02)
    cluster.run("s0", "SET", keys[1], "newer")
    cluster.step(2)
    one, two = (core.replicator.copies.digests.of for core in cluster.cores.values())
    assert one == two
    assert next(iter(cluster.cores["s1"].replicator.transfers.arrivals.values())).is_done


def test_a_primary_is_handed_over_with_its_last_writes() -> None:
    cluster = PureCluster(3, copies=2)
    cluster.publish([0, 1])
    cluster.step(0.3)
    fill(cluster, "s0", 100)
    cluster.cut = {frozenset(("s0", "s1"))}
    cluster.run("s0", "SET", "key:1", "last")
    cluster.cut = set()
    cluster.publish([1, 0], [("s0", "s1", ALL)])
    assert cluster.run("s1", "GET", "key:1") == b"$4\r\nlast\r\n"
    cluster.step(1)
    assert next(iter(cluster.cores["s1"].replicator.transfers.arrivals.values())).is_done


def test_half_of_the_slots_move_and_the_other_half_is_not_disturbed() -> None:
    cluster = PureCluster(2)
    cluster.publish([0])
    keys = fill(cluster, "s0", 200)
    table = np.zeros((SLOT_COUNT, 1), dtype=np.int16)
    table[: SLOT_COUNT // 2] = 1
    cluster.publish(table, [("s0", "s1", range(SLOT_COUNT // 2))])
    cluster.step(2)
    moved = [key for key in keys if slot_of(key.encode()) < SLOT_COUNT // 2]
    assert len(cluster.cores["s1"].store) == len(moved)
    stays = next(key for key in keys if key not in moved)
    assert cluster.run("s0", "GET", stays).startswith(b"$")
    cluster.publish(table)
    cluster.step(1)
    assert len(cluster.cores["s0"].store) == len(keys) - len(moved)


def test_slots_that_come_back_before_they_were_emptied_are_not_served_stale() -> None:
    cluster, keys = moving(50)
    cluster.step(2)
    cluster.publish([1])
    cluster.run("s1", "SET", keys[0], "changed")
    cluster.publish([0], [("s1", "s0", ALL)])
    cluster.step(3)
    assert cluster.run("s0", "GET", keys[0]) == b"$7\r\nchanged\r\n"
    assert len(cluster.cores["s0"].store) == len(keys)


def test_what_was_cleared_does_not_arrive_any_more() -> None:
    cluster, keys = moving()
    assert cluster.run("s1", "FLUSHALL") == b"+OK\r\n"
    cluster.step(2)
    assert len(cluster.cores["s1"].store) == 0
    assert cluster.run("s1", "GET", keys[0]) == b"$-1\r\n"


def test_a_handover_to_a_whole_copy_streams_nothing_but_what_differs() -> None:
    cluster = PureCluster(2, copies=2)
    cluster.publish([0, 1])
    cluster.step(0.3)
    fill(cluster, "s0", 200)
    cluster.step(0.3)
    cluster.publish([1, 0], [("s0", "s1", ALL)])
    cluster.step(0.5)
    arrival = next(iter(cluster.cores["s1"].replicator.transfers.arrivals.values()))
    assert (arrival.state, arrival.entries) == ("done", 0)


def test_slots_that_return_before_they_were_emptied_lose_nothing() -> None:
    cluster = PureCluster(2, copies=2)
    cluster.publish([0, -1])
    cluster.step(0.3)
    keys = fill(cluster, "s0", 300)
    for core in cluster.cores.values():
        core.slots.sweep = lambda *_: True  # type: ignore[method-assign]
    cluster.publish([0, 1], [("s0", "s1", ALL)])
    cluster.step(1)
    cluster.publish([0, 1])
    cluster.publish([0, -1])
    cluster.publish([0, 1], [("s0", "s1", ALL)])
    cluster.step(0.5)
    assert next(iter(cluster.cores["s1"].replicator.transfers.arrivals.values())).state == "starting"
    for core in cluster.cores.values():
        del core.slots.sweep
    cluster.step(2)
    assert len(cluster.cores["s1"].store) == len(keys)
    one, two = (core.replicator.copies.digests.of for core in cluster.cores.values())
    assert one == two


def test_what_a_giver_kept_does_not_count_when_the_slot_comes_back_half_way() -> None:
    cluster, keys = moving(40)
    cluster.step(0.05)
    cluster.run("s1", "SET", keys[0], "newer")
    cluster.run("s1", "DEL", keys[1])
    cluster.publish([0], [("s1", "s0", ALL)])
    cluster.step(2)
    assert cluster.run("s0", "GET", keys[0]) == b"$5\r\nnewer\r\n"
    assert cluster.run("s0", "GET", keys[1]) == b"$-1\r\n"


def test_a_giver_that_has_lost_everything_gives_nothing() -> None:
    """Its receiver would believe that there was nothing; the router will find another giver."""
    cluster = PureCluster(3, copies=2)
    cluster.publish([0, 1])
    cluster.step(0.3)
    keys = fill(cluster, "s0", 5)
    cluster.publish([0, 2], [("s1", "s2", ALL)])
    cluster.start("s1")
    cluster.step(1)
    arrival = next(iter(cluster.cores["s2"].replicator.transfers.arrivals.values()))
    assert arrival.state == "starting"
    cluster.publish([0, 2], [("s0", "s2", ALL)])
    cluster.step(1)
    assert all(cluster.cores["s2"].store.peek(key.encode(), cluster.now_ms) for key in keys)


def test_what_a_giver_kept_does_not_count_when_it_owns_the_slot_again() -> None:
    cluster = PureCluster(2, copies=2, replication="primary-replica")
    cluster.publish([0, -1])
    cluster.step(0.3)
    cluster.run("s0", "SET", "k", "old")
    cluster.publish([1, -1], [("s0", "s1", ALL)])
    cluster.step(0.5)
    cluster.run("s1", "SET", "k", "new")
    cluster.publish([0, 1], [("s1", "s0", ALL)])
    cluster.cores["s0"].replicator._handlers["some"] = lambda sender, message: None  # only what commands pull comes
    cluster.step(0.1)
    assert cluster.run("s0", "GET", "k") == b"$3\r\nnew\r\n"


def test_what_the_primary_evicted_while_the_slot_arrives_does_not_arrive_older() -> None:
    cluster = PureCluster(3, copies=2, replication="primary-replica")
    cluster.publish([0, -1])
    cluster.step(0.3)
    cluster.run("s0", "SET", "k", "old")
    cluster.publish([1, 2], [("s0", "s1", ALL), ("s0", "s2", ALL)])
    cluster.step(0.01)
    cluster.run("s1", "SET", "k", "new")
    primary, copy = (cluster.cores[name] for name in ("s1", "s2"))
    old = cluster.cores["s0"].replicator.copies.mutation_of(b"k")
    cluster.deliver()
    entry = primary.store.peek(b"k", cluster.now_ms)
    assert entry is not None
    primary.replicator.copies.forget(entry)  # as the policy would
    cluster.deliver()
    assert copy.replicator.copies.arriving[slot_of(b"k")]
    assert old is not None
    assert not copy.replicator.copies.merge(old)
    assert copy.store.peek(b"k", cluster.now_ms) is None


def test_a_giver_that_could_not_be_reached_is_asked_as_soon_as_it_can() -> None:
    """With one copy shards have no connections until something moves, and commands wait for the giver's answer."""
    cluster = PureCluster(2)
    cluster.publish([0])
    keys = fill(cluster, "s0", 10)
    cluster.cut = {frozenset(("s0", "s1"))}
    cluster.publish([1], [("s0", "s1", ALL)])
    cluster.step()
    receiver = cluster.cores["s1"].replicator
    assert next(iter(receiver.transfers.arrivals.values())).is_holding
    cluster.cut = set()
    receiver.peer_found("s0")
    while cluster.deliver():
        pass
    assert not next(iter(receiver.transfers.arrivals.values())).is_holding
    assert cluster.run("s1", "GET", keys[0]) == b"$7\r\nvalue 0\r\n"


def test_slots_that_are_being_emptied_do_not_hold_up_others() -> None:
    cluster = PureCluster(2)
    table = np.zeros((SLOT_COUNT, 1), dtype=np.int16)
    table[SLOT_COUNT // 2 :] = 1
    cluster.publish(table)
    fill(cluster, "s1", 20)
    for core in cluster.cores.values():
        core.slots.sweep = lambda *_: True  # type: ignore[method-assign]
    cluster.publish([0], [("s1", "s0", range(SLOT_COUNT // 2, SLOT_COUNT))])
    cluster.step(1)
    cluster.publish([0])  # s1 begins to empty the upper half, and never ends
    assert 1 in cluster.cores["s1"].replicator.copies.emptying
    table[:] = 0
    table[: SLOT_COUNT // 2] = 1
    cluster.publish(table, [("s0", "s1", range(SLOT_COUNT // 2))])
    cluster.step(1)
    assert next(iter(cluster.cores["s1"].replicator.transfers.arrivals.values())).is_done


def test_what_is_written_meanwhile_is_not_asked_of_a_giver_that_cannot_know_it() -> None:
    """s1 leaves and gives to s2; the primary, s0, goes on writing."""
    cluster = PureCluster(3, copies=2)
    cluster.publish([0, 1])
    cluster.step(0.3)
    keys = fill(cluster, "s0", 300)
    cluster.step(0.3)
    cluster.publish([0, 2], [("s1", "s2", ALL)])
    for number, key in enumerate(keys):
        cluster.run("s0", "SET", key, f"newer {number}")
        if number % 10 == 0:
            cluster.step()
    cluster.step(1)
    arrival = next(iter(cluster.cores["s2"].replicator.transfers.arrivals.values()))
    assert arrival.is_done
    assert arrival.is_first_pass
    assert arrival.entries <= len(keys)
    cluster.publish([0, 2])
    cluster.step(1)
    one, two = (cluster.cores[name].replicator.copies.digests.of for name in ("s0", "s2"))
    assert one == two


@pytest.mark.parametrize("excuse", ["nothing", "written since, and a chunk came damaged"])
def test_a_difference_that_nothing_written_explains_is_asked_for_again(excuse: str) -> None:
    cluster = PureCluster(3, copies=2)
    cluster.publish([0, 1])
    cluster.step(0.3)
    keys = fill(cluster, "s0", 50)
    cluster.step(0.3)
    cluster.publish([0, 2], [("s1", "s2", ALL)])
    receiver = cluster.cores["s2"]
    arrival = next(iter(receiver.replicator.transfers.arrivals.values()))
    while arrival.state != "checking":
        cluster.step()
    receiver.replicator.copies.drop(keys[0].encode())  # as if it had been lost on its way
    if excuse != "nothing":
        receiver.replicator.copies.rewritten[slot_of(keys[0].encode())] = 1
        arrival.mismatches = 1
    cluster.step(1)
    assert arrival.is_done
    assert not arrival.is_first_pass
    assert receiver.store.peek(keys[0].encode(), cluster.now_ms) is not None


@pytest.mark.parametrize("mode", ["primary-replica", "multi-primary"])
def test_what_was_to_come_from_one_that_died_comes_from_the_other_owner(mode: str) -> None:
    """Nobody may have all of it, so that the transfer is given up; who leads has the most."""
    cluster = PureCluster(3, copies=2, replication=mode)
    slot = slot_of(b"k")
    owners = np.full((SLOT_COUNT, 2), [0, 1])
    owners[slot] = [2, 0]
    cluster.publish(owners)
    cluster.step(0.3)
    cluster.run("s2", "SET", "k", "v")
    cluster.step(0.3)
    del cluster.cores["s2"]
    cluster.publish([0, 1], [("s2", "s1", [slot]), ("s2", "s0", [slot])])
    cluster.step(3.0)  # meanwhile the other slots are compared, and found to be the same
    cluster.publish([0, 1])
    cluster.step(3.0)
    assert cluster.cores["s1"].store.peek(b"k", cluster.now_ms) is not None


@pytest.mark.parametrize("copies", [1, 2])
def test_what_was_deleted_during_an_earlier_ownership_is_asked_for(copies: int) -> None:
    cluster = PureCluster(3, copies=copies)
    cluster.publish([0, 2][:copies])
    cluster.step(0.3)
    cluster.run("s0", "SET", "k", "old")
    cluster.run("s0", "DEL", "k")
    cluster.publish([1, 2][:copies], [("s0", "s1", ALL)])
    cluster.step(1.0)
    cluster.publish([1, 2][:copies])
    cluster.step(1.0)
    cluster.run("s1", "SET", "k", "new")
    cluster.step(0.3)
    cluster.publish([0, 2][:copies], [("s1", "s0", ALL)])
    cluster.cores["s0"].replicator._handlers["some"] = lambda sender, message: None  # only what commands pull comes
    cluster.step(0.3)
    assert cluster.run("s0", "GET", "k") == b"$3\r\nnew\r\n"
