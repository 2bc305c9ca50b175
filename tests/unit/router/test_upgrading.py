"""A rolling upgrade: new processes one after the other, no slot without all its copies, whatever comes between."""

from __future__ import annotations

from typing import Any

import pytest
from world import PATIENCE, World, node, of

from raycache.errors import ChangeUnderWayError
from raycache.ring.slots import SLOT_COUNT
from raycache.router.messages import CreateShard, RemoveShard


def incarnations(world: World) -> dict[str, int]:
    return {shard_id: actor.incarnation for shard_id, actor in world.actors.items()}


def missing(world: World, wanted: int) -> list[str]:
    return [f"s{index}" for index in range(wanted) if f"s{index}" not in world.actors]


def finish(world: World) -> None:
    for _ in range(8):
        world.settle(1.0)
    world.settle(PATIENCE.even_wait_s)


def check_is_upgraded(world: World, before: dict[str, int]) -> None:
    assert world.core.is_settled, (world.core.shards, world.core.warnings)
    assert world.actors.keys() == before.keys()
    assert all(incarnation > before[shard_id] for shard_id, incarnation in incarnations(world).items())
    assert (world.topology.upgrading, world.topology.draining) == ((), ())
    shares = world.topology.shares().values()
    assert max(shares) - min(shares) <= SLOT_COUNT // len(before) // 16


@pytest.mark.parametrize("mode", [{"copies": 1}, {"copies": 2}, {"copies": 3, "replication": "quorum"}])
@pytest.mark.parametrize("shards", [1, 3, 5])
def test_every_process_is_replaced_in_turn_and_every_slot_keeps_its_copies(shards: int, mode: dict[str, Any]) -> None:
    world = World(shards=shards, nodes=3, **mode).settle()
    before, copies = incarnations(world), min(shards, mode["copies"])
    world.core.upgrade()
    ended = []
    for _ in range(400):
        actions = world.step(0.02)
        for removal in of(RemoveShard, actions):
            ended.append(removal.shard_id)
            assert not len(world.topology.slots_owned(removal.shard_id)), "ended only when nothing is in it"
            assert not world.topology.transfers_from(removal.shard_id)
        world.carry_out(actions)
        assert len(missing(world, shards)) <= 1, "one at a time"
        assert all((world.topology.owners >= 0).sum(axis=1) >= copies), "no slot has fewer owners meanwhile"
    finish(world)
    assert ended == [*before, f"s{shards}"], "each once, in order, and the spare at last"
    check_is_upgraded(world, before)


def test_what_moves_is_about_one_share_more_than_there_is() -> None:
    world = World(shards=4, nodes=4).settle()
    world.core.upgrade()
    totals = []
    for _ in range(200):
        world.carry_out(world.step(0.02))
        progress = world.core.progress(world.now)
        if progress["change"] is not None:
            totals.append((progress["slots_done"], progress["slots_total"]))
    assert world.core.progress(world.now)["last"]["text"] == "upgrade of 4 shards"
    moved = world.core.progress(world.now)["last"]["slots"]
    assert moved == pytest.approx(SLOT_COUNT * 5 / 4, rel=0.02)
    assert [done for done, _ in totals] == sorted(done for done, _ in totals)
    assert all(total == pytest.approx(moved, rel=0.26) for _, total in totals), "the bar does not jump"


def test_nobody_is_emptied_before_the_spare_is_there() -> None:
    world = World().settle()
    table = world.topology.owners
    world.core.upgrade()
    [spare] = of(CreateShard, world.step())
    assert spare.shard_id == "s3"
    world.settle()
    assert (world.topology.owners == table).all()
    assert world.topology.draining == ()


def test_one_upgrade_at_a_time_and_no_other_change() -> None:
    world = World().settle()
    before = incarnations(world)
    world.core.upgrade()
    world.carry_out(world.step())
    world.core.upgrade()  # the same again: it goes on
    for wish in (lambda: world.core.scale(5), lambda: world.core.drain("s1"), lambda: world.core.undrain("s0")):
        with pytest.raises((ChangeUnderWayError, ValueError)):
            wish()
    finish(world)
    check_is_upgraded(world, before)


