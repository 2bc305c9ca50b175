"""Growth, shrinking, drains and handovers: slots move with their data, and every change can be undone."""

from __future__ import annotations

import numpy as np
import pytest
from world import PATIENCE, World, node, of

from raycache.errors import ChangeUnderWayError
from raycache.ring.slots import SLOT_COUNT
from raycache.router.messages import CreateShard, PushTopology, RemoveShard
from raycache.router.transferring import BEHIND_THE_SCENES


def push(world: World, *shard_ids: str) -> None:
    world.carry_out([PushTopology(world.topology, shard_ids or tuple(world.actors), tuple(world.gateways))])


def grown(copies: int = 1, **more: object) -> World:
    """A cluster in which s3 has just got its slots, and not their data."""
    world = World(nodes=4, copies=copies, **more).settle()
    world.core.scale(4)
    world.carry_out(world.step())
    world.unfinished.add("s3")
    world.settle()
    assert world.topology.transfers
    return world


def arriving(world: World, receiver: str) -> np.ndarray:
    return np.concatenate([one.slot_array() for one in world.topology.transfers_to(receiver)])


# Growth


@pytest.mark.parametrize("copies", [1, 2, 3])
def test_a_newcomer_owns_at_once_and_gets_the_data_from_those_who_leave(copies: int) -> None:
    world = World(nodes=4, copies=copies).settle()
    before = world.topology
    world.core.scale(4)
    world.carry_out(world.step())
    world.unfinished.add("s3")
    world.settle()
    after = world.topology
    assert {one.receiver for one in after.transfers} == {"s3"}
    assert np.array_equal(np.sort(arriving(world, "s3")), after.slots_owned("s3"))
    for one in after.transfers:
        for slot in one.slot_array()[:50].tolist():
            assert one.giver in [shard.id for shard in before.owners_of(slot)]
            assert one.giver not in [shard.id for shard in after.owners_of(slot)]
    assert not world.core.is_settled


@pytest.mark.parametrize("copies", [2, 3])
@pytest.mark.parametrize("nodes", [2, 3, 4])
def test_while_slots_move_there_are_as_many_whole_copies_as_before(nodes: int, copies: int) -> None:
    world = World(nodes=nodes, copies=copies).settle()
    world.core.scale(4)
    world.unfinished |= {"s0", "s1", "s2", "s3"}
    before = world.topology
    world.settle()
    after = world.topology
    moves = {(one.giver, one.receiver): set(one.slot_array().tolist()) for one in after.transfers}
    for slot in set().union(*moves.values()):
        givers = {giver for (giver, _), slots in moves.items() if slot in slots}
        receivers = {receiver for (_, receiver), slots in moves.items() if slot in slots}
        had = {shard.id for shard in before.owners_of(slot)}
        # Who takes over as primary gets what was written last; all else it has.
        assert givers | {shard.id for shard in after.owners_of(slot)} - (receivers - had) == had, slot


@pytest.mark.parametrize("copies", [1, 2])
def test_no_more_moves_than_the_newcomers_share(copies: int) -> None:
    world = World(nodes=4, copies=copies).settle()
    before = world.topology.owners
    world.core.scale(4)
    world.settle(1.0)
    assert world.core.is_settled
    assert world.topology.transfers == ()
    had = (world.topology.owners[:, :, None] == before[:, None, :]).any(axis=2)
    assert int((~had).sum()) <= 1.05 * copies * SLOT_COUNT / 4
    assert set(world.topology.owners[~had].tolist()) == {3}
    shares = world.topology.shares().values()
    assert max(shares) - min(shares) <= SLOT_COUNT // 4 // 32


def test_large_changes_move_in_several_turns() -> None:
    world = World(nodes=6).settle()
    world.core.scale(6)
    world.carry_out(world.step())
    world.step()
    assert sum(len(one.slot_array()) for one in world.topology.transfers) == PATIENCE.slots_moved_at_once
    assert world.core.progress(world.now)["slots_total"] == pytest.approx(SLOT_COUNT / 2, abs=2)
    push(world)
    world.settle(1.0)
    assert world.core.is_settled
    assert world.core.progress(world.now)["last"]["slots"] == pytest.approx(SLOT_COUNT / 2, abs=2)


