"""What a cluster is used for, as a handle shows it: the hottest keys and every decorated function.

What lives here: frozen values built from the shards' RC.TOP. What a shard knows, and how far that is true, stands in
`raycache.usage`. Immutable, any thread.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import msgpack

from raycache.client.stats import slowest
from raycache.errors import ProtocolError
from raycache.usage.rows import FunctionUse

MAX_COUNT: Final = 128


def check_count(count: int) -> None:
    """Make sure that a shard can be asked for so many keys.

    Raises:
        ValueError: it cannot.
    """
    if not 1 <= count <= MAX_COUNT:
        raise ValueError(f"count must be 1 to {MAX_COUNT}, not {count}")


def shown_key(key: bytes) -> str:
    """Return a key as one line of printable text, whatever is in it: other bytes and characters as escapes."""
    text = key.decode("utf-8", "backslashreplace")
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


@dataclass(frozen=True, slots=True)
class HotKey:
    """A key that is used often."""

    key: bytes
    """Its first 256 bytes."""
    shard_id: str
    """The shard that says so."""
    share: float
    """Its part of that shard's requests of the last 10 to 20 seconds, 0 to 1: an estimate from samples."""
    error: float
    """By how much `share` may be too high on account of the sketch."""
    per_s: float
    """`share` of the shard's commands a second."""


@dataclass(frozen=True, slots=True)
class ShardUse:
    """What one shard answers to RC.TOP."""

    shard_id: str
    looks: float
    """How many samples the shares come from; older ones count less."""
    commands_per_s: float
    keys: tuple[HotKey, ...]
    functions: dict[str, FunctionUse]
    latency: dict[str, dict[str, float]] = field(default_factory=dict)
    """As in `ShardStats.latency`."""

    @classmethod
    def from_bytes(cls, data: bytes) -> ShardUse:
        """Return what RC.TOP answered.

        Raises:
            ProtocolError: the bytes are something else.
        """
        try:
            given: dict[str, Any] = msgpack.unpackb(data)
            shard_id, looks, rate = given["shard_id"], given["looks"], given["commands_per_s"]
            keys = tuple(HotKey(key, shard_id, count / looks, error / looks, count / looks * rate)
                         for key, count, error in given["keys"])
            functions = {name: FunctionUse.of_row(row) for name, row in given["functions"].items()}
            return cls(shard_id, looks, rate, keys, functions, given.get("latency", {}))
        except Exception as error:  # msgpack raises half a dozen kinds; here they all mean one thing
            raise ProtocolError(f"a shard's account of its use cannot be read: {error!r}") from error


@dataclass(frozen=True, slots=True)
class ClusterUse:
    """The shards that answered, together."""

    cluster: str
    keys: tuple[HotKey, ...]
    """The hottest first."""
    functions: dict[str, FunctionUse]
    """By name; what saves most time first. Counted since each shard started, as handles have told: once a second."""
    looks: float
    commands_per_s: float
    unreachable: tuple[str, ...] = ()
    """Ids of shards that did not answer before the deadline."""
    latency: dict[str, dict[str, float]] = field(default_factory=dict)
    """By class of commands: the slowest shard's {"p50_us", "p99_us"}, and "count" over all shards."""

    @classmethod
    def of(cls, cluster: str, answered: Iterable[ShardUse], asked: Iterable[str], count: int) -> ClusterUse:
        """Return the sum over the shards that answered; the others of `asked` were not reached."""
        shards = list(answered)
        functions: dict[str, FunctionUse] = {}
        for shard in shards:
            for name, use in shard.functions.items():
                functions.setdefault(name, FunctionUse()).add(use)
        keys = [key for shard in shards for key in shard.keys]
        keys.sort(key=lambda key: (-key.per_s, -key.share, key.key))
        ranked = dict(sorted(functions.items(), key=lambda pair: (-pair[1].saved_s, -pair[1].calls, pair[0])))
        return cls(cluster, tuple(keys[:count]), ranked, sum(shard.looks for shard in shards),
                   sum(shard.commands_per_s for shard in shards),
                   tuple(sorted(set(asked) - {shard.shard_id for shard in shards})),
                   slowest(shard.latency for shard in shards))
