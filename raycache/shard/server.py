"""The shard's door: an asyncio shell around `ShardCore`. Sockets, timers and bounds live here.

What does not: commands and data (`core`), framing (`resp.parse`), Ray (`raycache.actors`). Everything
here belongs to one event loop, which also owns the core and its store: commands never race, and
nothing needs a lock.

Bounds, each with its reason in `config.Limits`:

* a client that does not read: once its unread replies pass the high-water mark, its commands wait
  and its socket is not read, so TCP slows it down; without progress for `slow_client_timeout_s` it
  is dropped and counted. One connection thus holds the mark plus one reply, however it pipelines;
* a client that sends faster than it is served: its socket is not read while so much waits;
* a command held half-sent: closed after `half_sent_timeout_s`, and counted;
* a large command from a client that has not shown the secret: refused while it comes, or strangers could fill the
  memory;
* connections that do not show the secret where one is demanded: the oldest are closed when there are more than
  `max_unauthenticated`, all after `auth_timeout_s`, and each that sends `max_unauthenticated_bytes` before;
* connections over `max_connections`: refused with Redis' error, unless they show the cluster's secret at once.

(One client's part of that is in `connection`.)

A connection has its turn when its bytes have come, and the replies of all go out together, when every socket that is
ready has been read. The core ends a connection's turn after a fraction of a millisecond
(`ShardCore.execute_many`); when all turns of one pass of the loop have taken `TURN_S`, whoever comes later is queued
for the next. Long commands come from the core as generators, which are run step by step between the turns (`long`).
What a turn has written for other shards goes out before the replies (`peers`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import socket
import time
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from raycache.clock import Clock, SystemClock
from raycache.config import Limits
from raycache.handshake import TlsDoor, certificate_of
from raycache.metrics.events import PAUSE
from raycache.ring.topology import Topology
from raycache.shard.commands.whole import unpacked
from raycache.shard.connection import Connection
from raycache.shard.core import ShardCore
from raycache.shard.meter import EVERY
from raycache.shard.peers import Peers
from raycache.strangers import Strangers
from raycache.tls import TlsSettings, is_member

log = logging.getLogger(__name__)

TURN_S: Final = 0.001
"""How long commands may run before timers and sockets get their turn: the promise is that nothing blocks for more."""
CALM_CONNECTIONS: Final = 3
"""With so few connections sending, waiting for others costs each its latency (a GET took 20 us more) and saves nobody
anything."""
STEP_INTERVAL_S: Final = 0.1
"""How often the core's background work (expiry, freeing) gets a turn while it is not behind."""
STEP_REST: Final = 3.0
"""While it is behind, it rests this many times as long as its turn took."""
STALE_AFTER_S: Final = 0.7
"""After so long a standstill, what clients had sent meanwhile is dropped where any owner takes writes: they may have
had it done elsewhere since. Below what clients wait before they do (1 s). With a primary and replicas, the lease
(0.8 s) sees to it."""
UNPACK_AT_ONCE_BYTES: Final = 8 * 1024
"""Compressed values up to here are unpacked on the loop: what is usual inside takes 0.1 ms."""
STALE_ARRIVALS_S: Final = 0.1
"""For so long after it, new connections may have been waiting since before its end."""
PAUSE_PROBE_S: Final = 0.002
"""How often the loop looks at its own lateness; a pause is seen to within this."""
EXTRA_CONNECTIONS: Final = 256
"""So many over `max_connections` may wait to show the secret: other shards and the router must get in, however many
clients there are, or this shard would count as lost."""
EXTRA_PATIENCE_S: Final = 0.2
SLOW_CHECK_S: Final = 0.5
"""How often clients are looked at for what they left unread or half-sent."""
RATE_WINDOW_S: Final = 2.0
"""Over how long commands per second are measured."""


@dataclass(slots=True)
class DoorStats:
    """What happened at the door, counted since the start or the last CONFIG RESETSTAT."""

    connections_total: int = 0
    """Connections accepted."""
    connections_refused: int = 0
    """Connections over `max_connections`, closed at once with an error."""
    dropped_slow: int = 0
    """Clients dropped because they did not read their replies."""
    dropped_half_sent: int = 0
    """Clients dropped because they left a command half-sent."""
    dropped_strangers: int = 0
    """Connections closed because they did not show the secret in time, or were too many, or sent too much before."""
    protocol_errors: int = 0
    """Connections closed because of broken framing."""
    loop_pause_max_ms: float = 0.0
    """Longest time the loop came late for its own timer, by the wall clock."""
    loop_pauses_over_5_ms: int = 0
    """How often it came more than 5 ms late."""
    loop_cpu_max_ms: float = 0.0
    """Longest stretch of the loop's own CPU time between two looks: a pause that is ours and not the machine's."""

    def reset(self) -> None:
        """Set every counter to zero."""
        for name in self.__slots__:
            setattr(self, name, type(getattr(self, name))())

    def as_dict(self) -> dict[str, Any]:
        """Return the counters by name."""
        return {name: getattr(self, name) for name in self.__slots__}


