"""A router that comes back knowing nothing continues where the one before stopped."""

from __future__ import annotations

import numpy as np
from world import PATIENCE, World, of

from raycache.ring.topology import Topology
from raycache.router.core import RouterCore
from raycache.router.messages import CreateGateway, CreateShard, PushTopology, RemoveShard


def test_it_keeps_the_table_and_goes_on_above_the_newest_epoch() -> None:
    world = World().settle()
    before = world.topology
    world.restart_router()
    actions = world.step()
    assert of(CreateShard, actions) == of(CreateGateway, actions) == of(RemoveShard, actions) == []
    assert world.topology.epoch == 1000 * world.lives + 1
    assert world.topology.shards == before.shards
    assert np.array_equal(world.topology.owners, before.owners)
    world.carry_out(actions)
    assert world.settle().core.is_settled


def test_it_does_nothing_until_the_known_shards_have_reported() -> None:
    world = World().settle()
    world.unreachable.add("s1")
    world.restart_router()
    assert world.step(PATIENCE.recovery_wait_s / 2) == []
    world.unreachable.clear()
    world.register("s1")
    assert len(of(PushTopology, world.step())) == 1
    assert [shard.state for shard in world.topology.shards] == ["up"] * 3


def test_one_that_does_not_report_is_down_and_is_replaced_in_time() -> None:
    world = World().settle()
    before = world.topology
    world.unreachable.add("s1")
    world.restart_router()
    world.settle(PATIENCE.recovery_wait_s)
    assert world.state_of("s1") == "down"
    assert np.array_equal(world.topology.owners, before.owners)
    assert of(RemoveShard, world.step(PATIENCE.restart_deadline_s)) == [RemoveShard("s1")]


def test_an_epoch_that_nobody_showed_is_not_made_again() -> None:
    """The one who did not answer holds an epoch that nobody else has; it must never mean two things."""
    world = World().settle()
    seen = world.topology
    world.unreachable |= {"s0", "s2"}
    world.lose("s2")
    world.carry_out(world.step())
    world.deliver("s1", world.topology)
    ahead = world.topology
    world.unreachable = {"s1"}
    world.restart_router()
    world.settle(PATIENCE.recovery_wait_s)
    assert seen.epoch < ahead.epoch < world.topology.epoch
    world.unreachable.clear()
    world.register("s1")
    world.settle()
    assert world.actors["s1"].topology == world.topology


def test_one_that_is_not_in_office_makes_nothing_of_an_older_topology() -> None:
    world = World(shards=2).settle()
    first = world.topology.epoch
    world.restart_router()
    world.step()  # it makes an epoch, and nobody hears of it
    unheard = world.topology.epoch
    assert unheard > first
    world.restart_router()
    world.unreachable.add("s0")
    world.actors["s0"].topology = None
    assert world.step() == []
    assert world.topology.epoch == first  # what s1 has shown, and no more than that: one of two is no majority
    world.unreachable.clear()
    world.start("s0")
    world.settle(PATIENCE.even_wait_s)
    assert world.topology.epoch > unheard


def test_the_newest_of_several_topologies_wins() -> None:
    world = World().settle()
    world.unreachable.add("s0")
    world.lose("s2")
    world.carry_out(world.step())
    world.unreachable.clear()
    newest = world.topology
    assert world.actors["s0"].topology is not None
    assert world.actors["s0"].topology.epoch < newest.epoch
    world.restart_router()
    world.settle()
    assert world.topology.epoch > newest.epoch
    assert np.array_equal(world.topology.owners, newest.owners)


def test_a_shard_that_shows_a_newer_epoch_later_is_overtaken() -> None:
    world = World().settle()
    mine = world.topology
    newer = Topology("c", mine.epoch + 40, mine.shards, mine.owners)
    world.actors["s0"].topology = newer
    world.register("s0")
    world.settle()
    assert world.topology.epoch == newer.epoch + 1
    assert world.actors["s0"].topology == world.topology


def test_a_shard_that_shows_the_same_epoch_with_other_content_is_overtaken() -> None:
    world = World().settle()
    mine = world.topology
    world.actors["s0"].topology = Topology("c", mine.epoch, mine.shards, mine.owners)  # without the gateways
    world.register("s0")
    world.settle()
    assert world.topology.epoch == mine.epoch + 1
    assert world.actors["s0"].topology == world.topology


