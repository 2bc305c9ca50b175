"""Shards' connections to each other, on real sockets: a real shard's shell with a replicator that only notes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import hiredis
import numpy as np
import pytest

from raycache.config import ClusterConfig, Limits
from raycache.replication.messages import Message, pack, unpack
from raycache.ring.slots import SLOT_COUNT
from raycache.ring.topology import ShardInfo, Topology
from raycache.shard import peer_link
from raycache.shard.build import build_server
from raycache.shard.peer_link import Listeners, PeerLink
from raycache.shard.peers import Peers
from raycache.shard.server import EXTRA_PATIENCE_S, ShardServer, listening_socket

SECRET = "hush"


class NotingReplicator:
    """Gives away what is put into `box` and notes the rest."""

    def __init__(self) -> None:
        self.box: list[tuple[str, list[Message]]] = []
        self.events: list[Any] = []
        self.found: list[str] = []
        self.answers: list[Message] = []

    is_busy = False

    def step(self, now_s: float) -> None:
        pass

    def receive(self, sender: str, messages: list[Message], now_s: float) -> list[Message]:
        self.events.append((sender, messages))
        answers, self.answers = self.answers, []
        return answers

    def take_outgoing(self) -> list[tuple[str, list[Message]]]:
        box, self.box = self.box, []
        return box

    def peer_lost(self, peer: str) -> None:
        self.events.append(f"lost {peer}")

    def peer_found(self, peer: str) -> None:
        self.found.append(peer)


class FakePeer:
    """Another shard's door: takes AUTH and RC.PEER, answers with what it is told to."""

    def __init__(self) -> None:
        self.port = 0
        self.requests: list[list[bytes]] = []
        self.answer: list[Message] = []
        self.is_silent = False
        self.writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None

    async def start(self, port: int = 0) -> FakePeer:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self.writers:
            writer.transport.abort()
        self.writers.clear()
        await asyncio.sleep(0.01)

    @property
    def frames(self) -> list[tuple[bytes, list[Message]]]:
        return [(request[1], unpack(request[2])) for request in self.requests if request[0] == b"RC.PEER"]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        parser = hiredis.Reader()
        try:
            while data := await reader.read(65536):
                parser.feed(data)
                while (request := parser.gets()) is not False:
                    self.requests.append(request)
                    if request[0] == b"AUTH":
                        writer.write(b"+OK\r\n" if request[1] == SECRET.encode() else b"-WRONGPASS no\r\n")
                    elif not self.is_silent:
                        packed = pack(self.answer)
                        writer.write(b"$%d\r\n%b\r\n" % (len(packed), packed))
        except ConnectionError:
            pass
        finally:
            writer.close()


async def until(what: Callable[[], object], deadline_s: float = 5.0) -> None:
    async with asyncio.timeout(deadline_s):
        while not what():
            await asyncio.sleep(0.005)


def info(shard_id: str, port: int, incarnation: int = 1) -> ShardInfo:
    return ShardInfo(shard_id, "127.0.0.1", port, "node", "machine", "", "up", 1, incarnation)


def topology(epoch: int, *shards: ShardInfo, copies: int = 2) -> Topology:
    return Topology("x", epoch, shards, np.tile(np.arange(copies, dtype=np.int16), (SLOT_COUNT, 1)))


class Scene:
    def __init__(self, server: ShardServer, replicator: NotingReplicator, peers: Peers, peer: FakePeer) -> None:
        self.server, self.replicator, self.peers, self.peer = server, replicator, peers, peer

    def publish(self, epoch: int = 1, copies: int = 2, incarnation: int = 1) -> None:
        self.server.core.set_topology(
            topology(epoch, info("s0", 1), info("s1", self.peer.port, incarnation), copies=copies))

    def send(self, *messages: Message) -> None:
        self.replicator.box.append(("s1", list(messages)))
        self.server.hand_on()


@asynccontextmanager
async def a_scene(secret: str = SECRET) -> AsyncIterator[Scene]:
    server = build_server(ClusterConfig(name="x"), "s0", secret=secret, require_auth=False)
    await server.start(listening_socket("127.0.0.1", 0))
    replicator = NotingReplicator()
    assert server.peers is not None
    server.peers.stop()
    peers = server.peers = Peers(server, replicator, secret=secret)
    peers.start()
    peer = await FakePeer().start()
    try:
        yield Scene(server, replicator, peers, peer)
    finally:
        peers.stop()
        await server.stop()
        await peer.stop()


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    async with a_scene() as scene:
        yield scene


async def test_messages_leave_in_one_frame_at_the_end_of_a_turn_and_the_answer_comes_back(scene: Scene) -> None:
    scene.publish()
    await until(lambda: scene.peers.connected == ["s1"])
    assert scene.peer.requests == [[b"AUTH", b"hush"]]
    scene.peer.answer = [["ack", 1]]
    scene.send(["batch", 1, b"\xff"], ["batch", 2])
    await until(lambda: scene.replicator.events)
    assert scene.peer.frames == [(b"s0", [["batch", 1, b"\xff"], ["batch", 2]])]
    assert scene.replicator.events == [("s1", [["ack", 1]])]


async def test_what_an_answer_leads_to_goes_back(scene: Scene) -> None:
    scene.publish()
    await until(lambda: scene.peers.connected)
    scene.peer.answer = [["topology?", 3]]
    scene.replicator.answers = [["topology", b"..."]]
    scene.send(["batch"])
    await until(lambda: len(scene.peer.frames) >= 2)
    assert scene.peer.frames[1] == (b"s0", [["topology", b"..."]])


