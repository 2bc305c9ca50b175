"""Losing shards that have copies elsewhere: who leads, when, and how the lost one comes back."""

from __future__ import annotations

import numpy as np
import pytest
from world import PATIENCE, World, node, of

from raycache.ring.slots import SLOT_COUNT
from raycache.router.messages import PushTopology


def leads(world: World, shard_id: str) -> int:
    return world.topology.shares()[shard_id]


def owners_as_sets(world: World) -> np.ndarray:
    return np.sort(world.topology.owners, axis=1)


def test_replicas_lead_at_once_and_the_lost_one_stays_owner() -> None:
    world = World(copies=2).settle()
    before = world.topology
    world.lose("s1")
    actions = world.step()
    after = world.topology
    assert (world.state_of("s1"), leads(world, "s1")) == ("down", 0)
    was = before.slots_of("s1")
    assert np.array_equal(after.owners[was, 0], before.owners[was, 1])
    assert (after.owners[was, 1] == 1).all()
    assert np.array_equal(np.sort(after.owners, axis=1), np.sort(before.owners, axis=1))
    assert after.transfers == ()
    assert of(PushTopology, actions)[0].shard_ids == ("s0", "s2")
    assert [event.kind for event in world.core.events][-2:] == ["failover", "failover"]


def test_with_one_copy_nobody_takes_over() -> None:
    world = World().settle()
    before = world.topology.owners
    world.lose("s1")
    world.step()
    assert np.array_equal(world.topology.owners, before)


def test_back_again_it_is_filled_first_and_then_leads_its_share() -> None:
    world = World(copies=2).settle()
    before = owners_as_sets(world)
    world.lose("s1")
    world.settle()
    world.start("s1")
    world.step()
    transfers = world.topology.transfers
    assert {one.receiver for one in transfers} == {"s1"}
    slots = np.concatenate([one.slot_array() for one in transfers])
    assert np.array_equal(np.sort(slots), world.topology.slots_owned("s1"))
    for one in transfers:
        assert {world.topology.owners_of(slot)[0].id for slot in one.slot_array().tolist()} == {one.giver}
    assert leads(world, "s1") == 0
    assert not world.core.is_settled

    world.carry_out([PushTopology(world.topology, ("s0", "s1", "s2"), ())])
    world.settle()
    assert world.topology.transfers == ()
    assert leads(world, "s1") == 0  # not at once: it may fall again
    world.settle(PATIENCE.even_wait_s)
    shares = world.topology.shares()
    assert max(shares.values()) - min(shares.values()) <= SLOT_COUNT // 3 // 32
    assert np.array_equal(owners_as_sets(world), before)
    assert world.core.is_settled


def test_primaries_go_back_a_few_at_a_time_each_by_a_transfer() -> None:
    world = World(copies=2).settle()
    world.lose("s1")
    world.settle()
    world.start("s1")
    world.settle()
    world.step(PATIENCE.even_wait_s)
    [one] = world.topology.transfers
    assert (one.receiver, len(one.slot_array())) == ("s1", PATIENCE.slots_swapped_at_once)
    assert leads(world, "s1") == PATIENCE.slots_swapped_at_once
    assert (world.topology.owners[one.slot_array(), 1] == int(one.giver[1:])).all()


def test_a_restart_faster_than_its_news_is_a_failover_too() -> None:
    """The new process knows nothing: it must not lead, though it was never seen to be down."""
    world = World(copies=2).settle()
    world.start("s1")
    world.step()
    assert (world.state_of("s1"), leads(world, "s1")) == ("up", 0)
    assert {one.receiver for one in world.topology.transfers} == {"s1"}


