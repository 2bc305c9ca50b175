"""Whatever happens, in whatever order: epochs grow, slots stay owned, and when the trouble ends all is as wanted."""

from __future__ import annotations

import contextlib
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from world import PATIENCE, World, node

from raycache.errors import ChangeUnderWayError
from raycache.router.messages import NodeReport

NODES = 3


class Trouble(RuleBasedStateMachine):
    """Shards crash and come back or not, nodes die, messages and actions are lost, the router restarts."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(shards=2, nodes=NODES)

    def pick(self, data: st.DataObject, among: Any) -> str:
        choice: str = data.draw(st.sampled_from(sorted(among)))
        return choice

    @rule(after_s=st.sampled_from([0.0, 0.3, 2.0, 6.0, 16.0, 35.0, 70.0]), data=st.data())
    def step(self, after_s: float, data: st.DataObject) -> None:
        for action in self.world.step(after_s):
            if data.draw(st.integers(0, 9)):
                self.world.carry_out([action])

    @rule(shards=st.integers(1, 5))
    def scale(self, shards: int) -> None:
        with contextlib.suppress(ChangeUnderWayError):
            self.world.core.scale(shards)

    @rule()
    def upgrade(self) -> None:
        with contextlib.suppress(ChangeUnderWayError, ValueError):
            self.world.core.upgrade()

    @rule()
    def cancel(self) -> None:
        with contextlib.suppress(ValueError):
            self.world.core.cancel()

    @precondition(lambda self: self.world.actors)
    @rule(is_noticed=st.booleans(), data=st.data())
    def crash(self, is_noticed: bool, data: st.DataObject) -> None:
        shard_id = self.pick(data, self.world.actors)
        self.world.unreachable.add(shard_id)
        self.world.actors[shard_id].topology = None
        if is_noticed:
            self.world.lose(shard_id)

    @precondition(lambda self: self.world.actors)
    @rule(data=st.data())
    def come_up(self, data: st.DataObject) -> None:
        shard_id = self.pick(data, self.world.actors)
        self.world.unreachable.discard(shard_id)
        self.world.start(shard_id, f"n{data.draw(st.integers(0, NODES - 1))}")

    @precondition(lambda self: self.world.actors)
    @rule(data=st.data())
    def an_old_report_arrives(self, data: st.DataObject) -> None:
        shard_id = self.pick(data, self.world.actors)
        old = self.world.report(shard_id, incarnation=data.draw(st.integers(0, 999)))
        self.world.core.shard_reported(old, self.world.now)

    @rule(number=st.integers(0, NODES - 1), is_alive=st.booleans())
    def node_changes(self, number: int, is_alive: bool) -> None:
        self.world.report_nodes(node(number, alive=is_alive))
        if not is_alive:
            self.world.gateways.pop(f"n{number}", None)
            self.world.core.gateway_lost(f"n{number}", self.world.now)

    @rule(number=st.integers(0, NODES - 1))
    def gateway_is_lost(self, number: int) -> None:
        self.world.core.gateway_lost(f"n{number}", self.world.now)

    @rule()
    def router_restarts(self) -> None:
        self.world.restart_router()

    @invariant()
    def every_slot_has_an_owner_and_arrives_only_at_owners(self) -> None:
        topology = self.world.topology
        if topology.epoch:
            assert (topology.owners[:, 0] >= 0).all()
            for transfer in topology.transfers:
                assert set(transfer.slot_array()) <= set(topology.slots_owned(transfer.receiver))

    def teardown(self) -> None:
        """The trouble ends: nodes are back, processes start, messages arrive. Then all must become as wanted."""
        world = self.world
        nodes: list[NodeReport] = [node(number) for number in range(NODES)]
        world.report_nodes(*nodes)
        world.unreachable.clear()
        for shard_id in list(world.actors):
            world.start(shard_id)
        for _ in range(3):
            world.settle(max(PATIENCE.start_deadline_s, PATIENCE.restart_deadline_s))
            for shard_id in world.actors:
                world.register(shard_id)
        world.settle(1.0)
        world.core.scale(3)
        world.settle(1.0)
        world.settle(PATIENCE.even_wait_s)
        assert world.core.is_settled, (world.core.shards, world.topology.epoch, world.core.warnings)
        assert sorted(world.actors) == ["s0", "s1", "s2"]
        assert all(actor.topology == world.topology for actor in world.actors.values())
        assert world.step(PATIENCE.retry_s) == []


Trouble.TestCase.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
TestAnyHistory = Trouble.TestCase
