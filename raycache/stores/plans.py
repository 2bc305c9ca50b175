"""What reading and writing through to a store consists of, for both handles: plans of steps.

What lives here: the order of steps, which is where all the guarantees come from, and what an error means. What does
not: doing them, which a handle does in its own way (`backed`, `backed_aio`). Pure: a plan is a generator that yields
steps, is sent what they answered or thrown what they raised, and returns the result.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from raycache.client.arguments import TimeToLive
from raycache.client.batches import Batch, DeleteMany, SetMany
from raycache.client.retry import RETRIED
from raycache.client.routes import Routes
from raycache.client.wishes import write_options
from raycache.codec import decode_payload
from raycache.errors import (
    CacheNotWrittenError,
    NotEnoughReplicasError,
    RayCacheError,
    StoreRefusedError,
    StoreUnavailableError,
)
from raycache.stores.config import Attachment
from raycache.stores.protocol import BackingStore, Deletion, Write
from raycache.stores.wire import DELETE, FillMany, FreeMany, LeaseMany, PendingMany, QueueMany, encoded

LEASE_S: Final = 30.0
"""How long nobody else may fill a key while it is written to the database. A write that takes longer leaves the key
absent."""
LEASE_ATTEMPTS: Final = 5
RETRY_S: Final = 0.05
"""Between two attempts to queue on enough shards."""


@dataclass(frozen=True, slots=True)
class Run:
    """Run an operation on many keys."""

    batch: Batch


@dataclass(frozen=True, slots=True)
class Call:
    """Call what blocks: the store."""

    function: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Look:
    """Return the present routes."""


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait so many seconds; return monotonic seconds."""

    seconds: float


Plan = Generator[Run | Call | Look | Sleep, Any, Any]
MISSING: Final = object()


