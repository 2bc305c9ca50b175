"""One client's socket: commands in, replies out in their order, and never more under way than agreed.

What lives here: `ClientConnection`, parsing, the queue of replies, pausing. What does not: what a
command leads to (`conversation`), how much may be under way (`window`). It belongs to the gateway's loop.

Commands run in parallel on the shards; their replies wait here for those before them. A client that
does not read its replies stops being read, then is dropped and counted, as at a shard's door.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, cast

from raycache.errors import ProtocolError
from raycache.gateway.conversation import CHANGES_PROTOCOL, Conversation
from raycache.gateway.window import Window
from raycache.resp.parse import FROM_STRANGER, RequestParser
from raycache.resp.reply import Frame
from raycache.shard.classes import CLASS_OF
from raycache.shard.commands import resolve
from raycache.shard.meter import UNCOUNTED, Meter
from raycache.shard.tracking import ALL_CHANGED

if TYPE_CHECKING:
    from raycache.gateway.server import GatewayServer

log = logging.getLogger(__name__)

COMMANDS_PER_TURN: Final = 64
"""About 0.5 ms of forwarded commands: what one client may take before the others have their turn."""

BACKLOG_BYTES: Final = 256 * 1024
"""What may have been read and not begun before the socket is left unread. Not 0, because a socket that is not
read does not tell that its client has gone."""

MAX_BEHIND_BYTES: Final = 64 * 1024
"""Of announcements that wait behind replies; beyond, one that says that everything may have changed."""


class Place:
    """Where one reply goes in the client's order."""

    __slots__ = ("argv", "began_s", "begin", "client", "is_alone", "is_local", "reply", "request_bytes", "weight")

    def __init__(self, client: ClientConnection, request_bytes: int, argv: list[bytes], began_s: float,
                 weight: int) -> None:
        self.client = client
        self.argv = argv
        self.began_s = began_s
        self.weight = weight
        """For how many commands its time stands; 0: it is not measured."""
        self.is_local = False
        """Answered without a shard: its errors have been counted."""
        self.request_bytes = request_bytes
        self.reply: Frame | None = None
        self.begin: Callable[[Callable[[Frame], None]], None] | None = None
        self.is_alone = False

    def take(self, reply: Frame) -> None:
        """The reply has come."""
        self.reply = reply
        self.client.reply_came(self)


