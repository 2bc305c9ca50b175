"""The router's rules, with time moved by hand: start, loss, return, replacement, scaling, pushes."""

from __future__ import annotations

import numpy as np
import pytest
from world import PATIENCE, World, node, of

from raycache.ring.slots import SLOT_COUNT
from raycache.ring.topology import Topology
from raycache.router.messages import (
    CreateGateway,
    CreateShard,
    GatewayReport,
    PushTopology,
    RemoveGateway,
    RemoveShard,
    index_of,
    shard_id_of,
)

# Start


def test_start_creates_every_shard_on_its_own_node_and_a_gateway_on_each() -> None:
    actions = World().step()
    creates = of(CreateShard, actions)
    assert [(c.shard_id, c.index, c.node_id, c.cpus) for c in creates] == [
        ("s0", 0, "n0", 0.0), ("s1", 1, "n1", 0.0), ("s2", 2, "n2", 0.0),
    ]
    assert creates[0].peer_node_ids == ("n1", "n2")
    assert of(CreateGateway, actions) == [CreateGateway("n0"), CreateGateway("n1"), CreateGateway("n2")]


def test_once_all_are_up_the_slots_are_dealt_and_everybody_is_told() -> None:
    world = World()
    assert not world.core.is_settled
    world.settle()
    assert world.core.is_settled
    assert sorted(world.topology.shares().values()) == [5461, 5461, 5462]
    assert [shard.state for shard in world.topology.shards] == ["up"] * 3
    assert [gateway.node_id for gateway in world.topology.gateways] == ["n0", "n1", "n2"]
    assert all(actor.topology == world.topology for actor in world.actors.values())
    assert world.core.warnings == ()


def test_nobody_gets_slots_while_one_more_is_expected_shortly() -> None:
    world = World()
    world.step()
    world.start("s0", "n0")
    world.start("s1", "n1")
    assert of(PushTopology, world.step(1.0)) == []
    assert world.topology.epoch == 0
    world.start("s2", "n2")
    world.step(1.0)
    assert world.topology.epoch == 1
    assert len(world.topology.shares()) == 3


def test_a_shard_that_takes_long_is_not_waited_for_for_ever() -> None:
    world = World()
    world.step()
    world.start("s0", "n0")
    world.start("s2", "n2")
    world.step(PATIENCE.join_wait_s)
    assert world.topology.shares() == {"s0": 8192, "s2": 8192}
    world.start("s1", "n1")
    world.settle(1.0)
    assert world.topology.shares()["s1"] == SLOT_COUNT // 3


def test_on_one_node_all_shards_share_it() -> None:
    world = World(nodes=1)
    actions = world.step()
    assert {(c.node_id, c.peer_node_ids) for c in of(CreateShard, actions)} == {("n0", ())}
    world.carry_out(actions)
    world.settle()
    assert [gateway.node_id for gateway in world.topology.gateways] == ["n0"]


def test_without_a_living_node_it_waits_and_says_so() -> None:
    world = World(nodes=0)
    assert world.step() == []
    assert "no Ray node" in world.core.warnings[0]
    world.report_nodes(node(0))
    assert len(of(CreateShard, world.step(1.0))) == 3
    assert world.core.warnings == ()


def test_a_shard_that_cannot_serve_says_why_and_is_not_waited_for() -> None:
    world = World()
    created = world.step()
    world.carry_out([action for action in created if action != created[0]])
    report = world.report("s1", shard_id="s0", failure="shard s0 cannot listen on h:7000: taken")
    assert world.core.shard_reported(report, world.now)
    world.step(1.0)
    assert world.core.warnings == ("shard s0 cannot listen on h:7000: taken",)
    assert world.ids() == ["s1", "s2"]
    world.start("s0", "n0")
    world.step(1.0)
    assert world.core.warnings == ()
    assert world.ids() == ["s0", "s1", "s2"]


def test_what_never_registers_is_created_anew() -> None:
    world = World()
    world.step()
    assert of(RemoveShard, world.step(PATIENCE.start_deadline_s - 1)) == []
    assert of(RemoveShard, world.step(1.0)) == [RemoveShard("s0"), RemoveShard("s1"), RemoveShard("s2")]
    world.core.shard_removed("s1", world.now)
    assert [c.shard_id for c in of(CreateShard, world.step())] == ["s1"]


# Loss and return


def test_a_lost_shard_stays_owner_and_comes_back_empty_under_its_id() -> None:
    world = World().settle()
    before = world.topology
    world.lose("s1")
    actions = world.step()
    assert world.state_of("s1") == "down"
    assert np.array_equal(world.topology.owners, before.owners)
    assert world.topology.epoch == before.epoch + 1
    [push] = of(PushTopology, actions)
    assert push.shard_ids == ("s0", "s2")
    assert push.gateway_node_ids == ("n0", "n1", "n2")
    assert of(CreateShard, actions) == []

    world.start("s1")
    actions = world.step(0.5)
    back = world.topology.shard("s1")
    assert (back.state, back.port) == ("up", world.actors["s1"].port)
    assert back.incarnation > before.shard("s1").incarnation
    assert np.array_equal(world.topology.owners, before.owners)
    assert of(PushTopology, actions)[0].shard_ids == ("s0", "s1", "s2")


