"""Watching a cluster from outside: which topologies its shards hold, and since when.

What lives here: asking every shard many times a second, without Ray. What does not: who made the change.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import msgpack
import numpy as np
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from benchmarks.harness.servers import ServerFailedError
from raycache.ring.topology import ShardInfo, Topology

POLL_S: Final = 0.02
REPLY_TIMEOUT_S: Final = 0.5
# Bounded load lets a shard own 1/32 more than its share of slots.
EVEN: Final = 1.05


@dataclass(frozen=True, slots=True)
class Sighting:
    """A topology, and when the first shard was seen to hold it, on the monotonic clock."""

    seen_s: float
    topology: Topology


class Watcher:
    """Asks the shards of one cluster for newer topologies until it is closed."""

    def __init__(self, addresses: Iterable[str], secret: str) -> None:
        self._secret = secret
        self._known: set[tuple[str, int]] = set()
        self._sightings: list[Sighting] = []
        self._changed = threading.Condition()
        self._closed = threading.Event()
        for address in addresses:
            host, _, port = address.rpartition(":")
            self._watch(host, int(port))

    @property
    def sightings(self) -> list[Sighting]:
        """All topologies seen so far, in their order."""
        with self._changed:
            return list(self._sightings)

    def topology(self) -> Topology:
        """Return the newest topology; waits for the first one."""
        return self.wait_for("a topology", lambda topology: True, 10.0).topology

    def wait_for(self, what: str, is_so: Callable[[Topology], bool], timeout_s: float, *,
                 since_s: float | None = None) -> Sighting:
        """Wait for a topology that answers `is_so`; return it, and since when it was so.

        Args:
            since_s: the topology that held then counts, and all later ones, the first of them first; None: now.
        Raises:
            ServerFailedError: none came within `timeout_s`.
        """
        from_s = time.monotonic() if since_s is None else since_s
        end_s = time.monotonic() + timeout_s
        with self._changed:
            while True:
                for sighting in held_since(self._sightings, from_s):
                    if is_so(sighting.topology):
                        return sighting
                if not self._changed.wait(end_s - time.monotonic()):
                    raise ServerFailedError(f"waited {timeout_s:g} s for {what}")

    def close(self) -> None:
        """Stop asking."""
        self._closed.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def _watch(self, host: str, port: int) -> None:
        if (host, port) not in self._known:
            self._known.add((host, port))
            threading.Thread(target=self._ask_on, args=(host, port), daemon=True).start()

    def _ask_on(self, host: str, port: int) -> None:
        client = connect(host, port, self._secret)
        while not self._closed.wait(POLL_S):
            try:
                data = client.execute_command("RC.TOPOLOGY", self._epoch())
            except (redis.RedisError, OSError):
                client.close()
                continue
            if data is not None:
                self._take(Topology.from_bytes(data), time.monotonic())
        client.close()

    def _epoch(self) -> int:
        return self._sightings[-1].topology.epoch if self._sightings else 0

    def _take(self, topology: Topology, now_s: float) -> None:
        with self._changed:
            if topology.epoch <= self._epoch():
                return
            self._sightings.append(Sighting(now_s, topology))
            self._changed.notify_all()
        for shard in topology.shards:
            if shard.port:
                self._watch(shard.host, shard.port)


def held_since(sightings: Sequence[Sighting], from_s: float) -> list[Sighting]:
    """Return the topologies that held at `from_s` or later, each with since when, `from_s` at the earliest."""
    earlier = [sighting for sighting in sightings if sighting.seen_s <= from_s]
    later = list(sightings[len(earlier) :])
    return [Sighting(from_s, one.topology) for one in earlier[-1:]] + later


def connect(host: str, port: int, secret: str) -> Any:
    """Return a connection to one shard."""
    return redis.Redis(host=host, port=port, password=secret or None, socket_timeout=REPLY_TIMEOUT_S,
                       socket_connect_timeout=REPLY_TIMEOUT_S, retry=Retry(NoBackoff(), 0))


def statistics(client: Any) -> dict[str, Any]:
    """Return what a shard says of itself (RC.STATS)."""
    counted: dict[str, Any] = msgpack.unpackb(client.execute_command("RC.STATS"), strict_map_key=False)
    return counted


def has_given_up(topology: Topology, shard: ShardInfo) -> bool:
    """Whether `shard`, as it was, is nobody's primary any more or known to be down."""
    now = {known.id: known for known in topology.shards}.get(shard.id)
    gone = now is None or now.state != "up" or now.incarnation != shard.incarnation
    return gone or not len(topology.slots_of(shard.id))


def is_whole(topology: Topology, shards: int) -> bool:
    """Whether all `shards` are up, each slot has all its copies, nothing moves and primaries are spread evenly."""
    up = [shard for shard in topology.shards if shard.state == "up"]
    if len(up) != shards or len(topology.shards) != shards or topology.transfers or (topology.owners < 0).any():
        return False
    shares = np.array(list(topology.shares().values()))
    return bool(shares.max() <= EVEN * shares.mean())
