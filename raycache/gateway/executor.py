"""Carrying out plans: sending the parts, gathering the replies, and trying again what met a moved or dead shard.

What lives here: `Executor` and the one loop that refreshes the topology for all who wait. What does
not: the calls themselves (`call`), plans (`plan`, `transaction`), connections (`pool`), clients
(`connection`). It belongs to the gateway's loop; replies arrive through callbacks, because a future
per command would cost more than the command.

What a client may rely on:

* a command that surely did not run is tried again, under the newest topology, for `retry_for_s`; then
  it gets -CLUSTERDOWN with the reason, and only it: commands for other shards do not wait;
* a command that may have run is tried again only if running twice changes nothing (`request.may_repeat`);
* whoever has waited for a dead shard in vain has waited for all: while the shard stays unreachable, later
  commands for it fail at once.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from raycache.gateway.call import Client, Done, Errand, Gather, PortionCall, RoundCall, ShardCall, Stranded
from raycache.gateway.detour import Detours, may_detour, readable, takes_writes_anywhere
from raycache.gateway.news import News
from raycache.gateway.plan import Answered, Part, Plan, Planner, Scatter
from raycache.gateway.pool import Pool
from raycache.gateway.scout import Scout
from raycache.gateway.settings import GatewaySettings
from raycache.gateway.transaction import AnswerLocally, Portion, Queued, Transaction, cut
from raycache.resp import encode
from raycache.resp.reply import Frame, is_error
from raycache.ring.topology import ShardInfo, Topology
from raycache.shard.commands.command import Command

log = logging.getLogger(__name__)

_NOT_SERVED: Final = "no shard serves this slot yet"


@dataclass(slots=True)
class ExecutorStats:
    """What happened on the way to the shards, counted since the start."""

    refreshes: int = 0
    """Questions for a newer topology."""
    retries: int = 0
    """Commands, or parts of them, tried again."""
    given_up: int = 0
    """Commands, or parts of them, answered with -CLUSTERDOWN."""
    detours: int = 0
    """Commands taken to another owner because the first one did not answer."""


class Executor:
    """Sends what was planned and sees it through.

    Args:
        get_topology: the newest topology known here.
        refresh: asks the router for a newer one; whatever it brings, `get_topology` has it afterwards.
        learn: takes a topology that a shard has shown; then `get_topology` has it.
        may_split: whether a transaction may run on several shards.
    """

    def __init__(self, planner: Planner, pool: Pool, get_topology: Callable[[], Topology | None],
                 refresh: Callable[[], Awaitable[object]] | None, settings: GatewaySettings, rng: random.Random, *,
                 learn: Callable[[Topology], None], may_split: bool) -> None:
        self.planner = planner
        self.pool = pool
        self.stats = ExecutorStats()
        self.may_split = may_split
        self._get_topology = get_topology
        self.news = News(pool, Scout(pool, settings, rng), settings, get_topology=self.topology, refresh=refresh,
                         learn=learn)
        self._detours = Detours()
        self._silent: set[str] = set()
        """Shards that owe replies for some time: reads need not wait for them."""
        self._settings = settings
        self._rng = rng
        self._known: Topology | None = None
        self._stranded: list[Stranded] = []
        self._is_recovering = False
        self._failed_rounds = 0
        self._round_ended_s = 0.0
        self._has_news = asyncio.Event()

    def topology(self) -> Topology | None:
        """Return the newest topology."""
        topology = self._get_topology()
        if topology is not self._known:
            self._known = topology
            self._failed_rounds = 0
            if topology is not None:
                self.pool.keep({shard.id for shard in topology.shards})
        return topology

    def topology_changed(self) -> None:
        """Let those who wait for a newer topology try at once."""
        self._has_news.set()

    def run(self, argv: list[bytes], command: Command, client: Client, protocol: int, is_long: bool,
            done: Done) -> None:
        """Carry out a command whose arity has been checked; `done` gets its reply, sooner or later, exactly once."""
        self.send(ShardCall(self, self.errand(client, protocol, is_long), command, argv, done))

    def transact(self, queue: Sequence[Queued], client: Client, protocol: int, answer_locally: AnswerLocally,
                 done: Done) -> None:
        """Carry out a transaction; `done` gets EXEC's reply."""
        planned = self.cut(queue, protocol, answer_locally)
        self._send_portions(planned, self.errand(client, protocol), done)

    def errand(self, client: Client, protocol: int, is_long: bool = False) -> Errand:
        """Return for whom and how, with a deadline that starts now."""
        return Errand(client, protocol, is_long, self.pool.now_s() + self._settings.retry_for_s)

    def cut(self, queue: Sequence[Queued], protocol: int, answer_locally: AnswerLocally,
            also_touched: Sequence[str] = ()) -> Transaction | Answered:
        """Return the queue cut into portions under the newest topology, or what refuses it (see `transaction.cut`)."""
        return cut(queue, partial(self.plan, protocol=protocol), may_split=self.may_split, also_touched=also_touched,
                   answer_locally=answer_locally)

    def send_new_portion(self, portion: Portion, errand: Errand, done: Done) -> None:
        """Send one portion of a transaction; `done` gets its shard's EXEC reply."""
        call = PortionCall(self, errand, portion, done)
        self.pool.lane(portion.shard.id, errand.protocol, errand.is_long).send(call, portion.shard)

    async def next_round(self, errand: Errand, reason: str) -> Frame | None:
        """Wait with the others for the next topology. Return None to try again, or the error that ends the waiting."""
        call = RoundCall(errand)
        self.strand(call, reason)
        return await call.outcome

    def send(self, call: ShardCall) -> None:
        """Send a call where it belongs now."""
        topology, errand = self.topology(), call.errand
        if call.shard_id is not None:
            self._send_pinned(call, topology)
            return
        planned = self.planner.plan(call.argv, call.command, topology, errand.protocol)
        if type(planned) is ShardInfo:
            lane = self.pool.lane(planned.id, errand.protocol, errand.is_long)
            if self._silent and planned.id in self._silent and not lane.owes_write(errand.client) and self.detour(call):
                return
            lane.send(call, planned)
        elif type(planned) is Scatter:
            gather = Gather(len(planned.parts), planned.merge, call.done)
            for index, part in enumerate(planned.parts):
                self._send_part(part, call, partial(gather.take, index))
        elif type(planned) is Answered:
            call.done(planned.reply)
        else:
            self.strand(call, _NOT_SERVED)

    def send_portion(self, call: PortionCall) -> None:
        """Cut a portion anew under the newest topology and send what comes of it."""

        def plan(argv: list[bytes], command: Command) -> Plan:
            if command.first_key:
                return self.plan(argv, command, call.errand.protocol)
            return self._shard(call.portion.shard.id) or call.portion.shard

        self._send_portions(cut(call.portion.queue, plan, may_split=self.may_split), call.errand, call.done)

    def strand(self, call: Stranded, reason: str, *, is_hopeless: bool = False) -> None:
        """Keep a call that did not run for the next topology, or answer it if it has waited long enough."""
        if is_hopeless or call.is_tried_once or self.pool.now_s() >= call.errand.deadline_s:
            self.stats.given_up += 1
            call.done(encode.error(f"CLUSTERDOWN {reason}"))
            return
        call.errand.client.stranded += 1
        self._stranded.append(call)
        if not self._is_recovering:
            self._is_recovering = True
            self.pool.spawn(self._recover())

    def lost(self, call: ShardCall | PortionCall, reason: str, was_sent: bool) -> None:
        """Judge a call whose connection broke."""
        if was_sent and not call.may_repeat():
            self.stats.given_up += 1
            call.done(encode.error(f"CLUSTERDOWN {reason}; the command may or may not have run"))
            return
        if not self.detour(call):
            self.strand(call, reason, is_hopeless=not was_sent and self._is_given_up(call))

    def detour(self, call: object) -> bool:
        """Ask other owners what the first one does not answer, if there are any; return whether the call has left."""
        planned = self._around(call)
        if planned is None:
            return False
        assert isinstance(call, ShardCall)
        self.stats.detours += 1
        if isinstance(planned, ShardInfo):
            self._send_detour(call, planned)
            return True
        gather = Gather(len(planned.parts), planned.merge, call.done)
        for index, part in enumerate(planned.parts):
            piece = ShardCall(self, call.errand, call.command, part.argv, partial(gather.take, index))
            self._send_detour(piece, part.shard)
        return True

    def _around(self, call: object) -> ShardInfo | Scatter | None:
        """Return where a command could go instead of its first owner; None: nowhere, or it must not."""
        topology = self.topology()
        if topology is None or topology.copies == 1 or not may_detour(call, anything=takes_writes_anywhere(topology)):
            return None
        assert isinstance(call, ShardCall)
        argv, command, protocol = call.argv, call.command, call.errand.protocol
        primary = self.planner.plan(argv, command, topology, protocol)
        if not isinstance(primary, ShardInfo):
            return None
        planned = self.planner.plan(argv, command, self._detours.around(primary.id, topology), protocol)
        return planned if isinstance(planned, ShardInfo | Scatter) and planned is not primary else None

    def _send_detour(self, call: ShardCall, shard: ShardInfo) -> None:
        call.is_detour = True
        topology, errand = self.topology(), call.errand
        if topology is not None and takes_writes_anywhere(topology):
            self.pool.lane(shard.id, errand.protocol, errand.is_long).send(call, shard)
        else:
            self.pool.replica_lane(shard.id, errand.protocol).send(call, shard)

    def check(self) -> None:
        """Take away from silent shards what others can do, and give up those that are known to be down."""
        silent = self.pool.silent()
        self._silent = {connection.shard_id for connection in silent}
        if not silent:
            return
        self.news.ask_shards()
        topology = self.topology()
        down = {shard.id for shard in topology.shards if shard.state == "down"} if topology is not None else set()
        may_leave = topology is not None and topology.copies > 1 and takes_writes_anywhere(topology)
        for connection in silent:
            if connection.shard_id in down:
                self.pool.give_up(connection, "it is down")
            elif may_leave and connection.silent_for_s(self.pool.now_s()) > self._settings.other_owner_after_s:
                self.pool.give_up(connection, f"no answer in {self._settings.other_owner_after_s:g} s")
            else:
                for call in connection.take_away(self._readable):
                    self.detour(call)

    def _readable(self, waiting: Sequence[object]) -> list[int]:
        return [place for place in readable(waiting) if self._around(waiting[place]) is not None]

    def plan(self, argv: list[bytes], command: Command, protocol: int) -> Plan:
        """Return where a command goes under the newest topology."""
        return self.planner.plan(argv, command, self.topology(), protocol)

    def _shard(self, shard_id: str) -> ShardInfo | None:
        topology = self.topology()
        try:
            return topology.shard(shard_id) if topology is not None else None
        except KeyError:
            return None

    def _send_pinned(self, call: ShardCall, topology: Topology | None) -> None:
        assert call.shard_id is not None
        shard = self._shard(call.shard_id)
        if shard is None:
            self.strand(call, f"shard {call.shard_id} has left the cluster")
            return
        self.pool.lane(shard.id, call.errand.protocol, call.errand.is_long).send(call, shard)

    def _send_part(self, part: Part, whole: ShardCall, done: Done) -> None:
        call = ShardCall(self, whole.errand, whole.command, part.argv, done, part.shard.id if part.is_pinned else None,
                         part.is_tried_once)
        self.pool.lane(part.shard.id, whole.errand.protocol, whole.errand.is_long).send(call, part.shard)

    def _send_portions(self, planned: Transaction | Answered, errand: Errand, done: Done) -> None:
        if isinstance(planned, Answered):
            done(planned.reply)
            return
        transaction, portions = planned, planned.portions
        if not portions:
            done(transaction.result([]))
            return

        def merge(replies: Sequence[Frame]) -> Frame:
            for portion, reply in zip(portions, replies, strict=True):
                transaction.portion_answered(portion, reply)
            return transaction.result([reply for reply in replies if is_error(reply)])

        gather = Gather(len(portions), merge, done)
        for index, portion in enumerate(portions):
            self.send_new_portion(portion, errand, partial(gather.take, index))

    def _is_given_up(self, call: ShardCall | PortionCall) -> bool:
        """Whether the call's lane has been failing for as long as anybody may wait."""
        if isinstance(call, PortionCall):
            shard_id: str | None = call.portion.shard.id
        elif (shard_id := call.shard_id) is None:
            planned = self.plan(call.argv, call.command, call.errand.protocol)
            shard_id = planned.id if isinstance(planned, ShardInfo) else None
        if shard_id is None:
            return False
        failing_since_s = self.pool.lane(shard_id, call.errand.protocol, call.errand.is_long).failing_since_s
        return failing_since_s is not None and self.pool.now_s() - failing_since_s > self._settings.retry_for_s

    async def _recover(self) -> None:
        """Refresh once for all who are stranded and send them again, in the order in which they came."""
        try:
            while self._stranded:
                await self._pause()
                self.stats.refreshes += 1
                await self.news.wait()
                stranded, self._stranded = self._stranded, []
                self.stats.retries += len(stranded)
                self._round_ended_s = self.pool.now_s()
                for call in stranded:
                    call.errand.client.stranded -= 1
                    call.again()
                for client in {id(call.errand.client): call.errand.client for call in stranded}.values():
                    if not client.stranded:
                        client.proceed()
        finally:
            self._is_recovering = False

    async def _pause(self) -> None:
        """Leave some time before a round, more after each that brought no newer topology; news ends it."""
        self.topology()
        if self.pool.now_s() - self._round_ended_s > self._settings.retry_for_s:
            self._failed_rounds = 0
        # The first round starts nearly at once: mostly a slot has moved, and the topology that says so is there.
        growth = min(10.0, 1.5 ** (self._failed_rounds - 1)) if self._failed_rounds else 0.1
        pause_s = self._settings.retry_interval_s * growth * self._rng.uniform(0.5, 1.0)
        self._failed_rounds = min(self._failed_rounds + 1, 10)
        self._has_news.clear()
        try:
            async with asyncio.timeout(pause_s):
                await self._has_news.wait()
        except TimeoutError:
            pass
