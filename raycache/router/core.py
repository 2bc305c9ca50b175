"""The router's state machine: what is wanted and what was observed in, actions out.

What lives here: the observations, and the order of a step; its rules stand beside this (`lifecycle`, `gateways`,
`publishing`, `recovery`) and work on one `RouterState`. What does not: Ray, sockets, clocks (`raycache.actors.router`
is the shell around this) and the slot table (`raycache.ring`). One loop owns a `RouterCore`; nothing in it blocks, and
only dealing slots anew takes longer than microseconds (some 5 ms; 30 ms for 1,000 shards).

How the shell drives it. `now_s` is monotonic time throughout; nothing here asks a clock or rolls dice.

1. After every start: `RouterCore(config, now_s, term=...)` with a term that no router of this cluster had before (Unix
   time in ms), then `recover(...)` with the shards and gateways whose actors exist by name (none on the very first
   start), and ask each of those for its report. Not to be left out after a restart.
2. Whenever something is known: `nodes_reported` with all nodes of the Ray cluster (before the first `step`, then every
   second or so), `shard_reported` and `gateway_reported` on registration or answer, `pong` on the answer to a ping,
   `silent` when there was none for long (`raycache.router.detector`), `refused` when a shard's process is gone for
   certain: its connection was reset and another one refused, or Ray says so; `gateway_lost`; `shard_removed` when an
   actor is known to exist no more; `shard_holds` and `gateway_holds` when somebody has taken a topology; `scale`,
   `drain`, `undrain`, `upgrade`, `cancel` on request.
3. After each of these, and every few hundred milliseconds (`is_hurrying`: every 50): `step(now_s)`, and carry out its
   actions in their order. A step without news returns nothing, and an action that failed may simply be dropped: it
   comes again. Only a `CreateShard` that failed should be followed by `shard_removed`, or it comes again a minute
   later.
4. Keep a connection to every shard in `addresses` (also to those that are lost, at their last address: that is how a
   refusal or a return is noticed), and ping those that are connected, several times a second, with `term` and the
   topology's epoch; ask who holds a newer topology than `newest_epoch` for it, and say `shown`. When a shard is lost,
   ping the others at once: a promotion may wait for it.
5. `CreateShard` may find the actor there (`get_if_exists`): then ask it for its report. `RemoveShard` ends the actor
   and, once its name is free, says `shard_removed`; also where there was none. `CreateGateway` and `RemoveGateway` need
   no answer but the gateway's report.
6. Answer a registration with `topology` as it is after the step that followed it, and then say `shard_holds`.
7. If `must_stand_down`: another router has been granted a newer term, and this one does nothing any more; end it (Ray
   starts it again, if it was the right one). If `needs_term` is more than `term` before this router was granted its
   own: its clock is behind; `take_term` with a higher one.
8. With `term=0` it is a standby, of which `standing_by` says what it does before each step; no step before it has taken
   a term.

What it keeps to. Epochs only grow; a restarted router keeps the newest table that anybody shows, under a newer epoch,
once most shards have granted its term. With one copy, a slot changes its owner only when shards are added, removed or
drained: a lost shard stays owner, marked "down", because it alone has the address that comes back, and one that does
not come back is created anew under its id. With more, a replica leads meanwhile, and the lost one stays owner, last in
its rows; when it is back, it is filled by transfers, and then primaries are dealt evenly again. A leaving or drained
shard gives its slots away by transfers first, and is ended when they are done and the others know. The wanted number of
shards survives a restart of the router: it is read off the newest topology (weight 0 and not draining = was leaving)
and the actors that exist.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

from raycache.config import ClusterConfig
from raycache.errors import ChangeUnderWayError
from raycache.metrics.families import Samples
from raycache.ring.topology import GatewayInfo, Topology
from raycache.router import observing, wishes
from raycache.router.figures import router_samples
from raycache.router.gateways import settle_gateways
from raycache.router.lifecycle import create, give_up_waiting, line_up, notice_dead_nodes, remove
from raycache.router.messages import Action, Event, GatewayReport, NodeReport, Pong, ShardReport, ShardView, index_of
from raycache.router.publishing import note_leavers, publish, push
from raycache.router.records import NEVER, Delivery, GatewayRecord, Patience, Phase, ShardRecord
from raycache.router.recovery import take_over
from raycache.router.spreading import spread
from raycache.router.state import RouterState
from raycache.router.status import Address, addresses, close_change, is_settled, progress, warnings
from raycache.router.upgrading import proceed
from raycache.router.voting import confirm_losses, count_grants, follow_topology, is_outvoted, misses_router


class RouterCore:
    """One cluster's router. See the module's text for how to drive it."""

    __slots__ = ("_state",)

    def __init__(self, config: ClusterConfig, now_s: float, *, patience: Patience | None = None, term: int = 1) -> None:
        self._state = RouterState(config, patience or Patience(), Topology.empty(config.name), now_s, term=term)

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
        state.started_at_s = state.now_s = now_s
        for shard_id in shard_ids:
            state.shards[index_of(shard_id)] = ShardRecord(index_of(shard_id), Phase.STARTING, now_s)
            state.awaited.add(shard_id)
        state.is_elected = not state.awaited
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
        return observing.reported(self._at(now_s), report, now_s)

    def pong(self, shard_id: str, pong: Pong, now_s: float) -> None:
        """Take in a shard's answer to a ping. One that was lost is back with it."""
        observing.ponged(self._at(now_s), shard_id, pong, now_s)

    def silent(self, shard_id: str, incarnation: int, now_s: float) -> None:
        """Take in that this process of a shard has not answered for too long; its next answer ends that.

        It counts as lost once no other shard hears it either, and the router hears most of them.
        """
        observing.fell_silent(self._at(now_s), shard_id, incarnation, now_s)

    def refused(self, shard_id: str, incarnation: int, now_s: float) -> None:
        """Take in that this process of a shard is gone for certain."""
        observing.refused(self._at(now_s), shard_id, incarnation, now_s)

    def shard_removed(self, shard_id: str, now_s: float) -> None:
        """Take in that a shard's actor exists no more, on our order or not. Where it is wanted it is created anew."""
        observing.removed(self._at(now_s), shard_id, now_s)

    def shown(self, shard_id: str, data: bytes) -> None:
        """Take in the topology that a shard holds."""
        self._state.seen(f"shard {shard_id}", data)

    def gateway_reported(self, report: GatewayReport) -> None:
        """Take in what a gateway says of itself."""
        held_epoch = self._state.seen(f"the gateway on node {report.node_id}", report.topology)
        record = self._state.gateways.setdefault(report.node_id, GatewayRecord(report.node_id, NEVER))
        record.info = GatewayInfo(report.host, report.port, report.node_id)
        record.delivery = Delivery(held_epoch)

    def gateway_lost(self, node_id: str, now_s: float) -> None:
        """Take in that the gateway of a node is gone or silent. Ray restarts it, and it registers again."""
        record = self._state.gateways.get(node_id)
        if record is not None:
            record.info, record.delivery, record.asked_at_s = None, None, now_s

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

    # What operators wish

    def scale(self, shards: int) -> None:
        """Want this many shards.

        Raises:
            ValueError: the configuration cannot have so many.
            ChangeUnderWayError: another change is not complete.
        """
        self._wish(partial(wishes.scale, self._state, shards))

    def drain(self, target: str) -> None:
        """Want a shard, or every shard of a node, to own nothing. Those of a node are then created anew elsewhere.

        Raises:
            ValueError: there is no such shard or node, or nobody would be left.
            ChangeUnderWayError: another change is not complete.
        """
        self._wish(partial(wishes.drain, self._state, target))

    def undrain(self, target: str) -> None:
        """Let a drained shard or node own slots again, also while it is being drained.

        Raises:
            ValueError: it is not drained.
            ChangeUnderWayError: another change is not complete.
        """
        self._wish(partial(wishes.undrain, self._state, target))

    def upgrade(self) -> None:
        """Want every shard's process replaced by a new one, one after the other, without losing what they hold.

        Raises:
            ValueError: nothing is dealt yet, something is drained, or there can be no shard more for a while.
            ChangeUnderWayError: another change is not complete.
        """
        self._wish(partial(wishes.upgrade, self._state))

    def cancel(self) -> str:
        """Go back to how it was before the change under way; return what that was.

        Raises:
            ValueError: none is.
        """
        return wishes.cancel(self._state)

    def _wish(self, wish: Callable[[], None]) -> None:
        try:
            wish()
        except ChangeUnderWayError as error:
            self._state.note("refused", str(error))
            raise

    def take_term(self, term: int, *, epoch_floor: int = 0) -> None:
        """Stand for election with a higher term; only a router that was not elected may.

        Args:
            epoch_floor: as for `recover`, if that was long ago.
        """
        state = self._state
        if not state.is_elected and term > state.term:
            state.term = term
            state.epoch_floor = max(state.epoch_floor, epoch_floor)

    # What follows

    def step(self, now_s: float) -> list[Action]:
        """Move what is towards what is wanted; return what to do, in order.

        Twice without news: nothing to do; but a step with a failover leaves what can wait to the next (`is_hurrying`).
        """
        state = self._at(now_s)
        if state.is_recovering(now_s) or is_outvoted(state):
            return []
        take_over(state, now_s)
        notice_dead_nodes(state, now_s)
        count_grants(state, now_s)
        follow_topology(state)
        if not state.is_elected and state.topology.epoch:
            return []
        proceed(state)
        spread(state, now_s)
        line_up(state)
        confirm_losses(state, now_s)
        give_up_waiting(state, now_s)
        note_leavers(state, now_s)
        actions = [*remove(state, now_s), *create(state, now_s), *settle_gateways(state, now_s)]
        publish(state, now_s)
        follow_topology(state)
        close_change(state)
        return [*actions, *push(state, now_s)]

    def _at(self, now_s: float) -> RouterState:
        self._state.now_s = now_s
        return self._state

    # What is

    @property
    def term(self) -> int:
        """What its pings and topologies carry."""
        return self._state.term

    @property
    def needs_term(self) -> int:
        """The lowest term with which this router could be granted its own."""
        return max(self._state.term, self._state.highest_term)

    @property
    def is_elected(self) -> bool:
        """Whether this router is in office, as far as it knows."""
        return self._state.is_elected

    def misses_router(self, now_s: float) -> bool:
        """Return whether most shards say that no router that may act has asked them for too long."""
        return misses_router(self._state, now_s)

    @property
    def newest_seen(self) -> Topology | None:
        """The newest topology that anybody has shown."""
        return self._state.best_seen

    @property
    def must_stand_down(self) -> bool:
        """Whether another router has taken over from this one, which was in office."""
        return self._state.is_elected and is_outvoted(self._state)

    @property
    def is_hurrying(self) -> bool:
        """Whether the next step should not wait long: somebody is suspected, or a promotion waits for answers."""
        state = self._state
        return any(one.suspected_at_s is not None for one in state.shards.values()) or (
            state.is_dirty and state.is_recovered and bool(state.topology.epoch))

    @property
    def topology(self) -> Topology:
        """The newest; epoch 0 until the first shards are dealt in."""
        return self._state.topology

    @property
    def newest_epoch(self) -> int:
        """The epoch of the newest topology that this router has made or been shown."""
        seen = self._state.best_seen
        return max(self._state.topology.epoch, seen.epoch if seen is not None else 0)

    @property
    def addresses(self) -> dict[str, Address]:
        """Where each shard's process is, or was last, by its id."""
        return addresses(self._state)

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
        """Whether what is wanted is there: every shard up, dealt in and filled, every gateway up, everybody told."""
        return is_settled(self._state)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What an operator should know, one sentence each."""
        return warnings(self._state)

    @property
    def events(self) -> tuple[Event, ...]:
        """What has happened, oldest first; the newest 200."""
        return tuple(self._state.events)

    @property
    def on_event(self) -> Callable[[str, str], None]:
        """Hears of each event's kind and text, for the log."""
        return self._state.on_event

    @on_event.setter
    def on_event(self, hear: Callable[[str, str], None]) -> None:
        self._state.on_event = hear

    def samples(self) -> Samples:
        """Return the router's figures for exporters."""
        return router_samples(self._state)

    @property
    def pongs(self) -> dict[str, Pong]:
        """The newest answer of each shard."""
        return {record.id: record.pong for record in self._state.shards.values() if record.pong is not None}

    def progress(self, now_s: float) -> dict[str, Any]:
        """Return the change under way and its transfers, or what the one before has cost."""
        return progress(self._state, now_s)
