"""From a request to its answer, for threads: routing, retries, and a new topology when the old one fails.

What lives here: what the sync handle does with sockets and time. What to send is in `requests.py` and `batches.py`,
when to try again in `retry.py`, whom to ask for a topology in `discovery.py`. Any thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from time import monotonic
from typing import Any, Final, NamedTuple, TypeVar

from raycache.client import background, discovery, forks, requests
from raycache.client.batches import Batch, Part
from raycache.client.connection import Connection
from raycache.client.info import Address, ConnectionInfo
from raycache.client.pool import Pool
from raycache.client.requests import Request
from raycache.client.retry import RETRIED, Attempts, Lost, NoOwner
from raycache.client.routes import NOBODY, Routes, newer
from raycache.client.settings import ClientSettings
from raycache.errors import CallerError, DeadlineExceededError, RayCacheError
from raycache.ring.slots import SLOT_COUNT, slot_of

T = TypeVar("T")

_NO_ROUTES: Final = "the cluster's topology is not known yet"


class _Table(NamedTuple):
    """One topology with its pools; replaced as a whole."""

    routes: Routes | None
    pools: list[Pool]
    """In the order of `routes.addresses`."""


class Dispatcher:
    """One cluster, as the threads of this process reach it."""

    def __init__(
        self, info: ConnectionInfo, settings: ClientSettings, refresh_info: Callable[[], ConnectionInfo] | None
    ) -> None:
        self._info = info
        self._settings = settings
        self._refresh_info = refresh_info
        self._by_address: dict[Address, Pool] = {}
        self._table = _Table(None, [])
        self._by_slot: list[Pool | None] = [None] * SLOT_COUNT
        self._refreshing = threading.Lock()
        self._refreshes = 0
        self._closed = threading.Event()
        routes = newer(None, info.topology)
        if routes is not None:
            self._adopt(routes)
        forks.watch(self)

    @property
    def info(self) -> ConnectionInfo:
        """What another process needs to reach the same cluster, with the newest topology known here."""
        routes, info = self._table.routes, self._info
        topology = info.topology if routes is None else routes.topology.to_bytes()
        return ConnectionInfo(info.cluster, info.seeds, info.secret, topology)

    def routes(self) -> Routes:
        """Return the present routes; asks for them if none are known.

        Raises:
            RayCacheError: nobody could be asked before the deadline.
        """
        while True:
            routes = self._table.routes
            if routes is not None:
                return routes
            self._persist(self._require_routes, self._no_routes(), monotonic() + self._settings.timeout_s)

    def run(self, key: bytes, request: Request[T]) -> T:
        """Run a single-key request on the key's shard. HOT.

        Raises:
            RayCacheError: see `raycache.errors`.
        """
        slot = slot_of(key)
        deadline_s = monotonic() + self._settings.timeout_s
        refreshes = self._refreshes
        pool = self._by_slot[slot]
        try:
            if pool is not None:
                return pool.run(request, deadline_s)
            failure: Exception = self._no_owner(slot)
        except RETRIED as error:
            failure = error

        def attempt() -> T:
            found = self._by_slot[slot]
            if found is None:
                raise self._no_owner(slot)
            return found.run(request, deadline_s)

        return self._persist(attempt, failure, deadline_s, repeatable=request.repeatable, refreshes=refreshes)

    def run_on_shard(self, shard_id: str, request: Request[T]) -> T | None:
        """Run a request on one shard wherever it lives; None if the shard has left the cluster.

        Raises:
            RayCacheError: see `raycache.errors`.
        """
        deadline_s = monotonic() + self._settings.timeout_s

        def attempt() -> T | None:
            return self._ask_shard(shard_id, request, deadline_s)

        refreshes = self._refreshes
        try:
            return attempt()
        except RETRIED as failure:
            return self._persist(attempt, failure, deadline_s, repeatable=request.repeatable, refreshes=refreshes)

    def ask_each(self, shard_ids: list[str], request: Request[T]) -> tuple[list[T], list[str]]:
        """Ask shards once each; return what those that answered said, and who did not."""
        deadline_s = monotonic() + self._settings.timeout_s
        answered: list[T] = []
        silent: list[str] = []
        for shard_id in shard_ids:
            try:
                answer = self._ask_shard(shard_id, request, min(deadline_s, monotonic() + discovery.ASK_TIMEOUT_S))
            except Exception as error:
                if not discovery.is_silence(error):
                    raise
                silent.append(shard_id)
            else:
                answered += [] if answer is None else [answer]
        return answered, silent

    def run_batch(self, batch: Batch) -> None:
        """Run an operation on many keys until every shard concerned has answered.

        Raises:
            RayCacheError: one of them did not; the others may have done their part.
        """
        deadline_s = monotonic() + batch.time_limit_s(self._settings.timeout_s)
        refreshes = self._refreshes
        try:
            self._attempt_batch(batch, deadline_s)
        except RETRIED as failure:
            self._persist(lambda: self._attempt_batch(batch, deadline_s), failure, deadline_s, refreshes=refreshes)

    def close(self) -> None:
        """Close all connections; operations from now on raise."""
        self._closed.set()
        self._by_slot = [None] * SLOT_COUNT
        self._table = _Table(self._table.routes, [])
        for pool in list(self._by_address.values()):
            pool.close_idle()

    def forget_connections(self) -> None:
        """Start anew in a forked child."""
        self._refreshing = threading.Lock()
        closed, self._closed = self._closed.is_set(), threading.Event()
        if closed:
            self._closed.set()
        for pool in list(self._by_address.values()):
            pool.forget()

    # -- attempts

    def _persist(
        self,
        attempt: Callable[[], T],
        failure: Exception,
        deadline_s: float,
        *,
        repeatable: bool = True,
        refreshes: int = -1,
    ) -> T:
        """Try again after `failure`, with a new topology each time, until it works or may not be tried any more."""
        attempts = Attempts(deadline_s, repeatable=repeatable, rng=self._settings.rng)
        while True:
            self._check_open(failure)
            wait = attempts.after(failure, monotonic())
            if wait.delay_s:
                self._closed.wait(wait.delay_s)
            try:
                try:
                    self._refresh(refreshes, failure, deadline_s)
                finally:
                    refreshes = self._refreshes
                return attempt()
            except RETRIED as error:
                failure = error

    def _ask_shard(self, shard_id: str, request: Request[T], deadline_s: float) -> T | None:
        self._check_open(None)
        table = self._table
        index = NOBODY if table.routes is None else table.routes.index_of(shard_id)
        return None if index == NOBODY else table.pools[index].run(request, deadline_s)

    def _attempt_batch(self, batch: Batch, deadline_s: float) -> None:
        table = self._table
        if table.routes is None or not table.pools:
            raise self._no_routes()
        orphans, rounds = batch.rounds(table.routes)
        batch.failed(orphans)
        failure: Exception | None = NoOwner(f"nobody serves the slots of {len(orphans)} keys") if orphans else None
        for parts in rounds:
            failure = self._run_round(batch, parts, table.pools, deadline_s) or failure
        if failure is not None:
            raise failure

    def _run_round(self, batch: Batch, parts: Sequence[Part], pools: list[Pool], deadline_s: float) -> Exception | None:
        """Send every part before the first reply is read, so that all shards work at once; return the last failure."""
        failure: Exception | None = None
        sent: list[tuple[Part, Pool, Connection]] = []
        replies: list[tuple[Part, Any]] = []
        try:
            # Shards ascend in every round of every thread: nobody waits for a connection in a circle.
            for part in parts:
                pool = pools[part.shard]
                try:
                    sent.append((part, pool, self._send(pool, part.frame, deadline_s)))
                except RETRIED as error:
                    failure = error
                    batch.failed(part.positions)
            while sent:
                part, pool, connection = sent[0]
                try:
                    replies.append((part, connection.receive(1, deadline_s)))
                except Lost as error:
                    failure = error
                    batch.failed(part.positions)
                    pool.discard(sent.pop(0)[2])
                else:
                    pool.give_back(sent.pop(0)[2])
        finally:
            for _, pool, connection in sent:
                pool.discard(connection)
        for part, reply in replies:
            failure = batch.take(part, reply) or failure
        return failure

    @staticmethod
    def _send(pool: Pool, frame: bytes, deadline_s: float) -> Connection:
        connection = pool.take(deadline_s)
        try:
            connection.send(frame, deadline_s)
        except BaseException:
            pool.discard(connection)
            raise
        return connection

    # -- the topology

    def _refresh(self, seen: int, failure: Exception, deadline_s: float) -> None:
        """Look for a newer topology, unless another thread has since refresh `seen`: one search at a time, for all."""
        if not self._refreshing.acquire(timeout=max(0.0, deadline_s - monotonic())):
            raise DeadlineExceededError(f"no new topology before the deadline, after: {failure}") from failure
        try:
            if self._refreshes != seen and seen >= 0:
                return
            # Counted even if it fails: those who waited for it need not ask the same silent shards again, one by one.
            self._refreshes += 1
            self._find_routes(failure, deadline_s)
        finally:
            self._refreshing.release()

    def _find_routes(self, failure: Exception, deadline_s: float) -> None:
        routes = self._table.routes
        live = {address for address, pool in list(self._by_address.items()) if pool.is_live()}
        addresses = discovery.candidates(routes, self._info, failure, live, self._settings.rng)
        try:
            found = self._search(routes, addresses, deadline_s)
        except RETRIED as error:
            if self._refresh_info is None:
                raise
            found = self._ask_ray(self._refresh_info, error, deadline_s)
        if found is not None:
            self._adopt(found)

    def _search(self, routes: Routes | None, addresses: list[Address], deadline_s: float) -> Routes | None:
        search = discovery.search(routes, addresses)
        question = requests.topology(0 if routes is None else routes.epoch)
        answer: discovery.Answer = None
        try:
            address = next(search)
            while True:
                limit_s = min(deadline_s, monotonic() + discovery.ASK_TIMEOUT_S)
                try:
                    answer = self._pool(address).run(question, limit_s)
                except (*RETRIED, RayCacheError) as error:
                    answer = error
                address = search.send(answer)
        except StopIteration as stop:
            found: Routes | None = stop.value
            return found

    def _ask_ray(self, refresh: Callable[[], ConnectionInfo], failure: Exception, deadline_s: float) -> Routes | None:
        try:
            info = background.call(refresh).result(max(0.0, deadline_s - monotonic()))
        except FutureTimeoutError:
            raise failure from None
        except BaseException as error:
            if discovery.worth_raising(error):
                raise
            raise discovery.as_failure(error) from error
        if info.secret != self._info.secret:
            self._drop(set())
        found = discovery.adopt(self._table.routes, self._info, info)
        self._info = info
        return found

    def _adopt(self, routes: Routes) -> None:
        """Use `routes` from now on. Operations in flight end on the connections that they have."""
        pools = [self._pool(address) for address in routes.addresses]
        self._table = _Table(routes, pools)
        choices: list[Pool | None] = [*pools, None]  # NOBODY is -1, the last
        self._by_slot = [choices[index] for index in routes.owners]
        self._drop(set(routes.addresses))
        if self._closed.is_set():
            self.close()

    def _drop(self, kept: set[Address]) -> None:
        for address in self._by_address.keys() - kept:
            self._by_address.pop(address).close_idle()

    def _pool(self, address: Address) -> Pool:
        pool = self._by_address.get(address)
        if pool is None:
            pool = self._by_address.setdefault(address, Pool(address, self._info.secret, self._settings))
        return pool

    def _require_routes(self) -> None:
        if self._table.routes is None:
            raise self._no_routes()

    def _no_routes(self) -> NoOwner:
        return NoOwner(_NO_ROUTES)

    def _no_owner(self, slot: int) -> NoOwner:
        return NoOwner(f"nobody serves slot {slot}") if self._table.routes is not None else self._no_routes()

    def _check_open(self, failure: Exception | None) -> None:
        if self._closed.is_set():
            raise CallerError("this handle is closed") from failure
