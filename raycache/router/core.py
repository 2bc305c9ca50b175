"""The router's state machine: what is wanted and what was observed in, actions out.

What lives here: the observations, and the order of a step; its rules stand beside this (`lifecycle`, `gateways`,
`publishing`, `recovery`) and work on one `RouterState`. What does not: Ray, sockets, clocks (`raycache.actors.router`
is the shell around this) and the slot table (`raycache.ring`). One loop owns a `RouterCore`; nothing in it blocks, and
only dealing slots anew takes longer than microseconds (some 5 ms; 30 ms for 1,000 shards).

How the shell drives it. `now_s` is monotonic time throughout.

1. After every start: `RouterCore(config, now_s)`, then `recover(...)` with the shards and gateways whose actors exist
   by name (none on the very first start), and ask each of those for its report. Not to be left out after a restart.
2. Whenever something is known: `nodes_reported` with all nodes of the Ray cluster (before the first `step`, then every
   second or so), `shard_reported` and `gateway_reported` on registration or answer, `shard_lost` and `gateway_lost` on
   a reset connection or a silence (`raycache.router.detector`), `shard_removed` when an actor is known to exist no
   more, `shard_holds` and `gateway_holds` when somebody has taken a topology, `scale` on request.
3. After each of these, and every few hundred milliseconds: `step(now_s)`, and carry out its actions in their order.
   A step without news returns nothing, and an action that failed may simply be dropped: it comes again.
   Only a `CreateShard` that failed should be followed by `shard_removed`, or it comes again a minute later.
4. `CreateShard` may find the actor there (`get_if_exists`): then ask it for its report. `RemoveShard` ends the actor
   and, once its name is free, says `shard_removed`; also where there was none. `CreateGateway` and `RemoveGateway`
   need no answer but the gateway's report.
5. Answer a registration with `topology` as it is after the step that followed it, and then say `shard_holds`.

What it keeps to. Epochs only grow; a restarted router keeps the newest table that anybody shows, under a newer epoch. A
slot changes its owner only when shards are added or removed: a lost shard stays owner, marked "down", because it alone
has the address that comes back (one copy: there is nobody to take over), and one that does not come back is created
anew under its id. A leaving shard gives its slots away first, and is ended when the others know. The wanted number of
shards survives a restart of the router: it is read off the newest topology (weight 0 = was leaving) and the actors
that exist.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from raycache.config import ClusterConfig
from raycache.ring.topology import GatewayInfo, Topology
from raycache.router.gateways import settle_gateways
from raycache.router.lifecycle import create, give_up_waiting, line_up, notice_dead_nodes, remove
from raycache.router.messages import Action, GatewayReport, NodeReport, ShardReport, ShardView, index_of
from raycache.router.publishing import publish, push
from raycache.router.records import NEVER, Delivery, GatewayRecord, Patience, Phase, ShardRecord
from raycache.router.recovery import take_over
from raycache.router.state import RouterState


class RouterCore:
    """One cluster's router. See the module's text for how to drive it."""

    __slots__ = ("_state",)

    def __init__(self, config: ClusterConfig, now_s: float, *, patience: Patience | None = None) -> None:
        self._state = RouterState(config, patience or Patience(), Topology.empty(config.name), now_s)

    # What was observed

    def recover(
        self, shard_ids: Iterable[str], gateway_node_ids: Iterable[str], now_s: float, *, epoch_floor: int = 0
    ) -> None:
        """Say which actors exist already. Until their shards have reported, or the wait is over, `step` does nothing.

        Args:
            shard_ids, gateway_node_ids: those whose actors are there by name; none on the very first start.
            epoch_floor: surely at least every epoch so far; the Unix time in seconds will do, 0 on the very first
                start. The router before may have made epochs that only those hold who cannot be asked: clients, a
                shard that is lost since. None of them takes an epoch twice, so one must never mean two things.
        Raises:
            ValueError: an id is none of a shard.
        """
        state = self._state
        state.started_at_s = now_s
        for shard_id in shard_ids:
            state.shards[index_of(shard_id)] = ShardRecord(index_of(shard_id), Phase.STARTING, now_s)
            state.awaited.add(shard_id)
        for node_id in gateway_node_ids:
            state.gateways[node_id] = GatewayRecord(node_id, now_s)
        state.epoch_floor = max(state.epoch_floor, epoch_floor)

    def nodes_reported(self, nodes: Iterable[NodeReport]) -> None:
        """Take in all nodes of the Ray cluster; one that was there before and is missing now is dead."""
        state = self._state
        known = {node.node_id: node for node in nodes}
        gone = {node_id: replace(node, is_alive=False) for node_id, node in state.nodes.items() if node_id not in known}
        state.nodes = gone | known
        for record in state.shards.values():
            state.locate(record)

    def shard_reported(self, report: ShardReport, now_s: float) -> bool:
        """Take in what a shard says of itself.

        Returns:
            False where that counts for nothing: an older process says it, or one that is being ended.
        Raises:
            ValueError: the id is none of a shard.
        """
        state, index = self._state, index_of(report.shard_id)
        held_epoch = state.seen(f"shard {report.shard_id}", report.topology)
        state.awaited.discard(report.shard_id)
        record = state.shards.get(index)
        if record is None:
            record = state.shards[index] = ShardRecord(index, Phase.STARTING, now_s)
            if index >= state.config.shards and state.topology.epoch:
                # Scaled away, and its end was ordered; somehow it lives.
                record.enter(Phase.REMOVING, now_s)
        if record.phase is Phase.REMOVING or report.incarnation < record.incarnation:
            return False
        record.failure = report.failure
        if report.failure:
            # It lives and keeps trying: its deadline begins anew.
            record.since_s = now_s
            return True
        self._register(record, report, held_epoch, now_s)
        return True

    def _register(self, record: ShardRecord, report: ShardReport, held_epoch: int, now_s: float) -> None:
        record.host, record.port = report.host, report.port
        record.node_id, record.incarnation = report.node_id, report.incarnation
        record.delivery = Delivery(held_epoch)
        self._state.locate(record)
        if record.phase is not Phase.UP:
            record.enter(Phase.UP, now_s)

    def gateway_reported(self, report: GatewayReport) -> None:
        """Take in what a gateway says of itself."""
        held_epoch = self._state.seen(f"the gateway on node {report.node_id}", report.topology)
        record = self._state.gateways.setdefault(report.node_id, GatewayRecord(report.node_id, NEVER))
        record.info = GatewayInfo(report.host, report.port, report.node_id)
        record.delivery = Delivery(held_epoch)

    def shard_lost(self, shard_id: str, incarnation: int, now_s: float) -> None:
        """Take in that the connection to this process of a shard is gone, or that it is silent."""
        record = self._state.shards.get(index_of(shard_id))
        if record is not None and record.phase is Phase.UP and record.incarnation == incarnation:
            record.enter(Phase.DOWN, now_s)

    def gateway_lost(self, node_id: str, now_s: float) -> None:
        """Take in that the gateway of a node is gone or silent. Ray restarts it, and it registers again."""
        record = self._state.gateways.get(node_id)
        if record is not None:
            record.info, record.delivery, record.asked_at_s = None, None, now_s

    def shard_removed(self, shard_id: str, now_s: float) -> None:
        """Take in that a shard's actor exists no more, on our order or not. Where it is wanted it is created anew."""
        state, index = self._state, index_of(shard_id)
        state.awaited.discard(shard_id)
        record = state.shards.get(index)
        if record is None:
            return
        record.forget_process()
        record.is_member = record.is_member and not record.is_drained
        record.is_drained = False
        record.enter(Phase.WANTED, now_s)
        if index >= state.config.shards:
            del state.shards[index]

    def shard_holds(self, shard_id: str, epoch: int) -> None:
        """Take in that a shard has the topology of this epoch."""
        record = self._state.shards.get(index_of(shard_id))
        if record is not None and record.delivery is not None:
            record.delivery.held_epoch = max(record.delivery.held_epoch, epoch)

    def gateway_holds(self, node_id: str, epoch: int) -> None:
        """Take in that a gateway has the topology of this epoch."""
        record = self._state.gateways.get(node_id)
        if record is not None and record.delivery is not None:
            record.delivery.held_epoch = max(record.delivery.held_epoch, epoch)

    def scale(self, shards: int) -> None:
        """Want this many shards.

        Raises:
            ValueError: the configuration cannot have so many.
        """
        self._state.config = replace(self._state.config, shards=shards)
        self._state.is_scaled = True

    # What follows

    def step(self, now_s: float) -> list[Action]:
        """Move what is towards what is wanted; return what to do, in order. Twice without news: nothing to do."""
        state = self._state
        if state.is_recovering(now_s):
            return []
        take_over(state, now_s)
        line_up(state)
        notice_dead_nodes(state, now_s)
        give_up_waiting(state, now_s)
        actions = [*remove(state, now_s), *create(state, now_s), *settle_gateways(state, now_s)]
        publish(state, now_s)
        return [*actions, *push(state, now_s)]

    @property
    def topology(self) -> Topology:
        """The newest; epoch 0 until the first shards are dealt in."""
        return self._state.topology

    @property
    def wanted_shards(self) -> int:
        """How many shards there should be."""
        return self._state.config.shards

    @property
    def shards(self) -> tuple[ShardView, ...]:
        """Every shard that exists or should, by index."""
        return tuple(record.view() for _, record in sorted(self._state.shards.items()))

    @property
    def is_settled(self) -> bool:
        """Whether what is wanted is there: every shard up and dealt in, every gateway up, everybody told."""
        state = self._state
        shards, gateways = state.shards, state.gateways
        everybody = [record.delivery for record in shards.values()]
        everybody += [record.delivery for record in gateways.values()]
        return (
            shards.keys() == set(range(state.config.shards))
            and all(record.phase is Phase.UP and record.is_member for record in shards.values())
            and gateways.keys() == state.gateway_nodes()
            and all(one is not None and one.held_epoch >= state.topology.epoch for one in everybody)
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """What an operator should know, one sentence each."""
        state = self._state
        found = [record.failure for _, record in sorted(state.shards.items()) if record.failure]
        wish = state.config.cpus_per_shard
        short = [record.id for _, record in sorted(state.shards.items()) if not record.reserves_cpus]
        if wish and short:
            found.append(f"a reservation of {wish:g} CPUs does not fit for {', '.join(short)}: running without one")
        if not any(node.is_alive for node in state.nodes.values()):
            found.append("no Ray node is alive that a shard could be placed on")
        return (*found, *state.doubts.values())