class Plans:
    """The plans for one store.

    Args:
        store: opens it, or returns it.
        timeout_s: how long a write may go on looking for enough shards, in seconds.
    """

    def __init__(self, attachment: Attachment, store: Callable[[], BackingStore], timeout_s: float) -> None:
        self._attachment = attachment
        self._name = attachment.name
        self._store = store
        self._timeout_s = timeout_s

    # Reading

    def loading(self, keys: Sequence[bytes]) -> Plan:
        """Return from the store what it has of `keys`, or will have: what waits for it counts."""
        found: dict[bytes, Any] = {}
        rest = list(keys)
        if self._attachment.write == "behind":
            # In this order: what does not wait any more is in the database by then.
            pending = PendingMany(self._name, rest)
            yield Run(pending)
            rest = []
            for key, payload in zip(keys, pending.payloads, strict=True):
                if payload is None:
                    rest.append(key)
                elif payload:
                    found[key] = decode_payload(payload)
        if rest:
            names = {key.decode(): key for key in rest}
            loaded = yield Call(lambda: self._guarded(lambda store: store.load_many(list(names)), "nothing was read"))
            found |= {names[name]: value for name, value in loaded.items()}
        return found

    def _guarded(self, work: Callable[[BackingStore], Any], outcome: str) -> Any:
        """Call the store; whatever it raises becomes an error of ours, without passwords."""
        try:
            return work(self._store())
        except (StoreRefusedError, StoreUnavailableError):
            raise
        except (ValueError, TypeError, OverflowError) as error:
            raise StoreRefusedError(self._attachment.clean(error)) from error
        except Exception as error:
            text = self._attachment.clean(f"{type(error).__name__}: {error}")
            raise StoreUnavailableError(f"{text}; {outcome}") from error

    # Writing

    def storing(self, values: Mapping[bytes, Any], ttl: TimeToLive) -> Plan:
        """Store values, as the store is attached. Nothing is changed if one of them cannot be encoded."""
        keys = list(values)
        given = {key: encoded(value) for key, value in values.items()}
        for key in keys:
            _text(key)
        if self._attachment.write == "behind":
            yield from self._queueing(keys, list(given.values()), ttl)
        elif self._attachment.write == "through":
            writes = [Write(key.decode(), value) for key, value in values.items()]
            yield from self._through(given, ttl, lambda store: store.store_many(writes))
        elif keys:
            yield Run(SetMany(keys, list(values.values()), ttl))

    def deleting(self, given: Sequence[bytes]) -> Plan:
        """Delete keys, as the store is attached."""
        keys = list(dict.fromkeys(given))
        for key in keys:
            _text(key)
        if self._attachment.write == "behind":
            yield from self._queueing(keys, [DELETE] * len(keys), None)
        elif self._attachment.write == "through":
            deletions = [Deletion(key.decode()) for key in keys]
            yield from self._through(dict.fromkeys(keys), None, lambda store: store.delete_many(deletions))
        elif keys:
            yield Run(DeleteMany(keys))

    def _queueing(self, keys: list[bytes], values: Sequence[tuple[bytes, bytes]], ttl: TimeToLive) -> Plan:
        """Write and queue, on as many shards as there are copies; while there are fewer, try again."""
        if not keys:
            return
        routes: Routes = yield Look()
        mode, acks = routes.topology.replication, routes.copies - 1
        # In quorum mode the shard waits for its write quorum by itself.
        options = None if not acks else write_options(0 if mode == "quorum" else acks, 0, self._timeout_s)
        end_s = (yield Sleep(0.0)) + self._timeout_s
        while True:
            try:
                yield Run(QueueMany(self._name, keys, values, ttl, options))
                return
            except NotEnoughReplicasError as error:
                if (yield Sleep(RETRY_S)) > end_s:
                    raise NotEnoughReplicasError(f"{error}; the write may or may not last") from error

    def _through(self, values: Mapping[bytes, tuple[bytes, bytes] | None], ttl: TimeToLive,
                 write: Callable[[BackingStore], None]) -> Plan:
        """The database first, then the cache.

        Before the database is touched the old value is removed, and the right to fill the key taken, so that nobody
        can bring the old value back meanwhile: who reads waits. After it the value is filled in under that right. If
        another writer has taken it, nobody knows whose write came last in the database, and the key is removed.
        """
        keys = list(values)
        if not keys:
            return
        tokens: dict[bytes, int] = yield from self._leased(keys)
        try:
            yield Call(lambda: self._guarded(write, "the write may or may not have happened"))
        except BaseException:
            yield from self._given_up(tokens)
            raise
        try:
            filled = {key: value for key, value in values.items() if value is not None and key in tokens}
            fill = FillMany(list(filled), [tokens[key] for key in filled], list(filled.values()), ttl)
            if filled:
                yield Run(fill)
            rest = [key for key in keys if key not in filled] + [fill.keys[position] for position in fill.void]
            if rest:
                yield Run(DeleteMany(rest))
        except (RayCacheError, *RETRIED) as error:
            what = "the cache has neither this nor the value before it, and the next read loads it"
            if len(tokens) < len(keys):
                what = f"for at most {LEASE_S:g} s or its time to live the cache may serve the value before it"
            raise CacheNotWrittenError(f"the database has the write, the cache has not: {error}; {what}") from error

    def _leased(self, keys: list[bytes]) -> Plan:
        """Remove `keys` from the cache and take the right to fill them; return a token for each where that worked."""
        tokens: dict[bytes, int] = {}
        rest = keys
        for _ in range(LEASE_ATTEMPTS):
            yield Run(DeleteMany(rest))  # voids the rights of those who are loading
            lease = LeaseMany(rest, LEASE_S)
            yield Run(lease)
            taken = list(zip(rest, lease.tokens, strict=True))
            tokens |= {key: token for key, token in taken if token is not None and token > 0}
            rest = [key for key, token in taken if token is not None and token <= 0]
            if not rest:
                break
        return tokens

    def _given_up(self, tokens: Mapping[bytes, int]) -> Plan:
        if tokens:
            try:
                yield Run(FreeMany(list(tokens), list(tokens.values())))
            except (RayCacheError, *RETRIED):
                return  # they run out


def _text(key: bytes) -> None:
    """Refuse a key that is no text: databases have no other keys here.

    Raises:
        ValueError: it is none.
    """
    try:
        key.decode()
    except UnicodeDecodeError:
        raise ValueError(f"a key that goes to a database must be text, not {key!r:.100}") from None
