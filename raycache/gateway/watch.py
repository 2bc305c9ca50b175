"""WATCH through the gateway: connections to the shards that belong to one client until its EXEC.

What lives here: `Watches`, one per client: watching, the transaction that depends on it, and letting
go. What does not: plain transactions (`executor`), how the shards notice changes (`raycache.shard`). It
belongs to the gateway's loop, and its client has nothing else under way meanwhile.

A shard's WATCH holds for a connection, so watched keys need connections of their own, and EXEC must
go over the same ones. What that gives:

* at most one watched shard runs commands: exact. Shards whose keys are watched only are asked first,
  and unless all of them are unchanged nothing runs and EXEC answers nil. (A key that is watched on one
  shard can still change between that check and the run on another.)
* several watched shards run commands: they run one after the other. If the first is found changed,
  EXEC answers nil and nothing ran; if a later one is, its commands have an error as their reply,
  because nil would say that nothing ran.
* a shard that was lost, restarted or no longer owns a watched key counts as changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from raycache.errors import ShardUnavailableError
from raycache.gateway.call import Client, Errand
from raycache.gateway.executor import Executor
from raycache.gateway.plan import CROSS_SLOT
from raycache.gateway.request import EXEC, MULTI, encoded, encoded_transaction
from raycache.gateway.transaction import AnswerLocally, Portion, Queued, Transaction
from raycache.gateway.upstream import UpstreamConnection, ask
from raycache.resp import encode
from raycache.resp.reply import Frame, is_error, is_null
from raycache.ring.slots import slot_of
from raycache.ring.topology import ShardInfo

_CHANGED: Final = encode.error(
    "EXECABORT a watched key on this shard has changed, so this part of the transaction did not run; other parts did"
)


@dataclass(slots=True)
class Watched:
    """One shard's watched keys, and the connection that watches them."""

    shard: ShardInfo
    connection: UpstreamConnection
    keys: list[bytes] = field(default_factory=list)

    def still_owns(self, owner: ShardInfo | None) -> bool:
        """Whether `owner` is the very process that watches."""
        shard = self.shard
        return owner is not None and (owner.id, owner.incarnation) == (shard.id, shard.incarnation)


