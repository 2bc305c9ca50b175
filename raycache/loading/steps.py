"""What the engine asks its driver to do, one thing at a time.

What lives here: one small class for each thing, and what comes back. The engine's functions are generators that yield
these; the sync handle does them with sockets and threads (`raycache.client.through`), the async handle with its loop
(`raycache.client.aio_through`), a test by hand. If doing it raises, the generator gets the exception.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

from raycache.codec.parts import Parts
from raycache.descriptor import Descriptor

T = TypeVar("T")

Steps = Generator[Any, Any, T]
Answer = bytes | int
"""Of RC.LEASE: see `raycache.shard.commands.leases`."""


class Outcome(NamedTuple):
    """What a flight has brought for those who joined it."""

    aged: bytes | None = None
    """The value as the cache would give it; None: look again."""
    error: Exception | None = None
    """Why the loader has failed."""
    stage: int = 0
    """The flight's stage when the value was asked for, or sent to be stored: it is for those who had joined before."""


LOOK_AGAIN = Outcome()


class Flight:
    """One key's load, as one handle knows it; whoever leads it finishes it."""

    __slots__ = ("done", "error", "is_dropped", "is_queued", "key", "outcome", "stage", "until_s")

    def __init__(self, key: bytes, done: Any) -> None:
        self.key = key
        self.done = done
        """What the handle waits with."""
        self.outcome = LOOK_AGAIN
        self.stage = 0
        """Counts what its leader has sent to the shard. Whoever joins after that may have begun after a write that the
        answer, already on its way, knows nothing of."""
        self.until_s = math.inf
        """When its lease is over, on the engine's clock; not known before there is one."""
        self.error: Exception | None = None
        """Why its loader has failed, or what that brought cannot be stored: those who joined hear of it. None where
        something else has failed, such as asking for the lease: they go on by themselves."""
        self.is_queued = False
        """Whether it is a refresh that waits for its turn, perhaps behind loaders that hang."""
        self.is_dropped = False
        """Whether somebody who needs the value has gone past it: it is not to begin any more."""


@dataclass(slots=True)
class Fetch:
    """Read `keys`, and the generations of `tags`, all at once -> (aged payload or None for each key, {tag: number or
    None}).

    If `may_be_near`, the answer may be what the handle keeps near, and has `Found` in place of some payloads; then
    `was_near` is set.
    """

    keys: Sequence[bytes]
    tags: Sequence[bytes] = ()
    may_be_near: bool = False
    was_near: bool = False


@dataclass(slots=True)
class TakeLeases:
    """Ask for leases without waiting -> an answer for each key."""

    keys: Sequence[bytes]
    seen: Sequence[bytes]
    lease_s: float


@dataclass(slots=True)
class WaitForLease:
    """Ask for a lease, and wait at the shard while somebody else has it -> an answer; None: the shard is silent."""

    key: bytes
    seen: bytes
    lease_s: float
    wait_s: float


class Filling(NamedTuple):
    """One value for its lease."""

    key: bytes
    token: int
    kind: int
    data: bytes
    px: int
    parts: Parts | None = None
    """Of a large value: what it consists of. Then `data` is only what stands in front of it."""

    @property
    def whole(self) -> Filling:
        """The same with everything in `data`. Of a large value that costs a copy."""
        return self if self.parts is None else self._replace(data=self.data + self.parts.data, parts=None)


@dataclass(slots=True)
class Fill:
    """Store what was loaded, large values as objects -> for each 1, 2 or 0 (see RC.FILL); 0 where the shard cannot be
    reached. Never raises."""

    fillings: Sequence[Filling]


@dataclass(slots=True)
class Bring:
    """Fetch a large value -> (True, the value), or where its object cannot be had (False, the whole aged payload that
    the key has now, or None)."""

    key: bytes
    descriptor: Descriptor


@dataclass(slots=True)
class Free:
    """Give up leases, with a text if the loader failed -> None. Never raises, and need not wait."""

    leases: Sequence[tuple[bytes, int]]
    text: bytes = b""


@dataclass(slots=True)
class Generations:
    """Read the generations of tags, and make those that are missing -> {tag: number}."""

    tags: Sequence[bytes]


@dataclass(slots=True)
class Call(Generic[T]):
    """Call the caller's loader, and wait for what it returns -> that.

    `keys` are loaded meanwhile, as far as the caller's context is concerned (`basics.loading`).
    """

    function: Callable[..., Any]
    keys: Sequence[bytes]
    arguments: tuple[Any, ...] = field(default=())


@dataclass(slots=True)
class Join:
    """Wait for a flight that somebody else leads -> whether it ended in time."""

    flight: Flight
    timeout_s: float


@dataclass(slots=True)
class Spawn:
    """Do `work` in the background -> whether there is room for it; if not, it is not started."""

    work: Steps[None]


@dataclass(slots=True)
class Look:
    """Read a key with its version -> (version, payload), or None."""

    key: bytes


@dataclass(slots=True)
class CompareAndSet:
    """Write a key if it has this version (0: is absent); px as RC.CAS takes it -> whether it was written. Errors as
    `encode`."""

    key: bytes
    version: int
    value: Any
    px: int


@dataclass(slots=True)
class Pause:
    """Do nothing for a while -> None."""

    seconds: float
