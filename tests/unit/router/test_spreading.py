"""Shards that stand together while a machine is empty: moved apart, without an empty place."""

from __future__ import annotations

import pytest
from world import PATIENCE, World, node, of

from raycache.router.messages import CreateShard, RemoveShard


def machines(world: World) -> list[str]:
    """Where the shards are, in their order."""
    return [world.topology.shard(shard_id).machine for shard_id in world.ids()]


def crowded(**config: object) -> World:
    """Three shards on two machines, since the third was lost."""
    world = World(copies=2, **config).settle()
    lost = world.actors["s2"].node_id
    world.report_nodes(node(int(lost[1:]), alive=False))
    world.settle()
    world.start("s2", next(one for one in world.nodes if one != lost))
    return world.settle(PATIENCE.even_wait_s)


def wait(world: World, seconds: float) -> World:
    world.settle(seconds)
    for _ in range(6):  # each process that leaves lingers
        world.settle(PATIENCE.linger_s)
    return world


def test_one_that_ray_started_empty_beside_another_is_made_anew_where_none_is() -> None:
    world = World(nodes=4, copies=2).settle()
    home = world.actors["s2"].node_id
    (free,) = world.nodes.keys() - {actor.node_id for actor in world.actors.values()}
    world.report_nodes(node(int(home[1:]), alive=False))
    world.settle()
    world.start("s2", world.actors["s0"].node_id)
    actions = world.step()
    assert of(RemoveShard, actions) == [RemoveShard("s2")]
    assert not world.topology.transfers_to("s2"), "nothing is brought where it will not stay"
    world.carry_out(actions)
    (made,) = of(CreateShard, world.step())
    assert (made.shard_id, made.node_id) == ("s2", free)


def test_where_no_machine_is_empty_they_stay_together() -> None:
    world = crowded()
    assert len(set(machines(world))) == 2
    assert wait(world, PATIENCE.spread_wait_s).ids() == ["s0", "s1", "s2"]
    assert len(set(machines(world))) == 2


def test_a_full_one_moves_to_a_machine_that_joins() -> None:
    world = crowded()
    world.report_nodes(node(7))
    assert len(set(machines(world.settle(PATIENCE.spread_wait_s - PATIENCE.even_wait_s - 1)))) == 2, "not at once"
    wait(world, PATIENCE.spread_wait_s)
    assert len(set(machines(world))) == 3
    assert world.ids() == ["s0", "s1", "s2"]
    assert not world.core.warnings
    assert all(world.topology.shares()[shard_id] for shard_id in world.ids())
    assert world.step(PATIENCE.spread_wait_s) == [], "and then all is well"


def test_a_restarted_router_goes_on_with_a_move() -> None:
    world = crowded()
    world.report_nodes(node(7))
    world.carry_out(world.step(PATIENCE.spread_wait_s))
    world.restart_router()
    wait(world, 0.0)
    assert len(set(machines(world))) == 3
    assert world.ids() == ["s0", "s1", "s2"]


def test_a_node_that_joins_draws_none_where_the_others_are_a_majority() -> None:
    world = World(shards=6, nodes=3, copies=2).settle()
    world.report_nodes(node(7))
    wait(world, PATIENCE.spread_wait_s)
    assert len(set(machines(world))) == 3


@pytest.mark.parametrize("config", [{"copies": 1}])
def test_with_one_copy_nothing_moves_by_itself(config: dict[str, int]) -> None:
    world = World(**config).settle()
    world.start("s2", world.actors["s0"].node_id)
    world.report_nodes(node(7))
    world.settle(PATIENCE.spread_wait_s)
    assert len({actor.node_id for actor in world.actors.values()}) == 2


def test_a_machine_that_takes_no_shard_draws_none() -> None:
    world = crowded()
    world.report_nodes(node(7, room=0))
    wait(world, PATIENCE.spread_wait_s)
    assert len(set(machines(world))) == 2
