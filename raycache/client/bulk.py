"""Many entries at once, as they are: for filling and copying caches, not for programs that use one.

What lives here: the batches of RC.PRESENT, RC.MADD and RC.MPEEK, the questions RC.HOTTEST and RC.RECORD, and `Bulk`,
which asks them through a handle's own connections. What does not: when, and how fast (`raycache.warming`).
Values stay encoded: what is copied is the same to the last bit, whatever it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, zip_longest
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import msgpack

from raycache.client import frames, requests
from raycache.client.batches import MAX_BYTES, MAX_KEYS, Batch, Part
from raycache.client.leasing import FillMany, FreeMany, TakeMany
from raycache.client.requests import Question
from raycache.client.sync import Cache
from raycache.errors import ProtocolError
from raycache.loading.steps import Filling

_MADD_KEYS: Final = MAX_KEYS // 2
"""Four arguments a key, and a command has 65,536 at most."""
_MPEEK_KEYS: Final = 512
"""The reply is as large as the values are."""


class RawEntry(NamedTuple):
    """An entry as a shard holds it."""

    key: bytes
    kind: int
    data: bytes
    left_ms: int
    """Milliseconds to live; 0: for ever."""


class Recorded(NamedTuple):
    """What one shard has recorded since it was asked before."""

    dropped: int
    events: list[tuple[int, str, int, int, bytes]]
    """Unix ms, "r" hit, "m" miss, "w" written or "d" deleted, bytes of the value, ms to live, key."""


class _Rows(Batch):
    """A batch whose replies have a row for each key; `rows` are in the order of the keys."""

    name: bytes

    def __init__(self, keys: list[bytes]) -> None:
        super().__init__(keys)
        self.rows: list[Any] = [None] * len(keys)

    def frame(self, positions: list[int]) -> bytes:
        return frames.command(self.name, *self._keys(positions))

    def accept(self, part: Part, reply: Any) -> None:
        if type(reply) is not list or len(reply) != len(part.positions):
            raise ProtocolError(f"a shard answered {self.name.decode()} with {reply!r:.100}")
        for position, row in zip(part.positions, reply, strict=True):
            self.rows[position] = row


class _Present(_Rows):
    name = b"RC.PRESENT"


class _Peek(_Rows):
    name = b"RC.MPEEK"

    def fitting(self, positions: list[int]) -> int:
        return _MPEEK_KEYS


class _Add(_Rows):
    name = b"RC.MADD"

    def __init__(self, entries: Sequence[RawEntry]) -> None:
        super().__init__([entry.key for entry in entries])
        self._entries = entries

    def fitting(self, positions: list[int]) -> int:
        size = 0
        for count, position in enumerate(positions[:_MADD_KEYS]):
            size += len(self._entries[position].data)
            if size > MAX_BYTES and count:
                return count
        return _MADD_KEYS

    def frame(self, positions: list[int]) -> bytes:
        parts = [self.name]
        for position in positions:
            key, kind, data, left_ms = self._entries[position]
            parts += (key, b"%d" % kind, b"%d" % left_ms, data)
        return frames.command(*parts)


class Bulk:
    """What warming, copying and recording ask of a cluster. Any thread; errors are those of the handle.

    As a context it closes the handle at the end.
    """

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._dispatcher = cache._dispatcher

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cache.close()

    @property
    def cluster(self) -> str:
        """The cluster's name."""
        return self._cache.cluster

    def present(self, keys: Sequence[bytes]) -> list[bool]:
        """Return which of `keys` are there. That is no use of them."""
        batch = _Present(list(keys))
        self._dispatcher.run_batch(batch)
        return [row == 1 for row in batch.rows]

    def add(self, entries: Sequence[RawEntry]) -> list[bool]:
        """Store those `entries` whose keys are absent; return which. A retry may find its own work and say False."""
        batch = _Add(entries)
        self._dispatcher.run_batch(batch)
        return [row == 1 for row in batch.rows]

    def take_leases(self, keys: Sequence[bytes], lease_s: float) -> list[int]:
        """Ask for the right to load `keys`, for so many seconds, without waiting.

        Returns:
            a token for each; 0: the key is there, or somebody else loads it; below 0: too many are being loaded.
        """
        batch = TakeMany(list(keys), [b""] * len(keys), lease_s)
        self._dispatcher.run_batch(batch)
        return [answer if type(answer) is int else 0 for answer in batch.answers]

    def fill(self, entries: Sequence[RawEntry], tokens: Sequence[int]) -> list[bool]:
        """Store `entries` under their tokens; return which were: no key that was written or deleted since."""
        batch = FillMany([Filling(entry.key, token, entry.kind, entry.data, entry.left_ms)
                          for entry, token in zip(entries, tokens, strict=True)])
        self._dispatcher.run_batch(batch)
        return [answer == 1 for answer in batch.stored]

    def free(self, leases: Sequence[tuple[bytes, int]]) -> None:
        """Give back what will not be filled: (key, token) of each."""
        self._dispatcher.run_batch(FreeMany(leases, b""))

    def peek(self, keys: Sequence[bytes]) -> list[RawEntry | None]:
        """Return the entries of `keys` as they are, None for what is absent. That is no use of them."""
        batch = _Peek(list(keys))
        self._dispatcher.run_batch(batch)
        return [_entry(key, row) for key, row in zip(batch.keys, batch.rows, strict=True)]

    def hottest(self, count: int) -> list[bytes] | None:
        """Return up to `count` keys, those first that the shards would evict last; None: their policy cannot tell.

        A shard tells at most 100,000. Shards cannot compare themselves, so the lists are dealt out in turns.
        """
        found: list[list[bytes]] = []
        for shard_id in self.shard_ids():
            answer = self._dispatcher.run_on_shard(shard_id, _hottest(count))
            if answer is not None and answer[0]:
                found.append(answer[1])
        if not found:
            return None
        dealt = chain.from_iterable(zip_longest(*found))
        return list(dict.fromkeys(key for key in dealt if key is not None))[:count]

    def every_key(self) -> Iterator[bytes]:
        """Yield all keys, as `Cache.scan` does."""
        return self._cache.scan(b"")

    def entries(self) -> int:
        """Return how many entries there are, copies included."""
        return self._cache.stats().entries

    def shard_ids(self) -> list[str]:
        """Return the ids of the shards that serve now."""
        return list(self._dispatcher.routes().serving())

    def record(self, shard_id: str, recorder: bytes, sample: float, lease_ms: int) -> Recorded | None:
        """Begin or go on recording at a shard, and fetch what it has; None: the shard is gone."""
        words = (b"RC.RECORD", b"READ", recorder, b"%d" % max(1, round(sample * 1_000_000)), b"%d" % lease_ms)
        return self._dispatcher.run_on_shard(shard_id, Question(frames.command(*words), _recorded))

    def stop_recording(self, shard_id: str, recorder: bytes) -> None:
        """End a recording at a shard."""
        question = Question(frames.command(b"RC.RECORD", b"STOP", recorder), lambda _: None)
        self._dispatcher.run_on_shard(shard_id, question)

    def get_sizes(self, keys: Sequence[bytes]) -> list[int | None]:
        """Read `keys` as a client does, as a use of each; return the bytes of their values, None for a miss."""
        batch = _Get(list(keys))
        self._dispatcher.run_batch(batch)
        return [None if row is None else len(row) - 1 for row in batch.rows]

    def put(self, key: bytes, data: bytes, left_ms: int) -> None:
        """Store bytes, whatever was there."""
        self._dispatcher.run(key, requests.store(key, data, left_ms / 1000 if left_ms else None))

    def delete(self, key: bytes) -> None:
        """Remove a key."""
        self._dispatcher.run(key, requests.delete(key))


