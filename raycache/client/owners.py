"""One shard of several that may: reads that go from copy to copy, and writes where any owner takes them.

What lives here: the sync handle's ways around a shard that is lost, silent or behind. What does not: the order of the
copies (`routes.py`), the state of a read (`reading.py`), pauses and newer topologies (`dispatcher.py`). Any thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from raycache.client import requests
from raycache.client.batches import Batch, GetMany, Part
from raycache.client.connection import Connection
from raycache.client.patience import PatientPool
from raycache.client.reading import ManyReads, OneRead, silent, take
from raycache.client.requests import Request
from raycache.client.results import Row
from raycache.client.retry import RETRIED, Alone, Failure, Lost, Moved, NoOwner, Refusals, TooFew
from raycache.client.routes import NOBODY, Choice, Routes
from raycache.client.settings import ClientSettings
from raycache.client.wishes import PLAIN, ReadWishes
from raycache.errors import AuthenticationError, NotEnoughReplicasError, ShardUnavailableError
from raycache.ring.slots import slot_of

if TYPE_CHECKING:
    from raycache.client.dispatcher import Dispatcher

T = TypeVar("T")


class Owners:
    """All owners of each slot, as the threads of this process reach them."""

    def __init__(self, dispatcher: Dispatcher, settings: ClientSettings) -> None:
        self._dispatcher = dispatcher
        self._settings = settings

    def run(self, key: bytes, slot: int, request: Request[T], failure: Exception, deadline_s: float,
            refreshes: int) -> T:
        """Go on with a single-key request after its first `failure`.

        Raises:
            RayCacheError: see `raycache.errors`.
        """
        from_row = request.from_row
        if from_row is None:
            if isinstance(failure, TooFew):
                return self._ask_the_others(slot, request, failure, deadline_s)
            return self._dispatcher.persist(lambda: self._attempt(slot, request, deadline_s), failure, deadline_s,
                                            repeatable=request.repeatable, refreshes=refreshes)
        read = OneRead(key, from_row, PLAIN, self._settings.hedge_s, self._settings.timeout_s)
        # A topology that is old names the wrong owners; else somebody else may know, at once.
        if not isinstance(failure, Moved | NoOwner | AuthenticationError):
            try:
                return self._read(slot, read, deadline_s)
            except RETRIED as error:
                failure = error
        return self._dispatcher.persist(lambda: self._read(slot, read, deadline_s), failure, deadline_s,
                                        refreshes=refreshes)

    def read(self, key: bytes, request: Request[T], wishes: ReadWishes) -> T:
        """Run a read with wishes.

        Raises:
            RayCacheError: see `raycache.errors`.
        """
        assert request.from_row is not None
        slot, deadline_s = slot_of(key), monotonic() + self._settings.timeout_s
        read = OneRead(key, request.from_row, wishes, self._settings.hedge_s, self._settings.timeout_s)
        refreshes = self._dispatcher.refreshes
        try:
            return self._read(slot, read, deadline_s)
        except RETRIED as failure:
            return self._dispatcher.persist(lambda: self._read(slot, read, deadline_s), failure, deadline_s,
                                            refreshes=refreshes)

    def read_many(self, keys: list[bytes], wishes: ReadWishes, deadline_s: float | None = None) -> list[Row]:
        """Return a row of RC.READ for each of `keys`.

        Raises:
            RayCacheError: see `raycache.errors`.
        """
        settings = self._settings
        reads = ManyReads(keys, wishes, settings.hedge_s, settings.timeout_s)
        limit_s = monotonic() + reads.time_limit_s(settings.timeout_s) if deadline_s is None else deadline_s
        if not self._dispatcher.table.patient:
            self._dispatcher.run_batch(reads)
            return reads.rows
        refreshes = self._dispatcher.refreshes
        try:
            self._attempt_many_soon(reads, limit_s)
        except RETRIED as failure:
            self._dispatcher.persist(lambda: self._attempt_many_soon(reads, limit_s), failure, limit_s,
                                     refreshes=refreshes)
        return reads.rows

    def finish(self, batch: GetMany, wishes: ReadWishes, deadline_s: float | None = None) -> None:
        """Read what has not been answered of a batch."""
        left, batch.pending = batch.pending, []
        rows = self.read_many([batch.keys[position] for position in left], wishes, deadline_s)
        for position, value in zip(left, batch.read([row[0] for row in rows]), strict=True):
            batch.values[position] = value

    def clocks(self) -> list[tuple[int, int]]:
        """Return the number and the clock's reading of each living shard that has been written to, or of all.

        Raises:
            RayCacheError: one of them has not answered.
        """
        read: dict[str, tuple[int, int]] = {}

        def attempt() -> None:
            living, written = self._routes().living(), self._dispatcher.written()
            wanted = [shard_id for shard_id in living if shard_id not in read and (shard_id in written or not written)]
            answered, silent = self._dispatcher.ask_each(wanted, requests.clock())
            read.update({f"s{index}": (index, version) for index, version in answered})
            if silent:
                raise Lost(f"no answer from {', '.join(silent)}")

        deadline_s, refreshes = monotonic() + self._settings.timeout_s, self._dispatcher.refreshes
        try:
            attempt()
        except RETRIED as failure:
            self._dispatcher.persist(attempt, failure, deadline_s, refreshes=refreshes)
        return [*read.values(), *self._routes().readings_of_the_lost(self._dispatcher.written())]

    def choice(self, batch: Batch) -> Choice:
        """Return whom a plain batch is sent to: the primaries; where any owner takes writes, none that is silent."""
        routes = self._routes()
        if not routes.takes_writes_anywhere or isinstance(batch, GetMany):
            return routes
        suspects = self._suspects()
        return routes.around("primary", frozenset(suspects)) if suspects else routes

    def run_round(self, batch: Batch, parts: Sequence[Part], pools: list[PatientPool], deadline_s: float,
                  patience_s: float | None = None) -> Exception | None:
        """Send every part before the first reply is read, so that all shards work at once; return the last failure.

        Reads that are not answered soon are failures; writes are waited for until somebody else has taken over.
        """
        patience_s = self._settings.hedge_s if patience_s is None else patience_s
        is_read, can_wait = isinstance(batch, GetMany | ManyReads), isinstance(batch, ManyReads) and batch.can_wait
        failure: Exception | None = None
        sent: list[tuple[Part, PatientPool, Connection]] = []
        replies: list[tuple[Part, Any]] = []
        try:
            # Shards ascend in every round of every thread: nobody waits for a connection in a circle.
            for part in parts:
                pool = pools[part.shard]
                if isinstance(batch, GetMany) and pool.is_suspect:
                    failure = _failed(batch, part, silent(*pool.address, patience_s))
                    continue
                pool.has_written |= not is_read
                try:
                    sent.append((part, pool, pool.send(part.frame, deadline_s, patience_s, is_read=is_read)))
                except RETRIED as error:
                    failure = _failed(batch, part, error)
            while sent:
                part, pool, connection = sent.pop(0)
                try:
                    replies.append((part, pool.receive(connection, 1, deadline_s, patience_s, is_read=is_read,
                                                       can_wait=can_wait)))
                except RETRIED as error:
                    failure = _failed(batch, part, error)
        finally:
            for _, pool, connection in sent:
                pool.pool.discard(connection)
        for part, reply in replies:
            failure = _taken(batch, part, reply) or failure
        return failure

    def _soon(self, attempt: Callable[[], T], deadline_s: float, *, is_read: bool = True) -> T:
        """Do `attempt`, for a moment again and again if too few copies are alive for it."""
        alone: Alone | None = None
        while True:
            try:
                return attempt()
            except NotEnoughReplicasError as refusal:
                if not self._routes().takes_writes_anywhere:
                    raise
                alone = alone or Alone(monotonic(), deadline_s, is_read=is_read, rng=self._settings.rng)
                self._dispatcher.pause(alone.after(refusal, monotonic()))

    def _read(self, slot: int, read: OneRead[T], deadline_s: float) -> T:
        return self._soon(lambda: self._ask_around(slot, read, deadline_s), deadline_s)

    def _attempt_many_soon(self, reads: ManyReads, deadline_s: float) -> None:
        self._soon(lambda: self._attempt_many(reads, deadline_s), deadline_s)

    def _ask_the_others(self, slot: int, request: Request[T], failure: TooFew, deadline_s: float) -> T:
        """Run a write that one owner could not do alone at one that can."""
        return self._soon(lambda: self._ask_each(slot, request, failure, deadline_s), deadline_s, is_read=False)

    def _ask_each(self, slot: int, request: Request[T], failure: TooFew, deadline_s: float) -> T:
        routes, pools = self._routes(), self._dispatcher.table.patient
        first, *others = routes.in_order(slot, "primary")
        for index in (*others, first) if routes.takes_writes_anywhere else ():
            try:
                return pools[index].run(request, deadline_s)
            except Failure as error:
                if error.sent and not request.repeatable:
                    raise ShardUnavailableError(f"{error}; the operation may or may not have happened") from error
        raise NotEnoughReplicasError(str(failure))

    def _attempt(self, slot: int, request: Request[T], deadline_s: float) -> T:
        """Run a write: at the primary, or, where any owner takes writes, at one that is not silent."""
        table, routes = self._dispatcher.table, self._routes()
        index = routes.owners[slot]
        if routes.takes_writes_anywhere:
            owners = routes.in_order(slot, "primary")
            index = next((owner for owner in owners if not table.patient[owner].is_suspect), index)
        if index == NOBODY:
            raise NoOwner(f"nobody serves slot {slot}")
        try:
            return table.patient[index].run(request, deadline_s)
        except TooFew as error:
            return self._ask_the_others(slot, request, error, deadline_s)

    def _ask_around(self, slot: int, read: OneRead[T], deadline_s: float) -> T:
        """Ask one owner after the other, until one answers."""
        table, routes, refusals = self._dispatcher.table, self._routes(), Refusals()
        patience_s, suspects = read.patience_s, self._suspects()
        for index, request in read.round(routes, slot, suspects.__contains__):
            try:
                answer = table.patient[index].run_within(request, deadline_s, patience_s, can_wait=read.can_wait)
            except (*RETRIED, NotEnoughReplicasError) as error:
                refusals.add(error)
            else:
                if suspects or refusals:
                    self._dispatcher.look_around(refusals.verdict())
                return answer
        raise refusals.verdict()

    def _attempt_many(self, reads: ManyReads, deadline_s: float) -> None:
        table, routes, suspects = self._dispatcher.table, self._routes(), self._suspects()
        reads.start(suspects)
        while reads.pending:
            has_sent = False
            for parts in reads.next_parts(routes):
                has_sent = True
                self.run_round(reads, parts, table.patient, deadline_s, reads.patience_s)
            if not has_sent:
                reads.end()
                raise reads.refusals.verdict()
        if suspects or reads.refusals:
            self._dispatcher.look_around(reads.refusals.verdict())

    def _suspects(self) -> set[int]:
        return {index for index, pool in enumerate(self._dispatcher.table.patient) if pool.is_suspect}

    def _routes(self) -> Routes:
        table = self._dispatcher.table
        if table.routes is None or not table.patient:
            raise NoOwner("the cluster's topology is not known yet")
        return table.routes


def _failed(batch: Batch, part: Part, error: Exception) -> Exception:
    if isinstance(batch, ManyReads):
        batch.refused(part, error)
    else:
        batch.failed(part.positions)
    return error


def _taken(batch: Batch, part: Part, reply: Any) -> Exception | None:
    """Take a reply; a copy's refusal to read is a failure where others may be asked."""
    if not isinstance(batch, ManyReads):
        return take(batch, part, reply)
    return batch.take_or_refuse(part, reply)
