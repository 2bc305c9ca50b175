"""Which node a shard goes to, and what becomes of reservations that do not fit."""

from __future__ import annotations

from world import PATIENCE, World, node, of

from raycache.router.messages import CreateShard, NodeReport, RemoveShard
from raycache.router.placing import choose_nodes


def chosen(nodes: list[NodeReport], count: int, occupied: list[str] | None = None) -> list[str]:
    return [choice.node.node_id for choice in choose_nodes(nodes, occupied or [], [0.0] * count, {})]


def test_round_robin_over_equal_nodes() -> None:
    assert chosen([node(1), node(0), node(2)], 7) == ["n0", "n1", "n2", "n0", "n1", "n2", "n0"]


def test_the_emptiest_node_first() -> None:
    assert chosen([node(0), node(1), node(2)], 3, ["n0", "n0", "n1", "gone", ""]) == ["n2", "n1", "n2"]


def test_zones_before_nodes() -> None:
    nodes = [node(0, zone="a"), node(1, zone="a"), node(2, zone="b")]
    assert chosen(nodes, 4) == ["n0", "n2", "n1", "n2"]


def test_machines_before_nodes() -> None:
    """Several Ray nodes may run on one machine, which fails as a whole."""
    nodes = [NodeReport("a1", "A"), NodeReport("a2", "A"), NodeReport("b1", "B")]
    assert chosen(nodes, 3) == ["a1", "b1", "a2"]


def test_dead_nodes_take_nothing() -> None:
    assert chosen([node(0, alive=False), node(1)], 2) == ["n1", "n1"]
    assert chosen([node(0, alive=False)], 2) == []


def test_a_node_that_takes_none_gets_none_whatever_happens() -> None:
    assert chosen([node(0, room=0), node(1)], 2) == ["n1", "n1"]
    assert chosen([node(0, room=0)], 1) == []
    world = World(nodes=0)
    world.report_nodes(node(0, room=0))
    assert of(CreateShard, world.step()) == []
    assert world.core.warnings == ("no Ray node is alive that a shard could be placed on",)


def test_room_is_used_before_more_than_there_is() -> None:
    nodes = [node(0, room=1), node(1, room=2), node(2, zone="b", room=1)]
    assert chosen(nodes, 4) == ["n0", "n2", "n1", "n1"]
    assert chosen(nodes, 2, ["n0", "n1", "n1", "n2"]) == ["n2", "n2"], "but nobody is left without a place"


def test_reservations_count_among_each_other() -> None:
    nodes = [node(0, cpus=4), node(1, cpus=1)]
    choices = choose_nodes(nodes, [], [1.0] * 4, {"n0": 1.0})
    assert [(choice.node.node_id, choice.cpus) for choice in choices] == [
        ("n0", 1.0), ("n1", 1.0), ("n0", 1.0), ("n0", 1.0),
    ]


def test_what_fits_nowhere_is_spread_without_a_reservation() -> None:
    choices = choose_nodes([node(0, cpus=1), node(1, cpus=1)], [], [2.0] * 3, {"n0": 5.0})
    assert [(choice.node.node_id, choice.cpus) for choice in choices] == [("n0", 0.0), ("n1", 0.0), ("n0", 0.0)]


def test_no_wish_fits_even_where_more_is_promised_than_there_is() -> None:
    assert chosen([node(0, cpus=0)], 1) == ["n0"]
    [choice] = choose_nodes([node(0, cpus=1), node(1, cpus=9)], ["n1"], [0.0], {"n0": 5.0})
    assert choice.node.node_id == "n0"


def test_shards_start_without_the_cpus_that_are_not_there() -> None:
    world = World(cpus_per_shard=2.0, nodes=0)
    world.report_nodes(node(0, cpus=5))
    actions = world.step()
    assert [create.cpus for create in of(CreateShard, actions)] == [2.0, 2.0, 0.0]
    assert world.core.warnings == ("a reservation of 2 CPUs does not fit for s2: running without one",)
    world.carry_out(actions)
    assert world.settle().core.is_settled
    assert len(world.core.warnings) == 1


def test_promised_cpus_are_not_promised_twice() -> None:
    world = World(shards=1, cpus_per_shard=2.0, nodes=0)
    world.report_nodes(node(0, cpus=3))
    world.step()
    world.core.scale(2)
    [second] = of(CreateShard, world.step())
    assert second.cpus == 0.0  # s0 is created, but Ray's numbers do not show it yet


def test_a_reservation_that_somebody_else_took_first_is_given_up() -> None:
    world = World(shards=1, cpus_per_shard=2.0, nodes=1)
    assert of(CreateShard, world.step())[0].cpus == 2.0
    [remove] = of(RemoveShard, world.step(PATIENCE.start_deadline_s))
    world.carry_out([remove])
    assert of(CreateShard, world.step())[0].cpus == 0.0
    assert "does not fit for s0" in world.core.warnings[0]


def test_a_replacement_tries_for_its_reservation_again() -> None:
    world = World(shards=1, cpus_per_shard=2.0, nodes=0)
    world.report_nodes(node(0, cpus=1))
    world.settle()
    assert len(world.core.warnings) == 1
    world.report_nodes(node(0, cpus=4))
    world.lose("s0")
    world.step()
    world.carry_out(of(RemoveShard, world.step(PATIENCE.restart_deadline_s)))
    assert of(CreateShard, world.step())[0].cpus == 2.0
    assert world.core.warnings == ()