class _Get(_Rows):
    name = b"RC.MGET"

    def fitting(self, positions: list[int]) -> int:
        return _MPEEK_KEYS


def _entry(key: bytes, row: Any) -> RawEntry | None:
    if row is None:
        return None
    try:
        payload, left_ms = row
        return RawEntry(key, payload[0], payload[1:], left_ms)
    except (TypeError, ValueError, IndexError):
        raise ProtocolError(f"a shard answered RC.MPEEK with {row!r:.100}") from None


def _hottest(count: int) -> Question[tuple[bool, list[bytes]]]:
    def decode(reply: Any) -> tuple[bool, list[bytes]]:
        try:
            ranked, keys = reply
            return ranked == 1, list(keys)
        except (TypeError, ValueError):
            raise ProtocolError(f"a shard answered RC.HOTTEST with {reply!r:.100}") from None

    return Question(frames.command(b"RC.HOTTEST", b"%d" % count), decode)


def _recorded(reply: Any) -> Recorded:
    try:
        dropped, events = msgpack.unpackb(reply)
        return Recorded(dropped, [(at, op, size, left_ms, key) for at, op, size, left_ms, key in events])
    except Exception as error:  # msgpack raises half a dozen kinds
        raise ProtocolError(f"a shard answered RC.RECORD with {reply!r:.100}") from error