def test_the_most_complete_replica_leads() -> None:
    world = World(shards=4, nodes=4, copies=3).settle()
    slots = world.topology.slots_of("s0")
    for shard_id, offset in (("s1", 70), ("s2", 90), ("s3", 80)):
        world.actors[shard_id].applied = {"s0": offset}
    world.ping()
    before = world.topology
    world.lose("s0")
    world.step(0.01)
    after = world.topology.owners[slots]
    for rank in (2, 3):
        rows = (before.owners[slots] == rank).any(axis=1) & ~(before.owners[slots] == 2).any(axis=1)
        assert rank == 2 or (after[rows, 0] == 3).all()
    assert (after[(before.owners[slots] == 2).any(axis=1), 0] == 2).all()
    assert (after[:, -1] == 0).all()


def test_a_choice_between_replicas_waits_for_what_they_say_after_the_loss() -> None:
    world = World(shards=4, nodes=4, copies=3).settle()
    before = leads(world, "s0")
    world.lose("s0")
    world.unreachable |= {"s1", "s2", "s3"}
    world.core.step(world.now)
    assert (world.state_of("s0"), leads(world, "s0")) == ("down", before)
    assert world.core.is_hurrying
    world.unreachable = {"s0"}
    world.step(0.05)
    assert leads(world, "s0") == 0


def test_such_a_wait_is_short() -> None:
    world = World(shards=4, nodes=4, copies=3).settle()
    world.lose("s0")
    world.unreachable |= {"s1", "s2", "s3"}
    world.core.step(world.now)
    world.core.step(world.now + PATIENCE.fresh_wait_s)
    assert leads(world, "s0") == 0


def test_a_replica_that_is_not_filled_yet_is_the_last_choice() -> None:
    world = World(shards=4, nodes=4, copies=3).settle()
    world.unfinished.add("s1")
    world.lose("s1")
    world.settle()
    world.start("s1")
    world.settle()
    assert world.topology.transfers_to("s1")
    world.actors["s1"].applied = {"s0": 10**6}
    slots = world.topology.slots_of("s0")
    world.lose("s0")
    world.step(0.01)
    world.step(PATIENCE.fresh_wait_s)
    assert not (world.topology.owners[slots, 0] == 1).any()


def test_all_copies_lost_and_back_they_serve_again() -> None:
    world = World(shards=2, nodes=2, copies=2).settle()
    world.lose("s0")
    world.settle()
    world.lose("s1")
    world.settle()
    assert (world.topology.owners[:, 0] == 1).all()  # whoever led last keeps the slots
    world.start("s0")
    world.step()
    assert (world.topology.owners[:, 0] == 0).all()  # empty, and serving
    assert world.topology.transfers == ()
    world.carry_out([PushTopology(world.topology, ("s0",), ())])
    world.start("s1")
    world.step()
    assert {(one.giver, one.receiver) for one in world.topology.transfers} == {("s0", "s1")}
    world.carry_out([PushTopology(world.topology, ("s0", "s1"), ())])
    world.settle(1.0)
    world.settle(PATIENCE.even_wait_s)
    assert world.core.is_settled


def test_both_restarted_before_anybody_noticed() -> None:
    world = World(shards=2, nodes=2, copies=2).settle()
    world.start("s0")
    world.start("s1")
    world.settle()
    assert world.core.is_settled
    assert min(world.topology.shares().values()) > 0


def test_a_second_loss_during_the_refill_of_the_first() -> None:
    world = World(shards=4, nodes=4, copies=2).settle()
    world.lose("s1")
    world.settle()
    world.unfinished.add("s1")
    world.start("s1")
    world.settle()
    assert {one.giver for one in world.topology.transfers} == {"s0", "s2", "s3"}
    world.lose("s0")
    world.settle()
    # What s0 gave nobody else has; what others give goes on.
    assert {one.giver for one in world.topology.transfers} == {"s2", "s3"}
    assert leads(world, "s0") == 0
    assert any("nobody else has them" in event.text for event in world.core.events)
    world.unfinished.clear()
    world.start("s0")
    world.settle(1.0)
    world.settle(PATIENCE.even_wait_s)
    assert world.core.is_settled


