"""A simulated router's connections to shards: what `raycache.actors.shard_links` does, on simulated connections.

What lives here: one connection per address that the core names, and heartbeats over it, as there. (That module stands
among what knows Ray, so nothing here may import it.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from raycache.replication.messages import Message
from raycache.router.detector import Detector
from raycache.router.messages import Pong
from raycache.router.status import Address
from raycache.shard.peer_link import Listeners
from raycache.testing.simulation.links import SimulatedLink

if TYPE_CHECKING:
    from raycache.testing.simulation.router import RouterNode

NEVER_S: Final = -1e9


class RouterLinks:
    """All of a router's connections to shards."""

    def __init__(self, router: RouterNode) -> None:
        self._router = router
        self._core = router.core
        self._detector = Detector()
        self._links: dict[str, SimulatedLink] = {}
        self._places: dict[str, Address] = {}
        self._shard_times_s: dict[str, float] = {}
        self._listeners = Listeners(self._opened, self._heard, self._lost, self._refused)

    def tick(self) -> None:
        """Follow the core's addresses, ping who is due, tell who is silent."""
        now_s = self._router.clock.monotonic_s()
        self._follow(now_s)
        for shard in self._detector.due(now_s):
            self._ping(shard)
        for shard, incarnation in self._detector.suspects(now_s):
            self._router.world.note(self._router.name, f"{shard} is silent")
            self._core.silent(shard, incarnation, now_s)
            self._router.wake()
        for link in list(self._links.values()):
            link.check(now_s)

    def ping_all(self) -> None:
        """Ping everybody now."""
        for shard in self._links:
            self._ping(shard)

    def close(self) -> None:
        """Close every connection for good."""
        for shard in [*self._links]:
            self._forget(shard)

    def push(self, shard: str, data: bytes) -> bool:
        """Send a topology; return whether there is a connection to send it on."""
        link = self._links.get(shard)
        return link is not None and link.send([["topology", data]])

    def _follow(self, now_s: float) -> None:
        wanted = self._core.addresses
        for shard in [shard for shard in self._links if shard not in wanted]:
            self._forget(shard)
        for shard, address in wanted.items():
            if self._places.get(shard) == address:
                continue
            self._forget(shard)
            self._places[shard] = address
            self._links[shard] = SimulatedLink(self._router, "router", shard, self._listeners)
            self._detector.watch(shard, address.incarnation, now_s)

    def _forget(self, shard: str) -> None:
        self._places.pop(shard, None)
        self._shard_times_s.pop(shard, None)
        self._detector.forget(shard)
        if (link := self._links.pop(shard, None)) is not None:
            link.close()

    def _ping(self, shard: str) -> None:
        core, heard_s = self._core, self._shard_times_s.get(shard, NEVER_S)
        self._links[shard].send([["ping", core.term, core.topology.epoch, heard_s]])

    def _opened(self, shard: str) -> None:
        self._ping(shard)

    def _heard(self, shard: str, messages: list[Message]) -> None:
        for message in messages:
            match message:
                case ["pong", granted_term, report]:
                    self._take_pong(shard, Pong.of(granted_term, report), report)
                case ["topology!", epoch]:
                    self._core.shard_holds(shard, int(epoch))
                case ["topology", data]:
                    self._core.shown(shard, data)
        self._router.wake()

    def _take_pong(self, shard: str, pong: Pong, report: dict[str, Any]) -> None:
        now_s = self._router.clock.monotonic_s()
        self._shard_times_s[shard] = float(report["now_s"])
        self._detector.heard(shard, pong.incarnation, now_s)
        self._core.pong(shard, pong, now_s)
        if pong.epoch > self._core.newest_epoch:
            self._links[shard].send([["topology?", self._core.newest_epoch]])

    def _lost(self, shard: str) -> None:
        for other in [other for other in self._links if other != shard]:
            self._ping(other)

    def _refused(self, shard: str) -> None:
        self._router.world.note(self._router.name, f"{shard} is gone")
        self._core.refused(shard, self._places[shard].incarnation, self._router.clock.monotonic_s())
        self._router.wake()