@pytest.mark.parametrize(("entries", "slots"), [(100_000, 16_000 * SLOT_COUNT // 600_000), (10_000_000, 256)])
def test_where_there_are_many_entries_turns_have_fewer_slots(entries: int, slots: int) -> None:
    world = World(nodes=6, copies=2).settle()
    world.entries = 2 * entries
    world.settle(1.0)
    before = world.topology.owners[:, 0]
    world.core.scale(6)
    world.carry_out(world.step())
    world.step()
    moved = np.array(sorted({int(slot) for one in world.topology.transfers for slot in one.slot_array()}))
    led = int((world.topology.owners[moved, 0] != before[moved]).sum())
    assert led < len(moved)
    # Where the primary stays, nobody waits for what is on its way, and more may be so.
    assert slots - 1 < led + (len(moved) - led) * BEHIND_THE_SCENES <= slots


def test_a_giver_that_dies_is_replaced_by_another_that_has_the_slots() -> None:
    world = grown(copies=2)
    slots = arriving(world, "s3")
    world.lose("s0")
    world.step()
    assert {one.giver for one in world.topology.transfers} == {"s1", "s2"}
    for one in world.topology.transfers:
        assert {one.giver} <= {shard.id for shard in world.topology.owners_of(int(one.slot_array()[0]))} | {one.giver}
    assert set(arriving(world, "s3")) == set(slots)
    world.unfinished.clear()
    world.start("s0")
    push(world)
    world.settle(1.0)
    world.settle(PATIENCE.even_wait_s)
    assert world.core.is_settled


def test_a_giver_that_dies_with_the_only_copy_ends_the_transfer() -> None:
    world = grown()
    world.lose("s0")
    world.step()
    assert {one.giver for one in world.topology.transfers} == {"s1", "s2"}
    assert any("nobody else has them" in event.text for event in world.core.events)
    world.unfinished.clear()
    world.start("s0")
    push(world)
    world.settle(1.0)
    assert world.core.is_settled


def test_where_nobody_has_all_of_a_slot_its_primary_gets_what_the_other_owner_has() -> None:
    """A leaver gives to the newcomer and, to be sure, to the owner that stays; it dies when neither has all of it."""
    world = World(shards=4, nodes=4, copies=2).settle()
    world.unfinished |= {"s0", "s1", "s2"}
    world.core.scale(3)
    world.settle()
    leaves = [set(one.slot_array().tolist()) for one in world.topology.transfers if one.giver == "s3"]
    both = set.union(*(one & other for one in leaves for other in leaves if one is not other))
    assert both
    world.lose("s3")
    world.step()
    moves = {slot: (one.giver, one.receiver) for one in world.topology.transfers for slot in one.slot_array().tolist()}
    for slot in both:
        primary, other = (shard.id for shard in world.topology.owners_of(slot))
        assert moves[slot] == (other, primary)


def test_a_silent_giver_with_the_only_copy_is_waited_for() -> None:
    world = grown()
    world.silence("s0")
    world.step()
    assert world.state_of("s0") == "down"
    assert {one.giver for one in world.topology.transfers} == {"s0", "s1", "s2"}
    world.wake("s0")
    world.settle(1.0)
    assert {one.giver for one in world.topology.transfers} == {"s0", "s1", "s2"}


def test_a_receiver_that_dies_begins_again_when_it_is_back() -> None:
    world = grown()
    transfers = world.topology.transfers
    world.lose("s3")
    world.settle()
    assert world.topology.transfers == transfers
    world.start("s3")
    world.step()
    assert world.topology.transfers == transfers
    world.unfinished.clear()
    push(world)
    world.settle(1.0)
    assert world.core.is_settled


def test_with_copies_a_dead_receiver_is_filled_by_who_was_giving_or_leads_now() -> None:
    """Who was giving keeps it: whoever leads now may be dead, too, and nobody has noticed."""
    world = grown(copies=2)
    before = {one.giver: one for one in world.topology.transfers_to("s3")}
    world.lose("s3")
    world.settle()
    assert world.topology.shares()["s3"] == 0
    world.start("s3")
    world.step()
    for one in world.topology.transfers_to("s3"):
        kept = before[one.giver].slot_array() if one.giver in before else np.array([], dtype=np.int32)
        leaders = world.topology.owners[np.setdiff1d(one.slot_array(), kept), 0]
        assert {world.topology.shards[leader].id for leader in np.unique(leaders).tolist()} <= {one.giver}
    assert np.array_equal(np.sort(arriving(world, "s3")), world.topology.slots_owned("s3"))


def test_a_done_of_an_older_process_does_not_count() -> None:
    world = grown()
    world.unfinished.clear()
    done = world.pong_of("s3")
    world.lose("s3")
    world.settle()
    world.unfinished.add("s3")
    world.start("s3")
    world.settle()
    world.core.pong("s3", done, world.now)
    world.settle()
    assert world.topology.transfers


def test_a_newcomer_may_come_while_another_is_lost() -> None:
    world = World(nodes=4, copies=2).settle()
    world.lose("s1")
    world.settle()
    world.core.scale(4)
    world.settle(1.0)
    assert world.topology.shares()["s3"] > 0
    assert "s1" not in {one.giver for one in world.topology.transfers}
    world.start("s1")
    world.settle(1.0)
    world.settle(PATIENCE.even_wait_s)
    assert world.core.is_settled
    shares = world.topology.shares().values()
    assert max(shares) - min(shares) <= SLOT_COUNT // 4 // 16


# Shrinking


@pytest.mark.parametrize("copies", [1, 2])
def test_a_leaver_stays_until_everything_has_left_it(copies: int) -> None:
    world = World(shards=4, nodes=4, copies=copies).settle()
    world.unfinished |= {"s0", "s1", "s2"}
    world.core.scale(3)
    world.settle()
    assert "s3" in {one.giver for one in world.topology.transfers}
    assert not set(arriving(world, "s0")) & set(world.topology.slots_owned("s3"))
    assert of(RemoveShard, world.step(60.0)) == []
    world.unfinished.clear()
    world.settle(0.1)
    world.settle(PATIENCE.even_wait_s)
    assert world.ids() == ["s0", "s1", "s2"]
    assert world.core.is_settled


def test_a_leaver_that_dies_half_way_is_let_go() -> None:
    world = World(shards=4, nodes=4, copies=2).settle()
    world.unfinished |= {"s0", "s1", "s2"}
    world.core.scale(3)
    world.settle()
    world.lose("s3")
    world.unfinished.clear()
    world.settle(0.1)
    world.settle(PATIENCE.leave_wait_s)
    world.settle(PATIENCE.even_wait_s)
    assert world.ids() == ["s0", "s1", "s2"]
    assert world.core.is_settled


# One change at a time


def test_a_second_operator_is_refused() -> None:
    world = grown()
    with pytest.raises(ChangeUnderWayError, match="scale from 3 to 4 shards is under way since"):
        world.core.scale(5)
    with pytest.raises(ChangeUnderWayError, match="cancel it"):
        world.core.drain("s0")
    world.core.scale(4)  # the same wish again is no second one
    assert world.core.wanted_shards == 4
    assert world.core.events[-1].kind == "refused"
    world.unfinished.clear()
    world.settle(1.0)
    world.core.scale(5)
    world.settle(1.0)
    assert world.core.is_settled


def test_cancelling_goes_back_with_all_data() -> None:
    world = grown(copies=2)
    assert world.core.cancel() == "scale from 3 to 4 shards"
    world.settle()
    assert world.core.wanted_shards == 3
    assert {one.receiver for one in world.topology.transfers} == {"s3"}  # what is under way ends first
    world.unfinished.clear()
    world.settle(1.0)
    world.settle(PATIENCE.even_wait_s)
    assert world.ids() == ["s0", "s1", "s2"]
    assert world.core.is_settled
    with pytest.raises(ValueError, match="no change is under way"):
        world.core.cancel()


def test_a_cancelled_cancellation_goes_on() -> None:
    world = grown()
    world.core.cancel()
    assert world.core.cancel() == "cancel: scale from 3 to 4 shards"
    world.unfinished.clear()
    world.settle(1.0)
    assert world.ids() == ["s0", "s1", "s2", "s3"]
    assert world.core.is_settled


def test_what_a_change_cost_is_told_at_its_end() -> None:
    world = grown()
    under_way = world.core.progress(world.now)
    assert under_way["change"]["text"] == "scale from 3 to 4 shards"
    assert (under_way["slots_done"], under_way["slots_total"]) == (0, 4096)
    assert {one["giver"] for one in under_way["transfers"]} == {"s0", "s1", "s2"}
    world.unfinished.clear()
    world.settle(2.0)
    after = world.core.progress(world.now)
    assert after["change"] is None
    assert (after["last"]["slots"], after["last"]["entries"], after["last"]["transfers"]) == (4096, 21, 3)
    assert after["last"]["is_done"]
    assert after["last"]["seconds"] >= 2.0


# Drains


@pytest.mark.parametrize("copies", [1, 2])
def test_a_drained_shard_is_empty_and_stays(copies: int) -> None:
    world = World(copies=copies).settle()
    world.core.drain("s1")
    world.settle(1.0)
    assert len(world.topology.slots_owned("s1")) == 0
    assert (world.topology.draining, world.ids()) == (("s1",), ["s0", "s1", "s2"])
    assert world.core.shards[1].is_draining
    assert world.core.is_settled
    assert world.core.progress(world.now)["last"]["text"] == "drain s1"
    world.core.drain("s1")
    world.core.undrain("s1")
    world.settle(1.0)
    assert len(world.topology.slots_owned("s1")) == pytest.approx(copies * SLOT_COUNT / 3, rel=0.05)
    assert world.core.is_settled


def test_a_drain_survives_the_router() -> None:
    world = World().settle()
    world.core.drain("s2")
    world.settle(1.0)
    world.restart_router()
    world.settle(1.0)
    assert world.core.wanted_shards == 3
    assert len(world.topology.slots_owned("s2")) == 0
    assert world.core.is_settled


def test_a_drain_can_be_taken_back_half_way() -> None:
    world = World(copies=2).settle()
    world.unfinished |= {"s0", "s2"}
    world.core.drain("s1")
    world.settle()
    world.core.undrain("s1")
    world.unfinished.clear()
    world.settle(1.0)
    world.settle(PATIENCE.even_wait_s)
    assert world.topology.draining == ()
    assert len(world.topology.slots_owned("s1")) > 10000
    assert world.core.is_settled


def test_impossible_drains() -> None:
    world = World(shards=2, nodes=2).settle()
    with pytest.raises(ValueError, match="no shard and no node 's7'"):
        world.core.drain("s7")
    with pytest.raises(ValueError, match="s1 is not drained"):
        world.core.undrain("s1")
    world.core.drain("s0")
    world.settle(1.0)
    with pytest.raises(ValueError, match="no other shard would be left"):
        world.core.drain("s1")


@pytest.mark.parametrize("copies", [1, 2])
def test_a_drained_nodes_shards_move_elsewhere(copies: int) -> None:
    world = World(copies=copies).settle()
    world.core.drain("n1")
    removed = False
    for _ in range(40):
        actions = world.step(0.05)
        if RemoveShard("s1") in actions:
            removed = True
            assert not world.topology.transfers_from("s1")
            assert len(world.topology.slots_owned("s1")) == 0
        world.carry_out(actions)
    assert removed
    assert world.core.shards[1].node_id in ("n0", "n2")
    world.settle(PATIENCE.even_wait_s)
    assert len(world.topology.slots_owned("s1")) > 0
    assert world.core.is_settled
    assert world.core.progress(world.now)["last"]["text"] in ("drain n1", "repair")


def test_a_node_that_announces_its_end_is_emptied() -> None:
    world = World(copies=2).settle()
    world.report_nodes(node(1, draining=True))
    world.settle(0.1)
    world.settle(PATIENCE.even_wait_s)
    assert world.actors["s1"].node_id in ("n0", "n2")
    assert world.core.is_settled
    assert not any(event.kind == "failover" for event in world.core.events)


def test_with_nowhere_to_go_an_announced_end_only_empties() -> None:
    world = World(shards=2, nodes=2).settle()
    world.report_nodes(node(0, draining=True), node(1, draining=True))
    world.settle(0.1)
    assert min(world.topology.shares().values()) > 0
    assert "every shard is to be emptied, so none is: another shard must be there first" in world.core.warnings
    world.report_nodes(node(0))
    world.settle(0.1)
    assert world.actors["s1"].node_id == "n0"
    assert world.core.is_settled


def test_newcomers_avoid_nodes_that_are_about_to_go() -> None:
    world = World(shards=2, nodes=3).settle()
    world.report_nodes(node(2, draining=True))
    world.core.scale(3)
    [create] = of(CreateShard, world.step())
    assert create.node_id in ("n0", "n1")


# A router in the middle


def test_transfers_survive_the_router() -> None:
    world = grown(copies=2)
    transfers = world.topology.transfers
    world.restart_router()
    world.step()
    assert world.topology.transfers == transfers
    assert world.core.wanted_shards == 4
    world.unfinished.clear()
    push(world)
    world.settle(1.0)
    world.settle(PATIENCE.even_wait_s)
    assert world.core.is_settled


def test_half_a_change_is_completed_by_the_next_router() -> None:
    world = World(nodes=6).settle()
    world.core.scale(6)
    world.carry_out(world.step())
    world.carry_out(world.step())
    world.restart_router()
    world.settle(1.0)
    world.settle(1.0)
    assert sorted(world.topology.shares().values()) == pytest.approx([SLOT_COUNT / 6] * 6, rel=0.04)
    assert world.core.is_settled


def test_a_shard_that_was_drained_before_it_is_scaled_away_goes() -> None:
    world = World(copies=2).settle()
    world.core.drain("s2")
    world.settle()
    world.settle(PATIENCE.even_wait_s)
    assert len(world.topology.slots_owned("s2")) == 0
    world.core.scale(2)
    world.settle()
    assert world.ids() == ["s0", "s1"]
    assert world.core.is_settled