class ClientConnection(asyncio.Protocol):
    """One client of the gateway."""

    conversation: Conversation
    transport: asyncio.Transport

    def __init__(self, server: GatewayServer) -> None:
        self._server = server
        self._meter = server.core.meter
        self._argv: list[bytes] = []
        """The command that begins now."""
        self._weight = self._placed = 0
        self._turn_s = 0.0
        self._loop = server.loop
        self.parser = RequestParser(server.limits)
        self.stranded = 0
        self._places: deque[Place] = deque()
        self._out: list[bytes] = []
        self._window = Window(server.settings.max_commands_per_client, server.settings.max_bytes_per_client)
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_queued = False
        self._is_held = False
        self._is_reading = True
        self._has_ended = False
        self._paused_since_s: float | None = None
        self._partial_since_s: float | None = None
        self._behind: Place | None = None
        """Where announcements wait behind replies, if that is the last place."""
        self._has_missed = False
        """Whether something was not announced because the client does not read."""
        self._unread_bytes = 0
        self._partial_bytes = 0
        self._backlog_bytes = 0
        self.is_watched = False
        """A stranger where the door demands the secret: what it sends is counted."""
        self._strange_bytes = 0

    # The socket

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport is one in all but its class, so isinstance would not do.
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=self._server.limits.output_high_water_bytes)
        self._server.admit(self)

    def connection_lost(self, exc: Exception | None) -> None:
        for task in self._tasks:
            task.cancel()
        self.parser.ready.clear()
        self._places.clear()
        self._server.forget(self)

    def data_received(self, data: bytes) -> None:
        if self.is_watched and not self._may_send(data):
            return
        self.parser.feed(data)
        self._backlog_bytes += len(data)
        if not self._is_queued:
            self._run()

    def _may_send(self, data: bytes) -> bool:
        """Count what a stranger sends; refuse too much of it."""
        if self.conversation.session.authenticated:
            self.is_watched = False
            return True
        self._strange_bytes += len(data)
        if self._strange_bytes <= self._server.limits.max_unauthenticated_bytes:
            return True
        self._server.stats.dropped_strangers += 1
        self.transport.write(b"-ERR %b\r\n" % str(FROM_STRANGER).encode())
        self.transport.close()
        return False

    def eof_received(self) -> bool:
        """Keep the connection while commands that came before the end still run or wait."""
        self._has_ended, self._is_reading = True, False
        if self._server.tls is not None:
            return False  # with TLS a connection cannot be half open
        return bool(self._places or self.parser.ready or self._is_queued or self._paused_since_s is not None)

    def pause_writing(self) -> None:
        self._paused_since_s = self._server.clock.monotonic_s()
        self._unread_bytes = self.transport.get_write_buffer_size()
        self._set_reading()

    def resume_writing(self) -> None:
        self._paused_since_s = None
        if self._has_missed:
            self._has_missed = False
            self.push(ALL_CHANGED)
        self._run_soon()

    # What a conversation uses

    def answer(self, reply: Frame) -> None:
        """The present command's reply, at once."""
        if self._places:
            place = self._place(0)
            place.reply, place.is_local = reply, True
        else:
            self._out.append(reply)

    def push(self, message: Frame) -> None:
        """Send what nobody has asked for: at once, and again behind the replies that the client still waits for, since
        one of them may say what was there before."""
        if self.transport.is_closing():
            return
        if self._paused_since_s is not None:
            self._has_missed = True
            return
        self.transport.write(message)
        if not self._places:
            return
        behind = self._behind
        if behind is None or behind is not self._places[-1] or behind.reply is None:
            behind = self._behind = self._place(0)
            behind.reply = message
        elif len(behind.reply) < MAX_BEHIND_BYTES:
            behind.reply += message
        else:
            behind.reply = ALL_CHANGED

    def answer_later(self, request_bytes: int) -> Callable[[Frame], None]:
        """Return what takes the present command's reply when it comes."""
        return self._place(request_bytes).take

    def answer_alone(self, request_bytes: int, begin: Callable[[Callable[[Frame], None]], None]) -> None:
        """Call `begin` when all earlier replies are out; no later command starts before its reply is."""
        place = self._place(request_bytes)
        place.begin, place.is_alone = begin, True
        self._is_held = True

    def proceed(self) -> None:
        """No command is stranded any more."""
        self._run_soon()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` for as long as the client is there."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def reply_came(self, place: Place) -> None:
        """The reply for `place` is there; if it is the oldest, it goes out at the end of this turn."""
        if self._places and place is self._places[0]:
            self._run_soon()

    # Turns

    def _place(self, request_bytes: int) -> Place:
        self._placed += 1
        place = Place(self, request_bytes, self._argv, self._turn_s, self._weight)
        self._places.append(place)
        self._window.started(request_bytes)
        return place

    def _may_start(self) -> bool:
        return (self._window.is_open and not self._is_held and not self.stranded and self._paused_since_s is None
                and not self.conversation.session.closing)

    def _run_soon(self) -> None:
        if not self._is_queued and not self.transport.is_closing():
            self._is_queued = True
            self._loop.call_soon(self._run_queued)

    def _run_queued(self) -> None:
        self._is_queued = False
        try:
            self._run()
        except Exception:
            log.exception("the turn of %s failed; its connection is closed", self.conversation.session.address)
            self.transport.abort()

    def _run(self) -> None:
        """One turn: send what has come, begin what was waiting for that, start new commands."""
        if self.transport.is_closing():
            return
        self._collect()
        parser = self.parser
        if parser.drain():
            self._server.core.now_ms = self._server.clock.unix_ms()
            self._turn_s = self._meter.clock_s()
            for _ in range(COMMANDS_PER_TURN):
                if not self._may_start() or not parser.drain():
                    break
                self._server.stats.commands += 1
                self._begin(parser.ready.popleft())
            self._collect()
        if self._out:
            self.transport.write(b"".join(self._out))
            self._out.clear()
        self._after_turn()

    def _begin(self, argv: list[bytes]) -> None:
        """Begin a command; now and then, measure it."""
        meter = self._meter
        meter.countdown -= 1
        self._argv, self._weight = argv, 0 if meter.countdown > 0 else meter.weight()
        placed = self._placed
        self.conversation.start(argv)
        if self._weight and self._placed == placed:  # it has been answered
            measured(meter, argv, meter.clock_s() - self._turn_s, self._weight)

    def _collect(self) -> None:
        """Take the replies that are next in order; begin what stands first and waited for that."""
        places, out, window = self._places, self._out, self._window
        slowest_s = self._meter.clock_s() - self._server.core.slow_s if places else 0.0
        """What began before was slow."""
        while places:
            place = places[0]
            reply = place.reply
            if reply is None:
                if place.begin is None:
                    return
                begin, place.begin = place.begin, None
                begin(place.take)
                if place.reply is None:
                    return
                continue
            places.popleft()
            out.append(reply)
            if place.weight or place.began_s < slowest_s or reply[:1] == b"-":
                self._note(place, reply)
            window.finished(place.request_bytes, len(reply))
            if place.is_alone:
                self._is_held = False

    def _note(self, place: Place, reply: Frame) -> None:
        """Take note of a command that was measured, was slow, or failed."""
        meter, core = self._meter, self._server.core
        took_s = meter.clock_s() - place.began_s
        if place.weight:
            measured(meter, place.argv, took_s, place.weight)
        if took_s > core.slow_s and not place.is_local:  # what runs here is looked at where it runs
            meter.slow(self.conversation.session, place.argv, took_s, core.now_ms, held_s=0.0)
        if reply[:1] == b"-" and not place.is_local:
            command = resolve(place.argv)
            if command is not None and command.name not in CHANGES_PROTOCOL:
                meter.failed[command.number] += 1
                core.counted_error(reply)

    def _after_turn(self) -> None:
        has_started_all = not self.parser.drain()
        is_over = has_started_all and (self._has_ended or self._refusal() is not None)
        if not self._places and (self.conversation.session.closing or is_over):
            self._say_goodbye()
            return
        if has_started_all:
            self._backlog_bytes = 0
        elif self._may_start():
            self._run_soon()
        self._set_reading()

    def _refusal(self) -> ProtocolError | None:
        """Return what is wrong with what came, once all before it has been started."""
        if self.parser.error is None and self.parser.is_notable and not self.conversation.session.authenticated:
            return FROM_STRANGER
        return self.parser.error

    def _say_goodbye(self) -> None:
        """Close after QUIT or the client's own end, or after telling what was wrong with the framing."""
        refusal = self._refusal()
        if refusal is not None and not self.conversation.session.closing:
            self._server.stats.protocol_errors += 1
            self.transport.write(b"-ERR %b\r\n" % str(refusal).encode())
        self.transport.close()

    def _set_reading(self) -> None:
        """Read the socket only while nearly all that came from it has been started."""
        wanted = self._paused_since_s is None and self._backlog_bytes < BACKLOG_BYTES and not self._has_ended
        if wanted != self._is_reading and not self.transport.is_closing():
            self._is_reading = wanted
            if wanted:
                self.transport.resume_reading()
            else:
                self.transport.pause_reading()

    def check(self, now_s: float) -> None:
        """Drop the client if it has neither read nor sent anything for too long (see `Limits`)."""
        limits, stats = self._server.limits, self._server.stats
        if self._paused_since_s is not None:
            unread = self.transport.get_write_buffer_size()
            if unread < self._unread_bytes:
                self._paused_since_s = now_s
            elif now_s - self._paused_since_s > limits.slow_client_timeout_s:
                stats.dropped_slow += 1
                log.warning("dropped %s: it left %d bytes of replies unread", self.conversation.session.address, unread)
                self.transport.abort()
            self._unread_bytes = unread
        if self._places or self.parser.ready or not self.parser.has_partial:
            self._partial_since_s = None
        elif self._partial_since_s is None or self.parser.pending_bytes != self._partial_bytes:
            self._partial_since_s, self._partial_bytes = now_s, self.parser.pending_bytes
        elif now_s - self._partial_since_s > limits.half_sent_timeout_s:
            stats.dropped_half_sent += 1
            log.warning("dropped %s: it left a command half-sent", self.conversation.session.address)
            self.transport.abort()


def measured(meter: Meter, argv: list[bytes], took_s: float, weight: int) -> None:
    """Count how long a command took, from its beginning to its reply's turn."""
    command = resolve(argv)
    number = command.number if command is not None else 0
    if number not in UNCOUNTED:
        meter.ran(number, took_s, weight)
        meter.answered(CLASS_OF[number], took_s, weight)
