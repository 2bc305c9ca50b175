"""Connections to shards, from others and from routers: what `raycache.shard.peer_link` does, on simulated connections.

What lives here: greeting, retries, patience, with the same figures. What does not: which links there are and what
happens when one opens or breaks. Between shards that is the real `Peers`; for routers it is `router_links`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from raycache.replication.messages import Message, pack, unpack
from raycache.ring.topology import ShardInfo
from raycache.shard.peer_link import CONNECT_TIMEOUT_S, FIRST_RETRY_S, LAST_RETRY_S, SILENCE_S, Listeners
from raycache.shard.peers import Peers
from raycache.testing.simulation.network import End
from raycache.testing.simulation.wire import Answer, Request, decode

if TYPE_CHECKING:
    from raycache.testing.simulation.router import RouterNode
    from raycache.testing.simulation.shard import ShardNode


class SimulatedPeers(Peers):
    """The real one, but for what makes a connection."""

    node: ShardNode

    def _connect(self, peer: str, shard: ShardInfo) -> None:
        place = (shard.host, shard.port, shard.incarnation)
        if self._places.get(peer) == place:
            return
        if peer in self._links:
            self._close(peer)
        self._places[peer] = place
        self._links[peer] = SimulatedLink(  # type: ignore[assignment]
            self.node, self.node.name, peer, self._listeners)


class SimulatedLink:
    """The way to one peer, for as long as it is wanted."""

    def __init__(self, node: ShardNode | RouterNode, me: str, peer: str, listeners: Listeners) -> None:
        self.peer = peer
        self._node = node
        self._me = me.encode()
        self._listeners = listeners
        self._end: End | None = None
        self._is_wanted = True
        self._is_greeted = False
        self._wait_s = FIRST_RETRY_S
        self._owed = 0
        self._progress_s = 0.0
        self._dial()

    @property
    def is_open(self) -> bool:
        """Whether messages reach the peer, as far as can be known."""
        return self._is_greeted

    @property
    def may_take(self) -> bool:
        """Whether more should be taken from the outbox."""
        return self._is_greeted

    def send(self, messages: Sequence[Message]) -> bool:
        """Send `messages` in one frame; return whether they are on their way."""
        if not self._is_greeted:
            return False
        self._write([b"RC.PEER", self._me, pack(list(messages))])
        return True

    def check(self, now_s: float) -> None:
        """Give the connection up if the peer owes an answer and has been silent for too long."""
        if self._is_greeted and self._owed and now_s - self._progress_s > SILENCE_S:
            end, self._end = self._end, None
            assert end is not None
            end.close()
            self._lost()

    def close(self) -> None:
        """Close for good; nobody is told."""
        self._is_wanted = self._is_greeted = False
        if self._end is not None:
            self._end.close()
            self._end = None

    def _dial(self) -> None:
        if self._is_wanted:
            self._node.world.network.dial(self._node, self.peer, self._opened, self._failed)

    def _opened(self, end: End) -> None:
        if not self._is_wanted:
            end.close()
            return
        self._end = end
        end.on_message, end.on_lost = self._took, self._lost
        self._owed = 0
        self._write([b"AUTH", self._node.world.secret.encode()])
        self._node.after(CONNECT_TIMEOUT_S, self._give_up_greeting, end)

    def _give_up_greeting(self, end: End) -> None:
        if self._end is end and not self._is_greeted:
            end.close()
            self._lost()

    def _failed(self, is_refused: bool) -> None:
        if is_refused and self._is_wanted:
            self._listeners.refused(self.peer)
        self._retry()

    def _retry(self) -> None:
        wait_s = self._wait_s * self._node.world.rng.uniform(0.5, 1.0)
        self._wait_s = min(2 * self._wait_s, LAST_RETRY_S)
        self._node.after(wait_s, self._dial)

    def _write(self, argv: list[bytes]) -> None:
        assert self._end is not None
        if not self._owed:
            self._progress_s = self._node.clock.monotonic_s()
        self._owed += 1
        self._end.send(Request(0, argv))

    def _took(self, payload: Any) -> None:
        assert isinstance(payload, Answer)
        self._progress_s = self._node.clock.monotonic_s()
        self._owed -= 1
        if not self._is_greeted:
            self._is_greeted, self._wait_s = True, FIRST_RETRY_S
            self._listeners.opened(self.peer)
            return
        reply = decode(payload.reply)
        if not isinstance(reply, bytes):
            self._node.world.note(self._node.name, f"{self.peer} answered {reply!r}")
            if self._end is not None:
                self._end.close()
            self._lost()
        elif messages := unpack(reply):
            self._listeners.heard(self.peer, messages)

    def _lost(self) -> None:
        self._end = None
        was_greeted, self._is_greeted = self._is_greeted, False
        if was_greeted:
            self._listeners.lost(self.peer)
            self._dial()
        else:
            self._retry()