def test_an_upgrade_waits_for_another_change() -> None:
    world = World(nodes=4).settle()
    world.core.scale(4)
    with pytest.raises(ChangeUnderWayError, match="scale from 3 to 4 shards"):
        world.core.upgrade()
    finish(world)
    before = incarnations(world)
    world.core.upgrade()
    finish(world)
    check_is_upgraded(world, before)


@pytest.mark.parametrize("steps", range(1, 26, 3))
def test_it_goes_on_when_the_router_is_restarted(steps: int) -> None:
    world = World(copies=2).settle()
    before = incarnations(world)
    world.core.upgrade()
    for _ in range(steps):
        world.carry_out(world.step(0.02))
    world.restart_router()
    finish(world)
    assert world.core.wanted_shards == 3
    check_is_upgraded(world, before)


@pytest.mark.parametrize("steps", range(0, 26, 4))
def test_it_can_be_called_off(steps: int) -> None:
    world = World(copies=2).settle()
    world.core.upgrade()
    for _ in range(steps):
        world.carry_out(world.step(0.02))
    assert world.core.cancel() == "upgrade of 3 shards"
    world.settle()
    world.core.cancel() if world.core.progress(world.now)["change"] else None  # what would that be: nothing more
    finish(world)
    assert (world.ids(), world.core.wanted_shards) == (["s0", "s1", "s2"], 3)
    assert (world.topology.upgrading, world.topology.draining) == ((), ())
    assert world.core.is_settled


@pytest.mark.parametrize("lost", ["s0", "s1", "s3"])
@pytest.mark.parametrize("steps", [4, 9, 14])
def test_a_shard_that_is_lost_meanwhile_is_waited_for(steps: int, lost: str) -> None:
    world = World(copies=2).settle()
    before = incarnations(world)
    world.core.upgrade()
    for _ in range(steps):
        world.carry_out(world.step(0.02))
    if lost in world.actors:
        world.lose(lost)
        queue = world.topology.upgrading
        world.settle()
        assert len(world.topology.upgrading) >= len(queue) - 1, "nobody else's turn comes while one is lost"
        world.start(lost)
    finish(world)
    check_is_upgraded(world, before)


def test_a_spare_that_fits_nowhere_changes_nothing_and_is_taken_back() -> None:
    world = World().settle()
    table, before = world.topology.owners, incarnations(world)
    world.core.upgrade()
    world.step()  # its creation fails
    for _ in range(5):
        world.step(1.0)
    assert (world.topology.owners == table).all()
    world.core.cancel()
    finish(world)
    assert incarnations(world) == before
    assert world.core.is_settled


def test_impossible_upgrades_say_why() -> None:
    with pytest.raises(ValueError, match="nothing serves yet"):
        World().core.upgrade()
    world = World().settle()
    world.core.drain("s1")
    finish(world)
    with pytest.raises(ValueError, match="s1 is drained: undo that first"):
        world.core.upgrade()
    crowded = World(shards=3, port=6410, gateway_port=6413).settle()
    with pytest.raises(ValueError, match="one shard more for a while: gateway_port 6413 is one of the shards' ports"):
        crowded.core.upgrade()
    assert crowded.core.wanted_shards == 3


def test_a_node_that_goes_meanwhile_is_emptied_as_ever() -> None:
    world = World(copies=2).settle()
    before = incarnations(world)
    world.core.upgrade()
    for _ in range(6):
        world.carry_out(world.step(0.02))
    world.report_nodes(node(1, draining=True))
    finish(world)
    check_is_upgraded(world, before)
    assert "n1" not in {actor.node_id for actor in world.actors.values()}


def test_an_emptied_process_lives_on_for_a_moment() -> None:
    """Whoever has not heard that its keys have moved is told so, instead of being cut off in the middle of a write."""
    world = World().settle()
    world.core.upgrade()
    while len(world.topology.slots_owned("s0")) or world.topology.transfers_from("s0"):
        world.carry_out(world.step(0.01))
    empty_at = world.now
    while not (removals := of(RemoveShard, actions := world.step(0.01))):
        world.carry_out(actions)
    assert removals == [RemoveShard("s0")]
    assert world.now - empty_at == pytest.approx(PATIENCE.linger_s, abs=0.03)