def test_a_shard_that_moved_machines_keeps_copies_apart() -> None:
    world = World(shards=3, nodes=3, copies=2).settle()
    world.report_nodes(node(1, alive=False))
    world.settle()
    world.start("s1", "n0")
    world.settle(1.0)
    world.settle(PATIENCE.even_wait_s)
    assert world.core.is_settled
    machines = {shard.id: shard.machine for shard in world.topology.shards}
    assert sorted(machines.values()) == ["10.0.0.0", "10.0.0.0", "10.0.0.2"]
    by_index = np.array([machines[shard.id] for shard in world.topology.shards])[world.topology.owners]
    assert (by_index[:, 0] != by_index[:, 1]).all()
    assert world.core.warnings == ()


def test_on_one_machine_it_says_so() -> None:
    world = World(shards=3, nodes=1, copies=2).settle()
    assert world.core.warnings == (f"copies of {SLOT_COUNT} slots share a machine: its loss loses them all",)


def test_too_few_shards_for_the_copies_say_so() -> None:
    world = World(shards=1, nodes=1, copies=2).settle()
    assert "1 shards cannot hold 2 copies" in world.core.warnings[0]
    world.core.scale(2)
    world.settle(1.0)
    assert (world.topology.owners >= 0).all()


@pytest.mark.parametrize("mode", ["multi-primary", "quorum"])
def test_other_modes_change_the_order_the_same_way(mode: str) -> None:
    world = World(copies=3, replication=mode).settle()
    assert world.topology.replication == mode
    slots = world.topology.slots_of("s2")
    world.lose("s2")
    world.settle(0.01)
    assert leads(world, "s2") == 0
    assert (world.topology.owners[slots, 2] == 2).all()


def test_a_silent_copy_is_waited_for_where_nobody_else_has_all_of_a_slot() -> None:
    world = World(shards=3, copies=3).settle()
    world.lose("s1")
    world.step()
    world.start("s1")
    world.step()
    assert {one.receiver for one in world.topology.transfers} == {"s1"}
    world.silence("s0")
    world.step()
    world.lose("s2")
    world.step(0.3)
    world.start("s2")
    world.step(0.3)
    # s1 has not got everything, s2 has come back empty: only s0 may still have all.
    assert {(one.giver, one.receiver) for one in world.topology.transfers} == {("s0", "s1"), ("s0", "s2")}


def test_a_copy_that_was_only_cut_off_leads_before_a_new_process_that_has_nothing() -> None:
    world = World(copies=2).settle()
    shared = [slot for slot, row in enumerate(world.topology.owners.tolist()) if row == [0, 1]]
    world.silence("s1")
    world.step(1.0)
    world.lose("s0")
    world.settle()
    assert (world.topology.owners[shared, 0] == 0).all()  # nobody else has these
    world.start("s0")
    world.wake("s1")
    world.step()
    assert (world.topology.owners[shared] == [1, 0]).all()
    gives = {(one.giver, one.receiver) for one in world.topology.transfers if shared[0] in one.slot_array()}
    assert gives == {("s1", "s0")}


def test_nobody_leaves_with_all_of_a_slot_before_somebody_who_stays_has_said_that_it_has_it() -> None:
    """The others may have lost all a moment ago, and the router not know it yet."""
    world = World(copies=3).settle()
    world.unfinished = {"s0", "s1"}
    world.core.drain("s2")
    world.settle()
    given = np.concatenate([one.slot_array() for one in world.topology.transfers])
    assert {one.giver for one in world.topology.transfers} == {"s2"}
    left = np.flatnonzero((world.topology.owners[:, :2] >= 0).all(axis=1) & (world.topology.owners[:, 2] < 0))
    assert len(left)
    assert np.array_equal(np.sort(given), left)
    world.unfinished.clear()
    world.settle(1.0)
    assert not world.topology.transfers
    assert not len(world.topology.slots_owned("s2"))