class Watches:
    """What one client watches."""

    def __init__(self, executor: Executor, client: Client) -> None:
        self._executor = executor
        self._client = client
        self._by_shard: dict[str, Watched] = {}
        self._protocol = 0
        self._is_broken = False

    def __bool__(self) -> bool:
        """Whether EXEC and UNWATCH concern us."""
        return bool(self._by_shard) or self._is_broken

    async def watch(self, keys: Sequence[bytes], protocol: int) -> Frame:
        """Watch `keys` too; return the reply to WATCH."""
        errand = self._executor.errand(self._client, protocol)
        if self._by_shard and protocol != self._protocol:
            self._break()
        self._protocol = protocol
        while True:
            try:
                reply = await self._watch_once(keys)
            except ShardUnavailableError as error:
                self._break()
                reply = encode.error(f"CLUSTERDOWN {error}")
            if not reply.startswith((b"-MOVED ", b"-CLUSTERDOWN ", b"-LOADING ")):
                return reply
            reason = reply[1:-2].decode(errors="replace").removeprefix("CLUSTERDOWN ")
            verdict = await self._executor.next_round(errand, reason)
            if verdict is not None:
                return verdict

    async def execute(self, queue: Sequence[Queued], answer_locally: AnswerLocally) -> Frame:
        """Run the transaction if nothing watched has changed; return EXEC's reply. Watches nothing afterwards."""
        try:
            if not self._is_intact():
                return encode.null_array(self._protocol)
            planned = self._executor.cut(queue, self._protocol, answer_locally, tuple(self._by_shard))
            if not isinstance(planned, Transaction):
                return planned.reply
            return await self._run(planned)
        finally:
            self.forget()

    def forget(self) -> None:
        """Watch nothing any more, and let others use the connections."""
        for watched in self._by_shard.values():
            self._executor.pool.give_back(watched.connection, watched.shard, self._protocol)
        self._by_shard.clear()
        self._is_broken = False

    def close(self) -> None:
        """The client is gone, perhaps in the middle of something: close the connections."""
        for watched in self._by_shard.values():
            watched.connection.abort()
        self._by_shard.clear()
        self._is_broken = False

    async def _watch_once(self, keys: Sequence[bytes]) -> Frame:
        topology = self._executor.topology()
        shards: dict[str, tuple[ShardInfo, list[bytes]]] = {}
        for key in keys:
            shard = topology.primary_of(slot_of(key)) if topology is not None else None
            if shard is None:
                return encode.error("CLUSTERDOWN Hash slot not served")
            shards.setdefault(shard.id, (shard, []))[1].append(key)
        if not self._executor.may_split and len(shards.keys() | self._by_shard.keys()) > 1:
            return CROSS_SLOT
        for shard, its_keys in shards.values():
            reply = await self._watch_on(shard, its_keys)
            if is_error(reply):
                return reply
        return encode.OK

    async def _watch_on(self, shard: ShardInfo, keys: list[bytes]) -> Frame:
        watched = self._by_shard.get(shard.id)
        if watched is None:
            connection = await self._executor.pool.borrow(shard, self._protocol)
            watched = self._by_shard[shard.id] = Watched(shard, connection)
        (reply,) = await ask(watched.connection, encoded([b"WATCH", *keys]))
        if not is_error(reply):
            watched.keys += keys
        return reply

    def _is_intact(self) -> bool:
        """Whether the watching itself still holds."""
        topology = self._executor.topology()
        if self._is_broken or topology is None:
            return False
        if any(watched.connection.is_lost for watched in self._by_shard.values()):
            return False
        return all(
            watched.still_owns(topology.primary_of(slot_of(key)))
            for watched in self._by_shard.values() for key in watched.keys
        )

    async def _run(self, transaction: Transaction) -> Frame:
        """Run the portions: watched ones first and in turn, for only they can still stop the rest."""
        running = {portion.shard.id for portion in transaction.portions}
        for shard_id, watched in self._by_shard.items():
            if shard_id not in running and not await self._is_unchanged(watched):
                return encode.null_array(self._protocol)
        failures: list[Frame] = []
        has_run = False
        for portion in transaction.portions:
            if portion.shard.id not in self._by_shard:
                continue
            reply = await self._run_watched(portion)
            if reply is None and not has_run:
                return encode.null_array(self._protocol)
            has_run = True
            self._take(transaction, portion, _CHANGED if reply is None else reply, failures)
        rest = [portion for portion in transaction.portions if portion.shard.id not in self._by_shard]
        errand = self._executor.errand(self._client, self._protocol)
        answers = await asyncio.gather(*[self._run_plain(errand, portion) for portion in rest])
        for portion, answer in zip(rest, answers, strict=True):
            self._take(transaction, portion, answer, failures)
        return transaction.result(failures)

    def _take(self, transaction: Transaction, portion: Portion, reply: Frame, failures: list[Frame]) -> None:
        if is_error(reply):
            failures.append(reply)
        transaction.portion_answered(portion, reply)

    async def _is_unchanged(self, watched: Watched) -> bool:
        """Ask a shard that runs nothing, by an empty transaction."""
        try:
            replies = await ask(watched.connection, MULTI + EXEC, 2)
        except ShardUnavailableError:
            return False
        return not is_error(replies[-1]) and not is_null(replies[-1])

    async def _run_watched(self, portion: Portion) -> Frame | None:
        """Run a portion over the connection that watches; None: it did not run, because something has changed."""
        connection = self._by_shard[portion.shard.id].connection
        payload = encoded_transaction(argv for _, argv in portion.queue)
        try:
            replies = await ask(connection, payload, len(portion.queue) + 2)
        except ShardUnavailableError as error:
            return encode.error(f"CLUSTERDOWN {error}; the transaction may or may not have run")
        refusal = next(filter(is_error, replies), None)
        if refusal is not None and refusal.startswith(b"-MOVED "):
            return None
        if refusal is not None:
            return b"-EXECABORT Transaction discarded because of: " + refusal[1:]
        return None if is_null(replies[-1]) else replies[-1]

    async def _run_plain(self, errand: Errand, portion: Portion) -> Frame:
        answer: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()

        def done(reply: Frame) -> None:
            if not answer.done():
                answer.set_result(reply)

        self._executor.send_new_portion(portion, errand, done)
        return await answer

    def _break(self) -> None:
        """Some of the watching was lost: EXEC must find that out, whatever is watched later."""
        had_keys = self._is_broken or any(watched.keys for watched in self._by_shard.values())
        self.close()
        self._is_broken = had_keys