def test_a_restart_that_was_faster_than_the_news_of_the_loss() -> None:
    world = World().settle()
    epoch, old = world.topology.epoch, world.actors["s1"].incarnation
    world.start("s1")
    world.core.refused("s1", old, world.now)  # late news of the process before
    world.step()
    assert world.state_of("s1") == "up"
    assert world.topology.epoch == epoch + 1
    assert world.topology.shard("s1").port == world.actors["s1"].port


def test_of_two_registrations_the_higher_incarnation_wins() -> None:
    world = World().settle()
    old = world.report("s1")
    world.start("s1")
    world.settle()
    topology = world.topology
    assert not world.core.shard_reported(old, world.now)
    world.step()
    assert world.topology == topology
    assert not world.core.shard_reported(world.report("s1", incarnation=1, port=9), world.now)


def test_the_same_process_registers_again_after_a_torn_connection() -> None:
    world = World().settle()
    table, epoch = world.topology.owners, world.topology.epoch
    world.lose("s0")
    world.step()
    world.wake("s0")
    world.register("s0")
    world.settle()
    assert world.state_of("s0") == "up"
    assert world.topology.epoch == epoch + 2
    assert np.array_equal(world.topology.owners, table)


def test_a_flapping_shard_is_never_replaced_and_never_loses_its_slots() -> None:
    world = World().settle()
    table = world.topology.owners
    for _ in range(20):
        world.lose("s2")
        lost = world.step(PATIENCE.restart_deadline_s / 2)
        world.carry_out(lost)
        world.start("s2")
        back = world.step(0.5)
        world.carry_out(back)
        assert {type(action) for action in (*lost, *back)} == {PushTopology}
    assert world.epochs == sorted(world.epochs)
    assert world.core.is_settled
    assert np.array_equal(world.topology.owners, table)


def test_one_that_does_not_come_back_is_created_anew_and_keeps_its_slots() -> None:
    world = World().settle()
    table = world.topology.owners
    world.lose("s1")
    assert of(RemoveShard, world.step(PATIENCE.restart_deadline_s - 0.1)) == []
    assert of(RemoveShard, world.step(PATIENCE.restart_deadline_s + 0.1)) == [RemoveShard("s1")]
    assert of(CreateShard, world.step(0.1)) == []  # not before the old one is gone for certain
    world.core.shard_removed("s1", world.now)
    [create] = of(CreateShard, world.step())
    assert (create.shard_id, create.index) == ("s1", 1)
    assert world.state_of("s1") == "starting"
    # Another machine's clock may be behind: after a replacement any incarnation is the living one.
    world.core.shard_reported(world.report("s1", incarnation=5, port=1234), world.now)
    world.settle()
    assert world.topology.shard("s1").port == 1234
    assert np.array_equal(world.topology.owners, table)


def test_a_removal_that_nobody_confirms_is_asked_for_again() -> None:
    world = World().settle()
    world.lose("s1")
    world.step(0.1)
    assert of(RemoveShard, world.step(PATIENCE.restart_deadline_s)) == [RemoveShard("s1")]
    assert world.step(PATIENCE.retry_s / 2) == []
    assert of(RemoveShard, world.step(PATIENCE.retry_s / 2)) == [RemoveShard("s1")]
    # A sign of life now comes too late: its end is on the way.
    assert not world.core.shard_reported(world.report("s1"), world.now)


def test_an_actor_known_to_be_dead_is_created_anew_at_once() -> None:
    world = World().settle()
    world.core.shard_removed("s2", world.now)
    assert [c.shard_id for c in of(CreateShard, world.step())] == ["s2"]
    assert world.state_of("s2") == "starting"
    world.start("s2", "n2")
    assert world.settle().core.is_settled


def test_a_late_registration_while_it_is_being_created_anew_is_welcome() -> None:
    world = World().settle()
    world.core.shard_removed("s2", world.now)
    world.step()
    world.start("s2", "n1")
    world.step()
    assert world.state_of("s2") == "up"
    assert world.topology.shard("s2").node_id == "n1"


def test_a_dead_node_takes_its_shards_and_gateway_along() -> None:
    world = World().settle()
    world.report_nodes(node(1, alive=False))
    actions = world.step()
    assert world.state_of("s1") == "down"
    assert of(RemoveGateway, actions) == [RemoveGateway("n1")]
    assert [gateway.node_id for gateway in world.topology.gateways] == ["n0", "n2"]
    world.start("s1", "n2")  # Ray's fallback
    world.settle()
    assert (world.state_of("s1"), world.topology.shard("s1").machine) == ("up", "10.0.0.2")
    assert world.core.is_settled


