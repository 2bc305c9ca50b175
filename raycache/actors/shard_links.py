"""The router's connections to shards: pings, topologies and what their ends tell. Needs neither Ray nor its GCS.

What lives here: one connection per address that the core names, kept open, and heartbeats over it. What does not: any
decision (`raycache.router`), and the frames (`raycache.shard.peer_link`). Belongs to the router's loop.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Any, Final

from raycache.clock import Clock
from raycache.replication.messages import Message
from raycache.router.access import SharedUsers
from raycache.router.core import RouterCore
from raycache.router.detector import Detector
from raycache.router.messages import Pong
from raycache.router.status import Address
from raycache.shard.peer_link import Listeners, PeerLink
from raycache.tls import TlsSettings

log = logging.getLogger(__name__)

NEVER_S: Final = -1e9
BUSY_PING_S: Final = 0.1
"""How often those are asked to whom slots are on their way: the next turn of a move waits for the end of this one."""


class ShardLinks:
    """All of a router's connections to shards."""

    def __init__(self, core: RouterCore, secret: str, clock: Clock, news: Callable[[], None],
                 users: SharedUsers, tls: TlsSettings | None = None) -> None:
        """Make it without any connection; `news` is called whenever the core has been told something."""
        self._core = core
        self._users = users
        self._tls = tls
        self._secret = secret
        self._clock = clock
        self._news = news
        self._rng = random.Random()
        self._detector = Detector()
        self._links: dict[str, PeerLink] = {}
        self._asked_busy_s = NEVER_S
        self._places: dict[str, tuple[Address, float]] = {}
        self._shard_times_s: dict[str, float] = {}
        """Each shard's own time at its newest answer: what it may count its lease from."""
        self._listeners = Listeners(self._opened, self._heard, self._lost, self._refused)

    def tick(self) -> None:
        """Follow the core's addresses, ping who is due, tell who is silent. Several times in a ping's interval."""
        now_s = self._clock.monotonic_s()
        self._follow(now_s)
        for shard_id in {*self._detector.due(now_s), *self._busy(now_s)}:
            self._ping(shard_id)
        for shard_id, incarnation in self._detector.suspects(now_s):
            log.warning("shard %s is silent", shard_id)
            self._core.silent(shard_id, incarnation, now_s)
            self._news()
        loop_s = asyncio.get_running_loop().time()
        for link in list(self._links.values()):
            link.check(loop_s)

    def ping_all(self) -> None:
        """Ping everybody now."""
        for shard_id in self._links:
            self._ping(shard_id)

    def close(self) -> None:
        """Close every connection for good."""
        for shard_id in [*self._links]:
            self._forget(shard_id)

    def push(self, shard_id: str, data: bytes) -> bool:
        """Send a topology; return whether there is a connection to send it on."""
        link = self._links.get(shard_id)
        return link is not None and link.send([["topology", data]])

    def unreached(self, longer_than_s: float) -> list[tuple[str, int]]:
        """Return (shard, incarnation) of those that have had no connection, though known for so long."""
        now_s = self._clock.monotonic_s()
        return [(shard_id, address.incarnation) for shard_id, (address, since_s) in self._places.items()
                if not self._links[shard_id].is_open and now_s - since_s > longer_than_s]

    def _busy(self, now_s: float) -> set[str]:
        if now_s - self._asked_busy_s < BUSY_PING_S:
            return set()
        self._asked_busy_s = now_s
        return {one.receiver for one in self._core.topology.transfers} & self._links.keys()

    def _follow(self, now_s: float) -> None:
        wanted = self._core.addresses
        for shard_id in self._links.keys() - wanted.keys():
            self._forget(shard_id)
        for shard_id, address in wanted.items():
            if shard_id in self._places and self._places[shard_id][0] == address:
                continue
            self._forget(shard_id)
            self._places[shard_id] = (address, now_s)
            self._links[shard_id] = PeerLink("router", shard_id, address.host, address.port, self._secret,
                                             self._listeners, self._rng, self._tls)
            self._detector.watch(shard_id, address.incarnation, now_s)

    def _forget(self, shard_id: str) -> None:
        self._places.pop(shard_id, None)
        self._shard_times_s.pop(shard_id, None)
        self._detector.forget(shard_id)
        if (link := self._links.pop(shard_id, None)) is not None:
            link.close()

    def _ping(self, shard_id: str) -> None:
        core, heard_s = self._core, self._shard_times_s.get(shard_id, NEVER_S)
        self._links[shard_id].send([["ping", core.term, core.topology.epoch, heard_s]])

    # What the connections tell

    def _opened(self, shard_id: str) -> None:
        self._links[shard_id].send([self._users.message])  # before any topology: it must not serve whom it should not
        self._ping(shard_id)

    def _heard(self, shard_id: str, messages: list[Message]) -> None:
        for message in messages:
            try:
                self._take(shard_id, message)
            except (ValueError, TypeError, IndexError, KeyError) as error:
                log.warning("shard %s said what makes no sense: %r", shard_id, error)
        self._news()

    def _take(self, shard_id: str, message: Message) -> None:
        match message:
            case ["pong", granted_term, report]:
                self._take_pong(shard_id, Pong.of(granted_term, report), report)
            case ["topology!", epoch]:
                self._core.shard_holds(shard_id, int(epoch))
            case ["topology", data]:
                self._core.shown(shard_id, data)
            case ["access", packed]:
                if self._users.take(packed):
                    for link in self._links.values():
                        link.send([self._users.message])

    def _take_pong(self, shard_id: str, pong: Pong, report: dict[str, Any]) -> None:
        now_s = self._clock.monotonic_s()
        self._shard_times_s[shard_id] = float(report.get("now_s", NEVER_S))
        self._detector.heard(shard_id, pong.incarnation, now_s)
        self._core.pong(shard_id, pong, now_s)
        if self._users.differs(report.get("access")):
            self._links[shard_id].send([self._users.message])
        if pong.epoch > self._core.newest_epoch:
            self._links[shard_id].send([["topology?", self._core.newest_epoch]])

    def _lost(self, shard_id: str) -> None:
        log.warning("the connection to shard %s is gone", shard_id)
        for other in self._links.keys() - {shard_id}:  # a promotion may wait for what they say after this
            self._ping(other)

    def _refused(self, shard_id: str) -> None:
        address, _ = self._places[shard_id]
        self._core.refused(shard_id, address.incarnation, self._clock.monotonic_s())
        self._news()
