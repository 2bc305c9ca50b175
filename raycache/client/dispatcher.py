"""From a request to its answer, for threads: routing, retries, and a new topology when the old one fails.

What lives here: what the sync handle does with sockets and time. What to send is in `requests.py` and `batches.py`,
when to try again in `retry.py`, whom to ask for a topology in `discovery.py`. Any thread.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import replace
from time import monotonic
from typing import Any, Final, NamedTuple, TypeVar

from raycache.client import background, discovery, forks, frames, requests
from raycache.client.batches import Batch, GetMany, Part
from raycache.client.connection import Connection
from raycache.client.info import Address, ConnectionInfo, Login
from raycache.client.owners import Owners
from raycache.client.patience import PatientPool
from raycache.client.pool import Pool
from raycache.client.requests import Request
from raycache.client.results import Row
from raycache.client.retry import LOOK_INTERVAL_S, RETRIED, Attempts, Lost, NoOwner, Silent
from raycache.client.routes import NOBODY, Routes, newer
from raycache.client.settings import REPLICATED_CONNECT_TIMEOUT_S, ClientSettings
from raycache.client.wishes import PLAIN, ReadWishes
from raycache.errors import CallerError, ClusterNotFoundError, DeadlineExceededError, RayCacheError
from raycache.ring.slots import SLOT_COUNT, slot_of

T = TypeVar("T")

_NO_ROUTES: Final = "the cluster's topology is not known yet"


class Table(NamedTuple):
    """One topology with its pools; replaced as a whole."""

    routes: Routes | None
    pools: list[Pool]
    """In the order of `routes.addresses`."""
    patient: list[PatientPool]
    """In front of them, where slots have several copies; else empty."""


class Dispatcher:
    """One cluster, as the threads of this process reach it."""

    def __init__(
        self, info: ConnectionInfo, settings: ClientSettings, refresh_info: Callable[[], ConnectionInfo] | None
    ) -> None:
        self._info = info
        self._settings = settings
        self._timeout_s = settings.timeout_s
        self._refresh_info = refresh_info
        self._by_address: dict[Address, Pool] = {}
        self._patient: dict[Address, PatientPool] = {}
        self._table = Table(None, [], [])
        self._by_slot: Sequence[Pool | PatientPool | None] = [None] * SLOT_COUNT
        self._owners = Owners(self, settings)
        self._refreshing = threading.Lock()
        self._refreshes = 0
        self._look_not_before_s = 0.0
        self._written: set[str] = set()
        self._closed = threading.Event()
        routes = newer(None, info.topology, settings.place)
        if routes is not None:
            self._adopt(routes)
        forks.watch(self)

    @property
    def info(self) -> ConnectionInfo:
        """What another process needs to reach the same cluster, with the newest topology known here."""
        routes, info = self._table.routes, self._info
        topology = info.topology if routes is None else routes.topology.to_bytes()
        return replace(info, topology=topology)

    @property
    def login(self) -> Login:
        """How connections begin."""
        return self._info.login

    @property
    def table(self) -> Table:
        """What is in use now."""
        return self._table

    @property
    def refreshes(self) -> int:
        """How often a newer topology has been looked for."""
        return self._refreshes

    def routes(self) -> Routes:
        """Return the present routes; asks for them if none are known.

        Raises:
            RayCacheError: nobody could be asked before the deadline.
        """
        while True:
            routes = self._table.routes
            if routes is not None:
                return routes
            self.persist(self._require_routes, self._no_routes(), monotonic() + self._settings.timeout_s)

    def routes_after(self, shard_id: str) -> Routes:
        """Return the present routes; where slots have several copies, none older than what `shard_id` knows.

        Raises:
            RayCacheError: see `raycache.errors`.
        """
        routes = self.routes()
        if routes.copies > 1:
            found = newer(routes, self.run_on_shard(shard_id, requests.topology(routes.epoch)), self._settings.place)
            with self._refreshing:
                if found is not None and (self._table.routes is None or found.epoch > self._table.routes.epoch):
                    self._adopt(found)
        return self.routes()

    def pause(self, delay_s: float) -> None:
        """Wait, but no longer than until the handle is closed.

        Raises:
            CallerError: it is.
        """
        self._closed.wait(delay_s)
        self._check_open(None)

    def look_around(self, failure: Exception) -> None:
        """Look for a newer topology after a read that had to go elsewhere: otherwise every read would have to."""
        now_s = monotonic()
        if now_s >= self._look_not_before_s:
            self._look_not_before_s = now_s + LOOK_INTERVAL_S
            with contextlib.suppress(*RETRIED, RayCacheError):  # the read has been answered
                self._refresh(self._refreshes, failure, now_s + discovery.BRISK_ASK_TIMEOUT_S)

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
        if self._table.patient:
            return self._owners.run(key, slot, request, failure, deadline_s, refreshes)
        return self._run_again(slot, request, failure, deadline_s, refreshes)

    def get(self, key: bytes) -> Any:
        """Do what `run` does with `requests.get(key)`, and make a request of it only where it is tried again. HOT."""
        slot = slot_of(key)
        pool = self._by_slot[slot]
        if type(pool) is not Pool:
            return self.run(key, requests.get(key))
        deadline_s = monotonic() + self._timeout_s
        refreshes = self._refreshes
        try:
            return pool.ask(frames.get(key), requests.payload, deadline_s)
        except RETRIED as error:
            failure = error
        return self._run_again(slot, requests.get(key), failure, deadline_s, refreshes)

    def _run_again(self, slot: int, request: Request[T], failure: Exception, deadline_s: float, refreshes: int) -> T:
        # Not in `run`: what a function inside uses, the one around it reads more slowly, every time.
        def attempt() -> T:
            found = self._by_slot[slot]
            if found is None:
                raise self._no_owner(slot)
            return found.run(request, deadline_s)

        return self.persist(attempt, failure, deadline_s, repeatable=request.repeatable, refreshes=refreshes)

    def read(self, key: bytes, request: Request[T], wishes: ReadWishes) -> T:
        """Run a read of one key that any of its owners may answer.

        Raises:
            RayCacheError: see `raycache.errors`.
        """
        if wishes.is_plain or self.routes().copies == 1:
            return self.run(key, request)
        return self._owners.read(key, request, wishes)

    def read_many(self, keys: list[bytes], wishes: ReadWishes) -> list[Row]:
        """Return a row of RC.READ for each of `keys`, from whichever owners answer.

        Raises:
            RayCacheError: one of the keys' slots could not be read; see `raycache.errors`.
        """
        self.routes()
        return self._owners.read_many(keys, wishes)

    def read_values(self, batch: GetMany, wishes: ReadWishes) -> None:
        """Run `batch` over whichever owners answer; errors as `read_many`."""
        if wishes.is_plain or self.routes().copies == 1:
            self.run_batch(batch)
        else:
            self._owners.finish(batch, wishes)

    def written(self) -> set[str]:
        """Return the ids of the shards that something has been written to, as far as slots have several copies."""
        table = self._table
        ids = [] if table.routes is None else table.routes.shard_ids
        return self._written.union(id for id, pool in zip(ids, table.patient, strict=False) if pool.has_written)

    def clocks(self) -> list[tuple[int, int]]:
        """Return the number and the clock's reading of each shard written to, or of all; nothing with one copy.

        Raises:
            RayCacheError: one of them has not answered.
        """
        return [] if self.routes().copies == 1 else self._owners.clocks()

    def run_on_shard(self, shard_id: str, request: Request[T]) -> T | None:
        """Run a request on one shard wherever it lives; None if the shard has left the cluster, or is lost.

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
            return self.persist(attempt, failure, deadline_s, repeatable=request.repeatable, refreshes=refreshes)

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
            if isinstance(batch, GetMany) and self._table.patient:
                self._owners.finish(batch, PLAIN, deadline_s)
                return
            self.persist(lambda: self._attempt_batch(batch, deadline_s), failure, deadline_s, refreshes=refreshes)

    def close(self) -> None:
        """Close all connections; operations from now on raise."""
        self._closed.set()
        self._by_slot = [None] * SLOT_COUNT
        self._table = Table(self._table.routes, [], [])
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

    def persist(
        self,
        attempt: Callable[[], T],
        failure: Exception,
        deadline_s: float,
        *,
        repeatable: bool = True,
        refreshes: int = -1,
    ) -> T:
        """Try again after `failure`, with a new topology each time, until it works or may not be tried any more."""
        brisk = bool(self._table.patient)
        attempts = Attempts(deadline_s, repeatable=repeatable, rng=self._settings.rng, brisk=brisk)
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
        index = NOBODY if table.routes is None else table.routes.index_of_living(shard_id)
        return None if index == NOBODY else (table.patient or table.pools)[index].run(request, deadline_s)

    def _attempt_batch(self, batch: Batch, deadline_s: float) -> None:
        table = self._table
        if table.routes is None or not table.pools:
            raise self._no_routes()
        orphans, rounds = batch.rounds(self._owners.choice(batch) if table.patient else table.routes)
        batch.failed(orphans)
        failure: Exception | None = NoOwner(f"nobody serves the slots of {len(orphans)} keys") if orphans else None
        for parts in rounds:
            if table.patient:
                failure = self._owners.run_round(batch, parts, table.patient, deadline_s) or failure
            else:
                failure = self._run_round(batch, parts, table.pools, deadline_s) or failure
        if failure is not None:
            raise failure

    def _run_round(self, batch: Batch, parts: Sequence[Part], pools: list[Pool], deadline_s: float) -> Exception | None:
        """Send every part before the first reply is read, so that all shards work at once; return the last failure."""
        failure: Exception | None = None
        refusal: Exception | None = None
        sent: list[tuple[Part, Pool, Connection]] = []
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
                    reply = connection.receive(1, deadline_s)
                except Lost as error:
                    failure = error
                    batch.failed(part.positions)
                    pool.discard(sent.pop(0)[2])
                    continue
                pool.give_back(sent.pop(0)[2])
                try:
                    failure = batch.take(part, reply) or failure  # while the other shards still work
                except RayCacheError as error:
                    refusal = refusal or error
        finally:
            for _, pool, connection in sent:
                pool.discard(connection)
        if refusal is not None:
            raise refusal
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
        suspects = [pool.address for pool in self._table.patient if pool.is_doubtful]
        addresses = discovery.candidates(routes, self._info, failure, live, self._settings.rng, suspects)
        try:
            found = self._search(routes, addresses, suspects, deadline_s)
        except (*RETRIED, ClusterNotFoundError) as error:
            if self._refresh_info is None:
                raise
            found = self._ask_ray(self._refresh_info, error, deadline_s)
        if found is not None:
            self._adopt(found)

    def _search(self, routes: Routes | None, addresses: list[Address], silent: list[Address],
                deadline_s: float) -> Routes | None:
        search = discovery.search(routes, addresses, self._settings.place, self._info.cluster)
        ask_timeout_s = discovery.BRISK_ASK_TIMEOUT_S if self._table.patient else discovery.ASK_TIMEOUT_S
        question = requests.topology(0 if routes is None else routes.epoch, silent)
        answer: discovery.Answer = None
        try:
            address = next(search)
            while True:
                limit_s = min(deadline_s, monotonic() + ask_timeout_s)
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
        if info.login != self._info.login:
            self._drop(set())
        found = discovery.adopt(self._table.routes, self._info, info, self._settings.place)
        self._info = info
        return found

    def _adopt(self, routes: Routes) -> None:
        """Use `routes` from now on. Operations in flight end on the connections that they have."""
        self._written = self.written()  # a shard that comes back elsewhere has another pool
        pools = [self._pool(address) for address in routes.addresses]
        patient = [self._with_patience(pool) for pool in pools] if routes.copies > 1 else []
        self._table = Table(routes, pools, patient)
        choices: list[Pool | PatientPool | None] = [*(patient or pools), None]  # NOBODY is -1, the last
        self._by_slot = [choices[index] for index in routes.owners]
        self._drop(set(routes.addresses))
        if self._closed.is_set():
            self.close()

    def _drop(self, kept: set[Address]) -> None:
        for address in self._by_address.keys() - kept:
            self._patient.pop(address, None)
            self._by_address.pop(address).close_idle()

    def _pool(self, address: Address) -> Pool:
        pool = self._by_address.get(address)
        if pool is None:
            pool = self._by_address.setdefault(address, Pool(address, self._info.login, self._settings))
        return pool

    def _with_patience(self, pool: Pool) -> PatientPool:
        patient = self._patient.get(pool.address)
        if patient is None or patient.pool is not pool:
            patient = self._patient[pool.address] = PatientPool(pool, self._settings.hedge_s, self._is_replaced)
        pool.connect_timeout_s = min(pool.connect_timeout_s, REPLICATED_CONNECT_TIMEOUT_S)
        return patient

    def _is_replaced(self, address: Address, deadline_s: float) -> bool:
        """Look for a newer topology; return whether others have taken over for the shard at `address`."""
        routes = self._table.routes
        if routes is None or not routes.is_retired(address):
            with contextlib.suppress(*RETRIED):  # nobody knows more, for now
                self._refresh(self._refreshes, Silent(f"{address[0]}:{address[1]} does not answer"), deadline_s)
            routes = self._table.routes
        return routes is not None and routes.is_retired(address)

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