def test_a_node_that_is_missing_from_the_list_is_dead() -> None:
    world = World().settle()
    del world.nodes["n1"]
    world.report_nodes()
    world.step()
    assert world.state_of("s1") == "down"


def test_a_replacement_avoids_the_dead_node() -> None:
    world = World().settle()
    world.report_nodes(node(1, alive=False))
    world.step()
    [remove] = of(RemoveShard, world.step(PATIENCE.restart_deadline_s))
    world.carry_out([remove])
    [create] = of(CreateShard, world.step())
    assert create.node_id == "n0"
    assert create.peer_node_ids == ("n2",)


def test_a_shard_may_report_before_its_node_does() -> None:
    world = World().settle()
    world.lose("s1")
    world.start("s1", "n9")
    world.settle()
    assert world.state_of("s1") == "up"
    world.report_nodes(node(9, zone="z"))
    world.step()
    assert (world.topology.shard("s1").machine, world.topology.shard("s1").zone) == ("10.0.0.9", "z")


# Pushes


def test_a_push_is_repeated_until_somebody_says_that_it_arrived() -> None:
    world = World().settle()
    world.unreachable.add("s2")
    world.lose("s1")
    world.carry_out(world.step())
    assert world.step(PATIENCE.retry_s / 2) == []
    [push] = of(PushTopology, world.step(PATIENCE.retry_s / 2))
    assert (push.shard_ids, push.topology) == (("s2",), world.topology)
    world.core.shard_holds("s2", world.topology.epoch)
    assert world.step(PATIENCE.retry_s) == []


def test_a_newer_topology_does_not_wait_for_the_answer_to_the_older() -> None:
    world = World().settle()
    world.lose("s1")
    world.step()
    world.lose("s2")
    [push] = of(PushTopology, world.step())
    assert push.shard_ids == ("s0",)


def test_an_old_acknowledgement_takes_nothing_back() -> None:
    world = World().settle()
    world.core.shard_holds("s0", 1)
    world.core.gateway_holds("n0", 1)
    world.core.shard_holds("s99", 1)
    world.core.gateway_holds("n99", 1)
    assert world.step(PATIENCE.retry_s) == []


# Gateways


def test_a_lost_gateway_leaves_the_topology_and_comes_back() -> None:
    world = World().settle()
    world.core.gateway_lost("n1", world.now)
    actions = world.step()
    assert of(CreateGateway, actions) == []  # Ray restarts it
    assert [gateway.node_id for gateway in world.topology.gateways] == ["n0", "n2"]
    world.core.gateway_reported(GatewayReport("h", 6401, "n1"))
    world.settle()
    assert [gateway.port for gateway in world.topology.gateways] == [6400, 6401, 6400]


def test_a_gateway_that_does_not_come_back_is_asked_for_again() -> None:
    world = World().settle()
    world.core.gateway_lost("n1", world.now)
    world.core.gateway_lost("n99", world.now)
    world.carry_out(world.step())
    assert of(CreateGateway, world.step(PATIENCE.restart_deadline_s)) == [CreateGateway("n1")]
    assert of(CreateGateway, world.step(1.0)) == []


def test_a_node_without_shards_keeps_no_gateway() -> None:
    world = World().settle()
    world.start("s2", "n0")
    actions = world.step()
    assert of(RemoveGateway, actions) == [RemoveGateway("n2")]
    world.core.gateway_reported(GatewayReport("h", 6400, "n2"))
    assert of(RemoveGateway, world.step()) == [RemoveGateway("n2")]


# Odds and ends


def test_what_a_shard_shows_must_be_a_topology_of_this_cluster() -> None:
    world = World().settle()
    epoch = world.topology.epoch
    for held in (b"rubbish", Topology.empty("other").to_bytes()):
        assert world.core.shard_reported(world.report("s0", topology=held), world.now)
        world.settle()
        assert len(world.core.warnings) == 1
        assert "s0 reported a topology" in world.core.warnings[0]
    world.register("s0")
    world.step()
    assert world.core.warnings == ()
    assert world.topology.epoch == epoch


def test_ids() -> None:
    assert [shard_id_of(0), shard_id_of(12)] == ["s0", "s12"]
    assert index_of("s12") == 12
    for wrong in ("", "s", "x1", "s-1", "s1x", "s²"):
        with pytest.raises(ValueError, match="no shard id"):
            index_of(wrong)


def test_views_show_what_the_topology_does_not_yet_have() -> None:
    world = World(shards=2)
    assert world.core.shards == ()
    world.step()
    assert [(view.id, view.state, view.node_id) for view in world.core.shards] == [
        ("s0", "starting", "n0"), ("s1", "starting", "n1"),
    ]