async def test_with_one_copy_and_nothing_on_its_way_nobody_is_called(scene: Scene) -> None:
    scene.publish(copies=1)
    scene.peers.step()
    await asyncio.sleep(0.05)
    assert scene.peer.requests == []
    scene.publish(2)
    await until(lambda: scene.peers.connected)
    scene.publish(3, copies=1)
    await until(lambda: not scene.peers.connected)


async def test_a_broken_connection_is_told_once_and_opened_again(scene: Scene) -> None:
    scene.publish()
    await until(lambda: scene.peers.connected)
    port = scene.peer.port
    await scene.peer.stop()
    await until(lambda: scene.replicator.events)
    assert scene.replicator.events == ["lost s1"]
    assert scene.peers.connected == []
    await scene.peer.start(port)
    await until(lambda: scene.peers.connected)
    assert scene.replicator.events == ["lost s1"]
    assert scene.replicator.found == ["s1", "s1"]


async def test_what_was_taken_while_nobody_was_there_is_told_as_lost_when_somebody_is(scene: Scene) -> None:
    scene.send(["batch", 1])
    scene.publish()
    await until(lambda: scene.peers.connected)
    assert scene.replicator.events == ["lost s1"]
    scene.send(["batch", 1])
    await until(lambda: scene.peer.frames)


async def test_a_newer_incarnation_at_the_same_place_gets_a_new_connection(scene: Scene) -> None:
    scene.publish()
    await until(lambda: scene.peers.connected)
    scene.publish(2, incarnation=2)
    await until(lambda: len([one for one in scene.peer.requests if one[0] == b"AUTH"]) == 2)
    assert scene.replicator.events == ["lost s1"]


async def test_a_shard_that_has_left_is_hung_up_on(scene: Scene) -> None:
    scene.publish()
    await until(lambda: scene.peers.connected)
    table = topology(2, info("s0", 1), info("s2", 9), copies=2)
    scene.server.core.set_topology(table)
    await until(lambda: scene.replicator.events == ["lost s1"])
    assert scene.peers.connected == []


async def test_a_peer_that_refuses_the_secret_is_no_peer() -> None:
    async with a_scene("wrong") as scene:
        scene.publish()
        await until(lambda: len(scene.peer.requests) >= 2)
        assert scene.peers.connected == []
        scene.send(["batch"])
        assert scene.peer.frames == []


async def test_a_peer_that_owes_an_answer_for_too_long_is_given_up(scene: Scene,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_link, "SILENCE_S", 0.1)
    scene.publish()
    await until(lambda: scene.peers.connected)
    await asyncio.sleep(0.2)
    assert scene.peers.connected  # silent, but it owes nothing
    scene.peer.is_silent = True
    scene.send(["batch"])
    await until(lambda: scene.replicator.events == ["lost s1"])


async def test_a_peer_that_does_not_read_costs_bounded_memory(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_link, "MOST_UNSENT_BYTES", 4 * 1024 * 1024)
    scene.publish()
    await until(lambda: scene.peers.connected)
    scene.peer.writers[0].transport.pause_reading()  # type: ignore[attr-defined]
    for _ in range(60):
        scene.send(["batch", bytes(512 * 1024)])
        await asyncio.sleep(0)
        if scene.replicator.events:
            break
    await until(lambda: scene.replicator.events)
    assert scene.replicator.events == ["lost s1"]


async def test_an_answer_that_is_no_list_of_messages_ends_the_connection(scene: Scene) -> None:
    scene.publish()
    await until(lambda: scene.peers.connected)
    scene.peer.answer = 7  # type: ignore[assignment]
    scene.send(["batch"])
    await until(lambda: "lost s1" in scene.replicator.events)
    scene.peer.answer = []
    await until(lambda: scene.peers.connected)


async def test_messages_that_cannot_be_taken_in_harm_nobody(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> list[Message]:
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr(scene.replicator, "receive", broken)
    scene.publish()
    await until(lambda: scene.peers.connected)
    scene.peer.answer = [["ack"]]
    scene.send(["batch"])
    await until(lambda: scene.peer.frames)
    await asyncio.sleep(0.05)
    assert scene.peers.connected == ["s1"]


async def test_shards_get_in_however_many_clients_there_are() -> None:
    server = build_server(ClusterConfig(name="x", limits=Limits(max_connections=3)), "s1", secret=SECRET,
                          require_auth=False)
    sock = listening_socket("127.0.0.1", 0)
    port = sock.getsockname()[1]
    await server.start(sock)
    crowd = [await asyncio.open_connection("127.0.0.1", port) for _ in range(4)]
    told: list[str] = []
    listeners = Listeners(told.append, lambda peer, messages: None, lambda peer: told.append("lost"))
    link = PeerLink("s0", "s1", "127.0.0.1", port, SECRET, listeners, random.Random(1))
    try:
        assert await crowd[-1][0].read() == b"-ERR max number of clients reached\r\n"
        await until(lambda: told == ["s1"])
        await asyncio.sleep(2 * EXTRA_PATIENCE_S)
        assert link.is_open
        assert server.stats.connections_refused == 1
        impatient, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"PING\r\n")
        assert await impatient.read() == b"-ERR max number of clients reached\r\n"
        writer.close()
        liar, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"*2\r\n$4\r\nAUTH\r\n$5\r\nwrong\r\n")
        assert (await liar.read()).endswith(b"-ERR max number of clients reached\r\n")
        writer.close()
    finally:
        link.close()
        for _, writer in crowd:
            writer.close()
        await server.stop()