class ShardServer:
    """Serves one core on one listening socket.

    Life: `await start(sock)`, serve until `await stop()`. `on_failure` is called with the error if a
    background task dies, because a shard without its expiry must not go on as if nothing happened.
    """

    def __init__(self, core: ShardCore, limits: Limits, *, clock: Clock | None = None,
                 on_failure: Callable[[BaseException], None] | None = None, tls: TlsSettings | None = None,
                 measure_every: int = EVERY) -> None:
        self.core = core
        self.limits = limits
        self.clock: Clock = clock or SystemClock()
        core.monotonic_s = self.clock.monotonic_s
        core.measure(self.clock.monotonic_s, measure_every)
        core.unpack = self._unpack
        self.stats = DoorStats()
        self.connections: set[Connection] = set()
        self.strangers = Strangers[Connection](limits, lambda connection: connection.session.authenticated)
        self.tls = tls
        core.guard.needs_certificate = tls is not None
        self._due = core.tracking.due
        core.tracking.on_due = lambda: self.at_end(self._push_due)
        self.commands_per_s = 0.0
        self.is_calm = True
        """Whether so few connections send that each has its turn at once, instead of after all have been read."""
        self.active = 0
        """Connections that have sent something in this window of time."""
        self.window = 0
        self.may_look = True
        """Whether nothing has been looked at yet, for the sketch of hot keys, in this window of time."""
        self._queue: deque[Connection] = deque()
        self._steps: deque[Callable[[], None]] = deque()
        self.finished: list[tuple[Callable[[bytes], None], bytes]] = []
        """Long commands that have ended in this pass of the loop: whom to tell, and their replies."""
        self._last: list[Callable[[], None]] = []
        self._is_turn_due = False
        self.served: list[Connection] = []
        """Those that have had their turns in this pass of the loop, and whose replies have not been sent."""
        self._is_open = False
        """Whether turns of this pass have begun."""
        self._end_s = 0.0
        """When they end, on the monotonic clock."""
        self.open_until_s = 0.0
        """Until when a connection may have its turn as its bytes come; 0: no turns have begun, or others wait."""
        self.monotonic_s = self.clock.monotonic_s
        self.on_failure = on_failure
        self.flush: Callable[[], None] | None = None
        """Sends what is waiting for other shards; set by `peers`, where there are any."""
        self.peers: Peers | None = None
        self.more_info: Callable[[], dict[str, Any]] = dict
        """Further figures, of whoever runs this shard."""
        self._at_turn = core.at_turn
        self._seen_s = float("inf")
        self._woke_s = float("-inf")
        self._drops_stale = _takes_writes_anywhere(core)
        self._server: asyncio.Server | TlsDoor | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._probe: asyncio.TimerHandle | None = None
        self.loop = asyncio.get_running_loop()

    async def start(self, sock: socket.socket) -> None:
        """Serve on `sock`, a bound stream socket; it belongs to the server from here on."""
        self.core.now_ms = self.clock.unix_ms()
        if self.tls is None:
            self._server = await self.loop.create_server(lambda: Connection(self), sock=sock, backlog=1024)
        else:
            self._server = TlsDoor(self.tls, self.limits, lambda: Connection(self))
            self._server.start(sock)
        if self.core.replicator is not None:
            self.peers = Peers(self, self.core.replicator, secret=self.core.secret, tls=self.tls)
            self.peers.start()
        self.spawn(self._step_forever(), "store-step")
        self.spawn(self._check_forever(), "client-check")
        self._watch_pauses()

    async def stop(self) -> None:
        """Stop listening, close every connection, end the background work."""
        if self._probe is not None:
            self._probe.cancel()
        if self.peers is not None:
            self.peers.stop()
        for task in self._tasks:
            task.cancel()
        if self._server is not None:
            self._server.close()
        for connection in list(self.connections):
            connection.transport.abort()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def set_topology(self, topology: Topology) -> int:
        """Take in a topology if it is newer; return the epoch held afterwards."""
        self.begin_turn()
        self.core.set_topology(topology)
        if self.peers is not None:
            self.peers.step()
        held = self.core.topology
        return held.epoch if held is not None else 0

    def note_active(self) -> None:
        """Take note of a connection that sends for the first time in this window of time.

        One too many ends the calm at once: at the end of a window in which all of fifty clients waited for their
        replies it looks calm, too, and then their pipelines would run in a row, with no bound on the time.
        """
        self.active += 1
        if self.active > CALM_CONNECTIONS:
            self.is_calm = False

    def opens(self) -> bool:
        """Return whether a connection whose bytes have come may have its turn at once, in this pass of the loop.

        To be asked when `open_until_s` has passed: then this is the first of its pass, or too late for it.
        """
        if self._queue or self._is_open:
            return False
        self._open()
        self._turn_soon()
        return True

    def queue(self, connection: Connection) -> None:
        """Let `connection` have its turn when every socket that is ready now has been read."""
        self._queue.append(connection)
        self.open_until_s = 0.0  # whoever comes later waits behind it
        self._turn_soon()

    def queue_step(self, step: Callable[[], None]) -> None:
        """Call `step`, a part of a long command, in one of the next turns: all together they have the time of one."""
        self._steps.append(step)
        self._turn_soon()

    def at_end(self, send: Callable[[], None]) -> None:
        """Call `send` at the end of this pass of the loop or of the next, when others have got what is theirs."""
        self._last.append(send)
        self._turn_soon()

    def look(self, data: bytes) -> None:
        """Look at what a connection has got, for the sketch of hot keys: the first one's in each window of time."""
        self.may_look = False
        self.core.usage.look(data)

    def _turn_soon(self) -> None:
        if not self._is_turn_due:
            self._is_turn_due = True
            self.loop.call_soon(self._turn)

    def _open(self) -> None:
        """Begin the turns of this pass of the loop: they have `TURN_S`."""
        self._is_open = True
        self._end_s = self.open_until_s = self.monotonic_s() + TURN_S
        self.begin_turn()

    def _turn(self) -> None:
        """End this pass: what is queued has its turns if there is time left, and then all replies go out.

        In this order a client that waits for many connections is woken once and not for each reply: with 50
        connections that took half of the time away which the shard spends in the kernel.
        """
        self._is_turn_due = False
        queue, steps, monotonic_s = self._queue, self._steps, self.monotonic_s
        if not self._is_open:
            self._open()
        for _ in range(len(queue)):
            self.served.append(connection := queue.popleft())
            connection.run_turn()
            if monotonic_s() > self._end_s:
                break
        served, self.served = self.served, []
        if served:
            self.hand_on()
        for connection in served:
            try:
                connection.end_turn()
            except Exception:
                connection.give_up()
        self._is_open, self.open_until_s = False, 0.0
        if steps:
            self._take_steps()
        if self._last:
            self._end()
        if queue or steps:
            self._turn_soon()

    def _take_steps(self) -> None:
        """Let long commands take a step each while there is time, one in any case; those that end are answered."""
        steps, monotonic_s = self._steps, self.monotonic_s
        for _ in range(len(steps)):
            steps.popleft()()
            if monotonic_s() > self._end_s:
                break
        self.hand_on()
        finished, self.finished = self.finished, []
        for done, reply in finished:
            done(reply)

    def _end(self) -> None:
        self.hand_on()
        last, self._last = self._last, []
        for send in last:
            send()

    def begin_turn(self) -> None:
        """Tell the core the time, before any command: whether it may still serve as a primary depends on it."""
        self.core.now_ms = self.clock.unix_ms()
        if self._at_turn is not None:
            now_s = self.clock.monotonic_s()
            if now_s - self._seen_s > STALE_AFTER_S and self._drops_stale:
                self._drop_stale(now_s)
            self._at_turn(now_s)

    def _drop_stale(self, now_s: float) -> None:
        """This process stood still: what lies in its sockets is old, and must not overwrite what is newer."""
        log.warning("stood still for %.1f s: closing the connections of clients", now_s - self._seen_s)
        self._seen_s = self._woke_s = now_s
        for connection in list(self.connections):
            if connection.session.last_command != "rc.peer":  # what shards say carries versions
                connection.transport.abort()

    def hand_on(self) -> None:
        """Send other shards what the commands of this turn have left for them, and those who track keys which have
        changed, in one write each.

        Before the replies: when a client reads that its write is done, the copy is in the kernel's hands already, and
        the end of this process alone does not lose it. Whoever caches on their own side is on the way to hear of it.
        """
        if self.flush is not None:
            self.flush()
        if self._due:
            self._push_due()

    def _push_due(self) -> None:
        """Tell those who track keys which have changed."""
        for session, message in self.core.tracking.take():
            if session.push is not None:
                session.push(message)

    def _unpack(self, packed: bytes, done: Callable[[bytes], None]) -> None:
        """Unpack a compressed value, a long one in a thread, as somebody may have packed 100 MB into it."""
        if len(packed) <= UNPACK_AT_ONCE_BYTES:
            done(unpacked(packed))
        else:
            thread = self.loop.run_in_executor(None, unpacked, packed)
            thread.add_done_callback(lambda ended: done(ended.result()))

    def info(self) -> dict[str, Any]:
        """Return what the door knows, for INFO and the statistics."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        return {"process_id": os.getpid(), "cpu_user_s": used.ru_utime, "cpu_system_s": used.ru_stime,
                "cpu_s": used.ru_utime + used.ru_stime, "resident_bytes": resident_bytes(),
                "connections": len(self.connections),
                "commands_per_s": self.commands_per_s, **self.stats.as_dict(), **self.more_info()}

    def admit(self, connection: Connection) -> None:
        """Give a new connection its session, or refuse it."""
        transport = connection.transport
        peer, local = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        connection.session = session = self.core.open_session(_text(peer), _text(local))
        session.kill, session.push = transport.abort, connection.push
        if len(self.connections) >= self.limits.max_connections:
            may_wait = len(self.connections) < self.limits.max_connections + EXTRA_CONNECTIONS
            connection.wait_for_secret(EXTRA_PATIENCE_S if may_wait else 0.0)
        self.stats.connections_total += 1
        self.connections.add(connection)
        if not session.authenticated:
            connection.is_watched = True
            self._drop_strangers(self.strangers.add(connection, self.clock.monotonic_s()))
        if self.tls is not None:
            session.has_certificate = is_member(self.tls, certificate_of(transport))
        if self.clock.monotonic_s() - self._woke_s < STALE_ARRIVALS_S:
            transport.abort()

    def forget(self, connection: Connection) -> None:
        """Take leave of a connection that is gone."""
        self.connections.discard(connection)
        self.strangers.forget(connection)
        self.core.close_session(connection.session)

    def _drop_strangers(self, strangers: list[Connection]) -> None:
        self.stats.dropped_strangers += len(strangers)
        for connection in strangers:
            connection.transport.abort()

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run background work until `stop`; if it fails, `on_failure` hears of it."""
        task = self.loop.create_task(work, name=name)
        task.add_done_callback(self._ended)
        self._tasks.append(task)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.critical("background task %s died", task.get_name(), exc_info=error)
            if self.on_failure is not None:
                self.on_failure(error)

    async def _step_forever(self) -> None:
        while True:
            began_s = self.clock.monotonic_s()
            more = self.core.step(self.clock.unix_ms())
            rest_s = max(0.001, STEP_REST * (self.clock.monotonic_s() - began_s))
            await asyncio.sleep(rest_s if more else STEP_INTERVAL_S)

    async def _check_forever(self) -> None:
        measured_s, commands = self.clock.monotonic_s(), self.core.commands
        while True:
            await asyncio.sleep(SLOW_CHECK_S)
            now_s = self.clock.monotonic_s()
            if now_s - measured_s >= RATE_WINDOW_S:
                self.commands_per_s = (self.core.commands - commands) / (now_s - measured_s)
                measured_s, commands = now_s, self.core.commands
            for connection in list(self.connections):
                connection.check(now_s)
            self._drop_strangers(self.strangers.overdue(now_s))

    def _watch_pauses(self) -> None:
        """Arm the probe that measures the loop's lateness from inside."""
        # Not loop.time(): uvloop's is the time at which the current turn began.
        expected_s, cpu_s, stats = time.monotonic() + PAUSE_PROBE_S, time.thread_time(), self.stats

        def look() -> None:
            nonlocal expected_s, cpu_s
            now_s, now_cpu_s = time.monotonic(), time.thread_time()
            late_ms = (now_s - expected_s) * 1000
            stats.loop_pause_max_ms = max(stats.loop_pause_max_ms, late_ms)
            stats.loop_cpu_max_ms = max(stats.loop_cpu_max_ms, (now_cpu_s - cpu_s) * 1000 - PAUSE_PROBE_S * 1000)
            if late_ms > 5:
                stats.loop_pauses_over_5_ms += 1
                self.core.meter.events.add(PAUSE, late_ms / 1000, self.clock.unix_ms())
            expected_s, cpu_s = now_s + PAUSE_PROBE_S, now_cpu_s
            self._seen_s = self.clock.monotonic_s()
            self.is_calm = self.active <= CALM_CONNECTIONS
            self.active = 0
            self.window += 1
            self.may_look = True
            self._probe = self.loop.call_later(PAUSE_PROBE_S, look)

        self._probe = self.loop.call_later(PAUSE_PROBE_S, look)


def _takes_writes_anywhere(core: ShardCore) -> bool:
    replicator = core.replicator
    return replicator is not None and replicator.is_versioned and replicator.mode != "primary-replica"


def _text(address: tuple[Any, ...] | None) -> str:
    return f"{address[0]}:{address[1]}" if address else "?:0"


def resident_bytes() -> int:
    """Return what this process has resident."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def listening_socket(host: str, port: int) -> socket.socket:
    """Return a bound, listening TCP socket (not inherited by children) for `start`.

    Raises:
        OSError: the address is taken or not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(1024)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock
