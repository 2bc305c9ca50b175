"""Silence and majorities: when a shard counts as lost, and which router may act."""

from __future__ import annotations

import pytest
from world import PATIENCE, World, of

from raycache.ring.topology import Topology
from raycache.router.core import RouterCore
from raycache.router.messages import CreateShard, Pong, PushTopology, RemoveShard
from raycache.router.standing_by import Move, begin, new_basis, next_move


def leads(world: World, shard_id: str) -> int:
    return world.topology.shares()[shard_id]


# Silence


def test_a_silent_shard_that_nobody_hears_is_lost() -> None:
    world = World(copies=2).settle()
    world.silence("s1")
    world.step()
    assert (world.state_of("s1"), leads(world, "s1")) == ("down", 0)


def test_one_that_others_hear_is_not() -> None:
    world = World(copies=2).settle()
    world.silence("s1")
    world.silences["s0"]["s1"] = 0.1
    assert world.step() == []
    assert world.state_of("s1") == "up"
    assert "s1 does not answer the router" in world.core.warnings
    world.silences["s0"]["s1"] = 1.05
    world.step(0.1)
    assert world.state_of("s1") == "down"


def test_a_silence_that_others_reported_goes_on_until_they_say_otherwise() -> None:
    world = World(copies=2).settle()
    world.silence("s1")
    world.silences["s0"]["s1"] = 0.8
    world.ping()
    assert world.core.step(world.now) == []
    assert len(of(PushTopology, world.core.step(world.now + 0.21))) == 1


def test_a_late_answer_ends_the_suspicion() -> None:
    world = World(copies=2).settle()
    world.silence("s1")
    world.silences["s0"]["s1"] = 0.1
    world.step()
    world.wake("s1")
    assert world.step(0.1) == []
    assert world.core.warnings == ()


def test_a_router_that_hears_too_few_changes_nothing() -> None:
    world = World(shards=5, nodes=5, copies=2).settle()
    before = world.topology
    for shard_id in ("s0", "s1", "s2"):
        world.silence(shard_id)
    assert world.step() == []
    assert world.topology == before
    assert "this router does not hear most shards, and so changes nothing" in world.core.warnings
    world.wake("s2")
    world.step(0.1)
    assert [shard.state for shard in world.topology.shards] == ["down", "down", "up", "up", "up"]


def test_two_halves_and_the_router_decides() -> None:
    world = World(shards=4, nodes=4, copies=2).settle()
    world.silence("s0")
    world.silence("s1")
    world.step()
    assert [shard.state for shard in world.topology.shards] == ["down", "down", "up", "up"]


def test_those_who_are_dead_for_certain_do_not_vote() -> None:
    world = World(shards=5, nodes=5, copies=2).settle()
    for shard_id in ("s0", "s1", "s2"):
        world.lose(shard_id)
    world.step()
    assert [shard.state for shard in world.topology.shards] == ["down", "down", "down", "up", "up"]


def test_the_electorate_shrinks_only_when_most_of_it_know() -> None:
    """Or a router could lose its voters one by one, while the others still count by the old number."""
    world = World(shards=5, nodes=5, copies=2).settle()
    world.silence("s3")
    world.silence("s4")
    world.step()
    assert world.state_of("s4") == "down"
    assert world.core._state.electorate == {"s0", "s1", "s2", "s3", "s4"}
    world.silence("s2")  # before anybody holds the new topology: of five voters two are heard
    world.step(0.1)
    assert world.state_of("s2") == "up"
    world.wake("s2")
    world.settle(PATIENCE.retry_s)
    assert world.core._state.electorate == {"s0", "s1", "s2"}
    world.silence("s2")
    world.step(0.1)
    assert world.state_of("s2") == "down"


def test_with_one_copy_silence_is_enough() -> None:
    world = World(shards=2, nodes=2).settle()
    world.silence("s0")
    world.silence("s1")
    world.step()
    assert [shard.state for shard in world.topology.shards] == ["down", "down"]


def test_one_that_wakes_is_an_owner_that_missed_something() -> None:
    world = World(copies=2).settle()
    incarnation = world.actors["s1"].incarnation
    world.silence("s1")
    world.settle()
    world.wake("s1")
    world.step(4.0)
    assert (world.state_of("s1"), leads(world, "s1")) == ("up", 0)
    assert world.topology.shard("s1").incarnation == incarnation
    assert {one.receiver for one in world.topology.transfers} == {"s1"}
    world.carry_out([PushTopology(world.topology, ("s0", "s1", "s2"), ())])
    world.settle(1.0)
    world.settle(PATIENCE.even_wait_s)
    assert leads(world, "s1") > 5000
    assert world.core.is_settled


def test_with_one_copy_one_that_wakes_has_all_it_had() -> None:
    world = World().settle()
    world.silence("s1")
    world.settle()
    world.wake("s1")
    world.settle(4.0)
    assert world.topology.transfers == ()
    assert world.core.is_settled


def test_a_refusal_of_an_older_process_says_nothing() -> None:
    world = World(copies=2).settle()
    world.core.refused("s1", world.actors["s1"].incarnation - 1, world.now)
    world.core.silent("s1", world.actors["s1"].incarnation - 1, world.now)
    world.core.silent("s9", 1, world.now)
    world.core.refused("s9", 1, world.now)
    assert world.step() == []


def test_a_process_on_a_dead_node_is_not_taken_back() -> None:
    world = World(copies=2).settle()
    pong = world.pong_of("s1")
    world.report_nodes(*(each.__class__(each.node_id, each.machine, is_alive=each.node_id != "n1")
                         for each in world.nodes.values()))
    world.settle()
    world.core.pong("s1", pong, world.now)
    assert world.step() == []
    assert world.state_of("s1") == "down"


def test_an_unknown_process_at_an_old_address_is_nobody() -> None:
    """Ports that the system chose may go to another shard of the same cluster."""
    world = World(copies=2).settle()
    world.lose("s1")
    world.settle()
    world.core.pong("s1", world.pong_of("s1", incarnation=5000), world.now)
    assert world.step() == []
    world = World(copies=2, port=7000).settle()
    world.lose("s1")
    world.settle()
    world.core.pong("s1", world.pong_of("s1", incarnation=5000), world.now)
    world.step()
    assert world.topology.shard("s1").incarnation == 5000


def test_answers_that_are_none() -> None:
    assert Pong.of(3, {"epoch": 1, "incarnation": 2}) == Pong(3, 1, 2)
    full = {"epoch": 1, "incarnation": 2, "silent": {"s1": 1}, "applied": {"s1": 4}, "lease_left_s": 0.5,
            "arrivals": {"t": {"state": "done"}}, "loss": {"mutations": 1}}
    assert Pong.of(3, full).has_received("t")
    for report in ({}, {"epoch": 1}, {"epoch": "x", "incarnation": 1}, None,
                   {"epoch": 1, "incarnation": 2, "silent": 5}, {"epoch": 1, "incarnation": 2, "arrivals": {"t": 5}}):
        with pytest.raises(ValueError, match="no answer to a ping"):
            Pong.of(3, report)  # type: ignore[arg-type]


# Terms


def restarted(world: World, *, term: int) -> RouterCore:
    core = RouterCore(world.config, world.now, term=term)
    core.nodes_reported(world.nodes.values())
    core.recover(list(world.actors), [], world.now, epoch_floor=5000)
    for shard_id in world.actors:
        core.shard_reported(world.report(shard_id), world.now)
    return core


def test_topologies_carry_the_term() -> None:
    world = World(copies=2).settle()
    assert world.topology.term == 1
    world.restart_router()
    world.settle()
    assert world.topology.term == 2


def test_a_restarted_router_waits_for_the_grants_of_most() -> None:
    world = World(copies=2).settle()
    core = restarted(world, term=2)
    assert core.step(world.now) == []
    assert "waits for the grants" in core.warnings[0]
    core.pong("s0", Pong(2, 1, world.actors["s0"].incarnation), world.now)
    assert core.step(world.now) == []
    core.pong("s1", Pong(2, 1, world.actors["s1"].incarnation), world.now)
    [push] = of(PushTopology, core.step(world.now))
    assert (push.topology.term, push.topology.epoch) == (2, 5001)


def test_half_is_not_most() -> None:
    world = World(shards=2, nodes=2, copies=2).settle()
    core = restarted(world, term=2)
    core.pong("s0", Pong(2, 1, world.actors["s0"].incarnation), world.now)
    assert core.step(world.now) == []
    core.refused("s1", world.actors["s1"].incarnation, world.now)  # the dead have no vote
    assert len(of(PushTopology, core.step(world.now))) == 1


def test_a_router_whose_shards_grant_another_stands_down() -> None:
    world = World(copies=2).settle()
    old = world.core
    core = restarted(world, term=2)
    for shard_id in ("s0", "s1"):
        core.pong(shard_id, Pong(2, 1, world.actors[shard_id].incarnation), world.now)
    assert len(of(PushTopology, core.step(world.now))) == 1
    assert not old.must_stand_down
    old.pong("s0", Pong(2, 1, world.actors["s0"].incarnation), world.now)
    old.refused("s2", world.actors["s2"].incarnation, world.now)
    assert old.step(world.now) == []
    assert old.must_stand_down
    old.take_term(9)
    assert old.must_stand_down


def test_a_router_with_a_slow_clock_takes_a_higher_term() -> None:
    world = World(copies=2).settle()
    for actor in world.actors.values():
        actor.granted_term = 700
    core = world.core = restarted(world, term=2)
    world.ping()
    assert core.step(world.now) == []
    assert not core.must_stand_down
    assert (core.term, core.needs_term) == (2, 700)
    core.take_term(701)
    world.ping()
    assert len(of(PushTopology, core.step(world.now))) == 1
    assert core.topology.term == 701


def test_it_waits_for_the_newest_topology_that_its_voters_hold() -> None:
    world = World(copies=2).settle()
    newer = Topology("c", 40, world.topology.shards, world.topology.owners)
    core = restarted(world, term=2)
    for shard_id in world.actors:
        core.pong(shard_id, Pong(2, 40 if shard_id == "s2" else 1, world.actors[shard_id].incarnation), world.now)
    assert core.step(world.now) == []
    assert core.newest_epoch == 1
    core.shown("s2", newer.to_bytes())
    assert core.newest_epoch == 40
    assert len(of(PushTopology, core.step(world.now))) == 1


def test_but_not_for_ever() -> None:
    world = World(copies=2).settle()
    core = restarted(world, term=2)
    for shard_id in world.actors:
        core.pong(shard_id, Pong(2, 40, world.actors[shard_id].incarnation), world.now)
    assert core.step(world.now) == []
    assert len(of(PushTopology, core.step(world.now + 2 * PATIENCE.recovery_wait_s))) == 1


def test_an_answer_tells_a_restarted_router_what_a_report_would() -> None:
    """So that its recovery needs no call through Ray to every shard."""
    world = World(copies=2).settle()
    core = RouterCore(world.config, world.now, term=2)
    core.nodes_reported(world.nodes.values())
    core.recover(["s0", "s1", "s2"], [], world.now, epoch_floor=5000)
    core.shard_reported(world.report("s0"), world.now)
    assert {shard_id: address.port for shard_id, address in core.addresses.items()} == {
        shard_id: actor.port for shard_id, actor in world.actors.items()}
    core.pong("s0", Pong(2, 1, world.actors["s0"].incarnation), world.now)
    core.pong("s1", Pong(2, 1, world.actors["s1"].incarnation), world.now)
    core.pong("s1", Pong(2, 1, 1), world.now)
    core.refused("s2", world.actors["s2"].incarnation, world.now)
    actions = core.step(world.now)
    assert of(RemoveShard, actions) == of(CreateShard, actions) == []
    assert [shard.state for shard in core.topology.shards] == ["up", "up", "down"]
    assert core.topology.shares()["s2"] == 0


def test_one_that_restarted_while_there_was_no_router_is_filled() -> None:
    world = World(copies=2).settle()
    world.start("s1")
    world.actors["s1"].topology = None
    world.restart_router()
    world.step()
    assert leads(world, "s1") == 0
    assert {one.receiver for one in world.topology.transfers} == {"s1"}


def test_of_a_shard_that_does_not_answer_a_lower_incarnation_is_a_later_process() -> None:
    """Its machine's clock was set back."""
    world = World(copies=2).settle()
    earlier = world.actors["s1"].incarnation
    assert not world.core.shard_reported(world.report("s1", incarnation=earlier - 1), world.now)
    world.core.silent("s1", earlier, world.now)
    assert world.core.shard_reported(world.report("s1", incarnation=earlier - 1), world.now)
    world.step()
    assert world.topology.shard("s1").incarnation == earlier - 1


def test_what_clients_tell_of_a_shard_that_answers_the_router_is_a_warning_and_no_more() -> None:
    world = World(copies=2).settle()
    world.core.pong("s0", world.pong_of("s0", complaints={"s1": 0.5}), world.now)
    assert world.core.step(world.now) == []
    assert world.core.warnings == ("s1 answers the router, but not some clients: the network between them may be cut",)
    world.now += PATIENCE.complaint_s
    world.core.step(world.now)
    assert world.core.warnings == ()


# The standby


def standby_of(world: World) -> RouterCore:
    """Return the core of one that has begun with the newest topology and heard everybody who can be reached."""
    core = RouterCore(world.config, world.now, patience=PATIENCE, term=0)
    core.nodes_reported(world.nodes.values())
    begin(core, world.topology, world.now)
    return core


def hear(core: RouterCore, world: World, router_silence_s: float) -> None:
    for shard_id in sorted(world.actors.keys() - world.unreachable):
        core.pong(shard_id, world.pong_of(shard_id, router_silence_s=router_silence_s), world.now)


def test_a_standby_stands_when_most_shards_miss_the_router_and_promotes() -> None:
    world = World(copies=2).settle()
    core, basis = standby_of(world), world.topology
    hear(core, world, 0.4)
    assert next_move(core, basis, world.now) is Move.WAIT
    world.silence("s1")
    core.silent("s1", world.actors["s1"].incarnation, world.now)
    hear(core, world, PATIENCE.router_silence_s)
    assert next_move(core, basis, world.now) is Move.STAND
    core.take_term(core.needs_term + 1, epoch_floor=5000)
    world.core = core
    world.step()
    assert core.is_elected
    assert (world.state_of("s1"), leads(world, "s1")) == ("down", 0)
    assert world.topology.epoch > 5000


def test_one_shard_alone_may_miss_it() -> None:
    world = World(copies=2).settle()
    core = standby_of(world)
    hear(core, world, 0.1)
    core.pong("s0", world.pong_of("s0", router_silence_s=9.0), world.now)
    assert next_move(core, world.topology, world.now) is Move.WAIT


def test_what_shards_said_long_ago_does_not_count() -> None:
    world = World(copies=2).settle()
    core = standby_of(world)
    hear(core, world, 9.0)
    assert next_move(core, world.topology, world.now + PATIENCE.router_silence_s) is Move.WAIT


def test_a_standby_follows_the_topology_and_stands_down_for_a_router() -> None:
    world = World(copies=2).settle()
    core, basis = standby_of(world), world.topology
    world.start("s1")
    world.settle()
    core.shown("shard s0", world.topology.to_bytes())
    assert next_move(core, basis, world.now) is Move.BEGIN_ANEW
    assert new_basis(core).shards == world.topology.shards
    core, basis = standby_of(world), world.topology
    hear(core, world, 9.0)
    core.take_term(core.needs_term + 1)
    assert next_move(core, basis, world.now) is Move.WAIT
    core.pong("s0", world.pong_of("s0", granted_term=core.term + 1), world.now)
    assert next_move(core, basis, world.now) is Move.BEGIN_ANEW
