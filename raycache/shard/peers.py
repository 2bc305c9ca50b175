"""A shard among its peers: carries the messages of the pure `Replicator` over sockets, and gives it the time.

What lives here: which connections there are, when messages leave, and the replicator's steps. What does not: a
connection (`peer_link`), what messages say (`raycache.replication`), answering others' (`commands.replication`: they
come in as commands at the shard's own door). It belongs to the shard's loop.

Messages leave when a turn ends and before its replies do (`ShardServer.hand_on`): whatever all clients have written
in a turn goes to each peer in one frame.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

from raycache.replication.messages import Message
from raycache.ring.topology import ShardInfo, Topology
from raycache.shard.peer_link import Listeners, PeerLink
from raycache.tls import TlsSettings

if TYPE_CHECKING:
    from raycache.shard.server import ShardServer

log = logging.getLogger(__name__)

BUSY_STEP_S: Final = 0.004
"""How often the replicator gets a step while slots arrive here: a chunk a step, so this is the pace of a transfer."""
STEP_S: Final = 0.02
"""The same otherwise: heartbeats and leases are timed this finely."""
IDLE_STEP_S: Final = 0.1
"""The same while there is one copy of everything and nothing moves."""


class Replicator(Protocol):
    """What is driven here, as far as this module uses it (`raycache.replication.replicator`)."""

    @property
    def is_busy(self) -> bool:
        """Whether the next step should come soon."""

    def step(self, now_s: float) -> object:
        """Do what time asks for."""

    def receive(self, sender: str, messages: list[Message], now_s: float) -> list[Message]:
        """Take in `messages`; return those that go back to `sender`."""

    def take_outgoing(self) -> Sequence[tuple[str, list[Message]]]:
        """Return what is to be sent, by peer."""

    def peer_lost(self, peer: str) -> None:
        """Messages to this peer may have been lost."""

    def peer_found(self, peer: str) -> None:
        """There is a connection to this peer."""


class Peers:
    """All of one shard's connections to others.

    Life: made on the shard's loop, `start` once it serves, until `stop`.
    """

    def __init__(self, server: ShardServer, replicator: Replicator, *, secret: str | None,
                 tls: TlsSettings | None = None, rng: random.Random | None = None) -> None:
        self._server = server
        self._core = server.core
        self._replicator = replicator
        self._secret = secret
        self._tls = tls
        self._rng = rng or random.Random()
        self._links: dict[str, PeerLink] = {}
        self._places: dict[str, tuple[str, int, int]] = {}
        self._topology: Topology | None = None
        self._missed: set[str] = set()
        """Peers for whom something was taken that could not be sent."""
        self._is_idle = True
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._listeners = Listeners(self._opened, self._heard, self._lost)

    @property
    def connected(self) -> list[str]:
        """The peers that can be reached now."""
        return [peer for peer, link in self._links.items() if link.is_open]

    def start(self) -> None:
        """Begin the steps, and send at the end of each turn."""
        self._server.flush = self.flush
        self._task = self._server.spawn(self._step_forever(), "peers")

    def stop(self) -> None:
        """Close every connection. The steps end with the server."""
        self._server.flush = None
        if self._task is not None:
            self._task.cancel()
        for link in self._links.values():
            link.close()
        self._links.clear()
        self._places.clear()

    def flush(self) -> None:
        """Send what waits for others."""
        if self._core.slots.topology is not self._topology:  # this turn has brought a new one
            self.follow(self._core.topology)
        for peer, messages in self._replicator.take_outgoing():
            link = self._links.get(peer)
            if link is None or not link.send(messages):
                self._missed.add(peer)

    def step(self) -> None:
        """Give the replicator its step, follow the topology, look after the connections."""
        server = self._server
        server.begin_turn()
        now_s = server.clock.monotonic_s()
        self.follow(self._core.topology)
        self._replicator.step(now_s)
        self.flush()
        for link in list(self._links.values()):
            link.check(server.loop.time())

    def follow(self, topology: Topology | None) -> None:
        """Have a connection to each shard that `topology` names, at its newest address."""
        if topology is self._topology or topology is None:
            return
        self._topology = topology
        # With one copy of everything and nothing on its way, shards have nothing to say to each other.
        self._is_idle = topology.copies == 1 and not topology.transfers
        wanted = {} if self._is_idle else {
            shard.id: shard for shard in topology.shards if shard.id != self._core.shard_id and shard.port}
        for peer in [peer for peer in self._links if peer not in wanted]:
            self._close(peer)
        for peer, shard in wanted.items():
            self._connect(peer, shard)
        self._wake.set()

    def _connect(self, peer: str, shard: ShardInfo) -> None:
        place = (shard.host, shard.port, shard.incarnation)
        if self._places.get(peer) == place:
            return
        if peer in self._links:
            self._close(peer)
        self._places[peer] = place
        self._links[peer] = PeerLink(self._core.shard_id, peer, shard.host, shard.port, self._secret, self._listeners,
                                     self._rng, self._tls)

    def _close(self, peer: str) -> None:
        del self._places[peer]
        link = self._links.pop(peer)
        was_open = link.is_open
        link.close()
        if was_open:
            self._lost(peer)

    # What the links tell

    def _opened(self, peer: str) -> None:
        log.info("shard %s: connected to %s", self._core.shard_id, peer)
        if peer in self._missed:  # what was taken meanwhile went nowhere: once more from what it has acknowledged
            self._missed.discard(peer)
            self._replicator.peer_lost(peer)
        self._replicator.peer_found(peer)
        self.flush()

    def _heard(self, peer: str, messages: list[Message]) -> None:
        server = self._server
        server.begin_turn()
        try:
            answers = self._replicator.receive(peer, messages, server.clock.monotonic_s())
        except Exception:
            log.exception("shard %s: messages from %s could not be taken in", self._core.shard_id, peer)
            answers = []
        if answers and not self._links[peer].send(answers):
            self._missed.add(peer)
        self.flush()

    def _lost(self, peer: str) -> None:
        log.info("shard %s: lost the connection to %s", self._core.shard_id, peer)
        self._missed.discard(peer)
        self._replicator.peer_lost(peer)

    async def _step_forever(self) -> None:
        while True:
            self.step()
            pace_s = IDLE_STEP_S if self._is_idle else BUSY_STEP_S if self._replicator.is_busy else STEP_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pace_s):
                    await self._wake.wait()
            self._wake.clear()