def test_the_number_of_shards_is_the_one_of_before_not_of_the_first_start() -> None:
    world = World(shards=3, nodes=5).settle()
    world.core.scale(5)
    world.settle()
    world.restart_router()
    world.settle()
    assert world.core.wanted_shards == 5
    world.core.scale(2)
    world.settle()
    world.restart_router()
    world.settle()
    assert world.core.wanted_shards == 2
    assert sorted(world.actors) == ["s0", "s1"]


def test_a_gateway_may_hold_the_newest() -> None:
    world = World().settle()
    for actor in world.actors.values():
        actor.topology = None
    before = world.topology
    world.restart_router()
    world.settle()
    assert np.array_equal(world.topology.owners, before.owners)
    assert world.topology.epoch > before.epoch


def test_newcomers_that_were_not_dealt_in_yet_are_still_wanted() -> None:
    world = World().settle()
    world.core.scale(4)
    world.step()
    world.start("s3", "n0")
    world.restart_router()
    world.settle()
    assert world.core.wanted_shards == 4
    assert world.topology.shares()["s3"] == 4096


def test_who_was_leaving_still_leaves() -> None:
    world = World().settle()
    world.core.scale(2)
    world.carry_out(world.step())
    world.restart_router()
    world.settle()
    assert world.core.wanted_shards == 2
    assert world.ids() == ["s0", "s1"]
    assert sorted(world.actors) == ["s0", "s1"]


def test_a_member_whose_actor_is_gone_is_created_at_once() -> None:
    world = World().settle()
    table = world.topology.owners
    del world.actors["s2"]
    world.restart_router()
    assert [c.shard_id for c in of(CreateShard, world.step())] == ["s2"]
    world.settle()
    assert np.array_equal(world.topology.owners, table)


def test_a_request_to_scale_during_recovery_counts() -> None:
    world = World().settle()
    world.restart_router()
    world.core.scale(4)
    world.settle()
    assert world.core.wanted_shards == 4
    assert len(world.actors) == 4


def test_where_nobody_holds_a_topology_the_shards_are_dealt_anew() -> None:
    world = World(nodes=5).settle()
    world.core.scale(5)
    world.settle()
    before = world.topology.epoch
    for actor in world.actors.values():
        actor.topology = None
    world.gateways = dict.fromkeys(world.gateways)
    world.restart_router()
    world.settle()
    assert world.core.wanted_shards == 5
    assert len(world.topology.shares()) == 5
    assert world.topology.epoch > before  # clients still hold the old one


def test_a_topology_that_shows_up_after_the_wait_is_still_taken() -> None:
    world = World().settle()
    before = world.topology
    world.unreachable |= {"s0", "s1", "s2"}
    world.gateways = dict.fromkeys(world.gateways)
    world.restart_router()
    world.step(PATIENCE.recovery_wait_s)
    assert world.topology.epoch == 0
    world.unreachable.clear()
    world.register("s1")
    world.carry_out(world.step(0.1))
    assert np.array_equal(world.topology.owners, before.owners)
    assert world.topology.epoch > before.epoch
    world.register("s0")
    world.register("s2")
    world.settle()
    assert world.core.is_settled


def test_without_a_floor_it_goes_on_with_the_next_epoch() -> None:
    world = World().settle()
    before = world.topology
    world.core = RouterCore(world.config, world.now)
    world.core.nodes_reported(world.nodes.values())
    world.core.recover(list(world.actors), [], world.now)
    for shard_id in world.actors:
        world.register(shard_id)
    world.step()
    assert world.topology.epoch == before.epoch + 1


def test_where_nothing_is_left_epochs_still_go_on() -> None:
    world = World().settle()
    before = world.topology
    world.actors.clear()
    world.gateways.clear()
    world.restart_router()
    assert world.settle().core.is_settled
    assert world.topology.epoch > before.epoch


def test_a_shard_that_was_not_on_the_list_reports_in_time() -> None:
    world = World().settle()
    before = world.topology
    world.core = RouterCore(world.config, world.now)
    world.core.nodes_reported(world.nodes.values())
    world.core.recover(["s0", "s1"], [], world.now)
    for shard_id in ("s2", "s0", "s1"):
        world.register(shard_id)
    world.settle()
    assert np.array_equal(world.topology.owners, before.owners)
    assert sorted(world.core.shards[2].id) == sorted("s2")
    assert world.actors["s2"].incarnation == before.shard("s2").incarnation
