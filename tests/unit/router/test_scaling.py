"""More shards, fewer shards, and changing one's mind between the two."""

from __future__ import annotations

import numpy as np
import pytest
from world import PATIENCE, World, of

from raycache.ring.plan import move_report
from raycache.ring.slots import SLOT_COUNT
from raycache.router.messages import CreateShard, PushTopology, RemoveShard


def test_newcomers_are_dealt_in_together_and_take_only_their_share() -> None:
    world = World(nodes=5).settle()
    before = world.topology
    world.core.scale(5)
    actions = world.step()
    creates = of(CreateShard, actions)
    assert [(c.shard_id, c.node_id) for c in creates] == [("s3", "n3"), ("s4", "n4")]
    world.carry_out([action for action in actions if action != creates[1]])
    world.settle(1.0)
    assert world.ids() == ["s0", "s1", "s2"]
    world.start("s4", "n4")
    world.settle(1.0)
    report = move_report(before, world.topology)
    assert {to for _, to in report.moves} == {"s3", "s4"}
    assert report.moved <= SLOT_COUNT * 2 // 5
    assert world.core.is_settled


def test_leavers_give_their_slots_away_before_they_go() -> None:
    world = World(shards=5, nodes=5).settle()
    world.core.scale(2)
    actions = world.step()
    assert of(RemoveShard, actions) == []
    assert [shard.weight == 0 for shard in world.topology.shards] == [False, False, True, True, True]
    assert of(PushTopology, actions)[0].shard_ids == ("s0", "s1", "s2", "s3", "s4")
    removed: list[RemoveShard] = []
    while world.topology.transfers:  # in several turns, each received in full
        assert {one.receiver for one in world.topology.transfers} <= {"s0", "s1"}
        shares = world.topology.shares()
        for shard_id in world.actors:
            world.deliver(shard_id, world.topology)
        removed += of(RemoveShard, world.step(0.1))
        assert not any(shares[one.shard_id] for one in removed), "what everybody holds gives them nothing"
    assert {shard for shard, count in world.topology.shares().items() if count} == {"s0", "s1"}

    for shard_id in ("s0", "s1", "s2", "s3"):
        world.deliver(shard_id, world.topology)
    world.unreachable.add("s4")
    removed += of(RemoveShard, world.step(0.1))
    assert RemoveShard("s4") not in removed  # it still answers for its old slots: not yet
    world.unreachable.clear()
    world.deliver("s4", world.topology)
    removed += of(RemoveShard, world.step(0.1))
    assert set(removed) == {RemoveShard("s2"), RemoveShard("s3"), RemoveShard("s4")}

    for shard_id in ("s2", "s3", "s4"):
        del world.actors[shard_id]
        world.core.shard_removed(shard_id, world.now)
    world.settle()
    assert world.ids() == ["s0", "s1"]
    assert world.core.is_settled


def test_who_cannot_be_told_does_not_hold_up_a_leaver_for_ever() -> None:
    world = World().settle()
    world.core.scale(2)
    world.step()
    while world.topology.transfers:
        for shard_id in ("s0", "s1", "s2"):
            world.deliver(shard_id, world.topology)
        world.step(0.01)
    world.unreachable.add("s0")
    for shard_id in ("s1", "s2"):
        world.deliver(shard_id, world.topology)
    assert of(RemoveShard, world.step(PATIENCE.leave_wait_s - 1)) == []
    assert of(RemoveShard, world.step(1.0)) == [RemoveShard("s2")]


def test_three_to_five_to_two_keeps_every_slot_owned() -> None:
    world = World(nodes=2).settle()
    for count in (5, 2, 3, 1, 4):
        world.core.scale(count)
        assert world.core.wanted_shards == count
        world.settle(1.0)
        assert world.core.is_settled
        assert world.ids() == [f"s{index}" for index in range(count)]
        assert (world.topology.owners >= 0).all()
        assert max(world.topology.shares().values()) - min(world.topology.shares().values()) <= 1
    assert sorted(world.actors) == ["s0", "s1", "s2", "s3"]


def test_a_leaver_that_is_wanted_again_in_time_stays() -> None:
    world = World().settle()
    before = world.topology
    world.core.scale(2)
    world.carry_out(world.step())
    assert world.core.cancel() == "scale from 3 to 2 shards"
    world.settle()
    assert world.core.is_settled
    assert world.topology.shares()["s2"] == pytest.approx(before.shares()["s2"], abs=1)
    assert world.actors["s2"].incarnation == before.shard("s2").incarnation


def test_one_that_is_wanted_again_while_it_is_being_ended_is_created_after_that() -> None:
    world = World().settle()
    world.core.scale(2)
    while not (removals := of(RemoveShard, actions := world.step(0.01))):
        world.carry_out(actions)
    [remove] = removals
    world.core.cancel()
    world.step()
    assert world.topology.shares()["s2"] == 0  # nothing for a shard that is about to end
    world.carry_out([remove])
    actions = world.step()
    assert [create.shard_id for create in of(CreateShard, actions)] == ["s2"]
    assert world.ids() == ["s0", "s1"]
    world.carry_out(actions)
    world.settle()
    assert world.core.is_settled
    assert world.topology.shares()["s2"] == SLOT_COUNT // 3


def test_newcomers_that_are_not_wanted_any_more_never_get_slots() -> None:
    world = World().settle()
    table = world.topology.owners
    world.core.scale(5)
    world.step()
    world.start("s3", "n0")
    world.core.cancel()
    assert of(RemoveShard, world.step()) == [RemoveShard("s3"), RemoveShard("s4")]
    for shard_id in ("s3", "s4"):
        world.actors.pop(shard_id, None)
        world.core.shard_removed(shard_id, world.now)
    world.settle()
    assert np.array_equal(world.topology.owners, table)
    assert world.core.is_settled


def test_scaling_down_before_the_first_shard_is_up() -> None:
    world = World()
    world.step()
    world.core.scale(1)
    assert of(RemoveShard, world.step()) == [RemoveShard("s1"), RemoveShard("s2")]
    world.core.shard_removed("s1", world.now)
    world.core.shard_removed("s2", world.now)
    world.start("s0", "n0")
    world.settle()
    assert world.topology.shares() == {"s0": SLOT_COUNT}


def test_nobody_leaves_before_somebody_stays() -> None:
    world = World(shards=2, nodes=2)
    created = world.step()
    world.carry_out([action for action in created if action != CreateShard("s0", 0, "n0", ("n1",), 0.0)])
    world.settle(PATIENCE.join_wait_s)
    assert world.topology.shares() == {"s1": SLOT_COUNT}
    world.core.scale(1)
    world.settle()
    assert world.topology.shares() == {"s1": SLOT_COUNT}  # s0 has not come yet
    world.start("s0", "n0")
    world.settle()
    assert world.ids() == ["s0"]
    assert world.core.is_settled


@pytest.mark.parametrize("copies", [1, 2])
def test_a_lost_shard_that_leaves_is_not_waited_for(copies: int) -> None:
    world = World(copies=copies).settle()
    world.lose("s2")
    world.step()
    world.core.scale(2)
    world.settle()
    world.settle(PATIENCE.even_wait_s)
    assert world.ids() == ["s0", "s1"]
    assert world.core.is_settled


def test_one_that_is_silent_keeps_its_slots_for_a_while() -> None:
    """The others may be dead without anybody knowing, and it may be back with all it has."""
    world = World(copies=2).settle()
    world.silence("s2")
    world.settle(PATIENCE.suspect_s + 0.5)
    assert world.state_of("s2") == "down"
    world.core.scale(2)
    world.settle(PATIENCE.return_wait_s - 2.0)
    assert len(world.topology.slots_owned("s2")) > 0
    world.settle(2.0)
    world.settle(PATIENCE.even_wait_s)
    world.settle(PATIENCE.leave_wait_s)
    assert world.ids() == ["s0", "s1"]


def test_one_that_is_back_in_time_gives_them_itself() -> None:
    world = World(copies=2).settle()
    world.silence("s2")
    world.settle(PATIENCE.suspect_s + 0.5)
    world.core.scale(2)
    world.settle(1.0)
    world.wake("s2")
    world.settle(1.0)
    world.settle(PATIENCE.even_wait_s)
    world.settle(1.0)
    assert world.ids() == ["s0", "s1"]


def test_a_removed_shard_that_lives_on_is_ended_again() -> None:
    world = World().settle()
    report = world.report("s2")
    world.core.scale(2)
    world.settle()
    assert not world.core.shard_reported(report, world.now)
    assert of(RemoveShard, world.step()) == [RemoveShard("s2")]
    world.core.shard_removed("s2", world.now)
    assert world.step() == []
    assert world.core.is_settled


@pytest.mark.parametrize("count", [0, -1, 1001])
def test_impossible_numbers_are_refused(count: int) -> None:
    world = World().settle()
    with pytest.raises(ValueError, match="shards must be"):
        world.core.scale(count)
    assert world.core.wanted_shards == 3
