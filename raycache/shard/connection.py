"""One client's connection: its bytes in, its commands' turns, its replies out, and the bounds on what it may hold up.

What lives here: the protocol object of one socket. What does not: whose turn it is (`server`), framing (`resp.parse`),
commands (`core`). It belongs to the shard's loop. Which bounds there are stands in `server`.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, cast

from raycache.resp.parse import BROKEN, FROM_STRANGER, RequestParser
from raycache.shard.careful import Independent
from raycache.shard.commands.command import Steps
from raycache.shard.lone import LONE_START, lone_read
from raycache.shard.long import LongCommand
from raycache.shard.meter import MeasuredTurn
from raycache.shard.overlap import Overlap, independent_keys
from raycache.shard.session import Session
from raycache.shard.tracking import ALL_CHANGED
from raycache.shard.turn import TURN_COMMANDS

if TYPE_CHECKING:
    from raycache.shard.server import ShardServer

log = logging.getLogger(__name__)
_join: Final = b"".join
_SHOWS_SECRET: Final = b"*2\r\n$4\r\nAUTH\r\n"
"""How other shards and the router begin."""
_TOO_MANY: Final = b"-ERR max number of clients reached\r\n"
MAX_BEHIND_BYTES: Final = 64 * 1024
"""Of announcements that are kept to be said again; beyond, one that says that everything may have changed."""


class Connection(asyncio.Protocol):
    """One client: its parser, its session, and whatever command of it is under way."""

    __slots__ = ("_behind", "_core", "_has_ended", "_has_missed", "_is_extra", "_is_queued", "_is_reading", "_long",
                 "_loop", "_measured", "_meter", "_out", "_partial_bytes", "_queued_s", "_rest", "_seen_in", "_server",
                 "_strange_bytes", "_unread_bytes", "is_watched", "parser", "partial_since_s", "paused_since_s",
                 "session", "transport")

    session: Session
    transport: asyncio.Transport

    def __init__(self, server: ShardServer) -> None:
        self._server = server
        self._core = server.core
        self._loop = server.loop
        self._meter = server.core.meter
        self._measured: MeasuredTurn | None = None
        """Its turn, from when it runs until all its replies are out, if it is one of those that are measured."""
        self._queued_s = 0.0
        """When it was queued last."""
        self.parser = RequestParser(server.limits)
        self._long: LongCommand | Overlap | None = None
        self._is_queued = False
        self._seen_in = -1
        self._is_reading = True
        self._is_extra = False
        """Over the limit, and not yet known to be another shard or the router."""
        self.is_watched = False
        """Over the limit, or a stranger where the door demands the secret: what it sends is looked at first."""
        self._strange_bytes = 0
        """What it has sent while it was a stranger."""
        self._has_ended = False
        """Whether the client has said that it sends no more."""
        self._out: list[bytes] = []
        self._rest: Steps | bool | None = None
        """What its turn has left (see `ShardCore.execute_many`), until `end_turn`; None: it has had none."""
        self._behind: list[bytes] = []
        """What was pushed ahead of replies that are under way, to be said again behind them."""
        self._has_missed = False
        """Whether something was not pushed because the client does not read."""
        self._unread_bytes = 0
        self._partial_bytes = 0
        self.paused_since_s: float | None = None
        self.partial_since_s: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's transports are none by inheritance
        self.transport = transport
        transport.set_write_buffer_limits(high=self._server.limits.output_high_water_bytes)
        self._server.admit(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._long is not None:
            self._long.close()
            self._long = None
        self._server.forget(self)

    def eof_received(self) -> bool:
        """Keep the connection while commands that came before the end still run or wait; not for a lease, which is for
        those who are there."""
        self._has_ended, self._is_reading = True, False
        if (self._long is not None and self.session.last_command == "rc.lease") or self._server.tls is not None:
            return False  # and with TLS a connection cannot be half open
        return self._is_busy()

    def _is_busy(self) -> bool:
        """Whether what came earlier still runs, or waits."""
        return (self._is_queued or self._rest is not None or self._long is not None
                or self.paused_since_s is not None)

    def wait_for_secret(self, patience_s: float) -> None:
        """It is one too many: refuse it unless it shows the cluster's secret at once."""
        self._is_extra = self.is_watched = True
        self._loop.call_later(patience_s, self._refuse_extra)

    def _refuse_extra(self) -> None:
        if self._is_extra and not self.session.is_peer and not self.transport.is_closing():
            self._server.stats.connections_refused += 1
            self.transport.write(_TOO_MANY)
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        if self.is_watched and not self._may_send(data):
            return
        server = self._server
        if self._seen_in != server.window:
            self._seen_in = server.window
            server.note_active()
            if server.may_look:
                server.look(data)
        # A plain read that comes alone, while nothing else is under way here, is answered without parser and turn.
        if (
            server.is_calm and data.startswith(LONE_START) and self._rest is None and self._long is None
            and not self._is_queued and self.paused_since_s is None and self._is_reading
            and (left := self._meter.countdown - 1) > 0 and not self.parser.has_partial
        ):
            server.begin_turn()
            transport = self.transport
            if not transport.is_closing() and lone_read(self._core, self.session, data, transport.write):
                self._meter.countdown = left
                return
        self.parser.feed(data)
        if (self._rest is not None or self._is_queued or self._long is not None
                or self.paused_since_s is not None):  # `_is_busy`, without the call
            self._bound_input()
            if self._long is not None and self._long.takes_more:
                self._continue_soon()
        elif server.is_calm:
            server.begin_turn()
            self.run_turn()
            server.hand_on()
            self.end_turn()
        elif (now_s := server.monotonic_s()) < server.open_until_s or server.opens():
            server.served.append(self)
            self.run_turn()
        else:
            self._is_queued, self._queued_s = True, now_s
            server.queue(self)

    def _may_send(self, data: bytes) -> bool:
        """Judge what comes from one over the limit, or from a stranger; refuse too much of it."""
        session = self.session
        if self._is_extra and not session.is_peer and not data.startswith(_SHOWS_SECRET):
            self._refuse_extra()
            return False
        if session.authenticated:
            self.is_watched = self._is_extra and not session.is_peer
            return True
        self._strange_bytes += len(data)
        if self._strange_bytes <= self._server.limits.max_unauthenticated_bytes:
            return True
        self._server.stats.dropped_strangers += 1
        self.transport.write(b"-ERR %b\r\n" % str(FROM_STRANGER).encode())
        self.transport.close()
        return False

    def _bound_input(self) -> None:
        """It sends on while its earlier commands still run or wait: TCP shall slow it down."""
        if self.parser.pending_bytes > self._server.limits.output_high_water_bytes:
            self._stop_reading()

    def pause_writing(self) -> None:
        self.paused_since_s = self._server.clock.monotonic_s()
        self._unread_bytes = self.transport.get_write_buffer_size()
        self._stop_reading()

    def resume_writing(self) -> None:
        self.paused_since_s = None
        if self._has_missed:
            self._has_missed = False
            self.push(ALL_CHANGED)
        self._continue_soon()

    def push(self, message: bytes) -> None:
        """Send what nobody has asked for: that keys have changed.

        At once, since replies under way may take long; and once more behind them, since one of them may say what was
        there before, and it is what comes last that counts. A client that does not read is told later that everything
        may have changed.
        """
        if self.transport.is_closing():
            return
        if self.paused_since_s is not None:
            self._has_missed = True
            return
        self.transport.write(message)
        if self._rest is not None or self._long is not None:
            self._behind.append(message)
            if sum(map(len, self._behind)) > MAX_BEHIND_BYTES:
                self._behind = [ALL_CHANGED]
            self._server.at_end(self._push_behind)

    def _push_behind(self) -> None:
        """Say again what was pushed ahead of replies; until all of them are out, behind each."""
        if not self._behind or self.transport.is_closing():
            return
        if self.paused_since_s is not None:
            self._has_missed = True
            self._behind.clear()
            return
        self.transport.write(_join(self._behind))
        if self._rest is None and self._long is None:
            self._behind.clear()

    def _stop_reading(self) -> None:
        if self._is_reading:
            self._is_reading = False
            self.transport.pause_reading()

    def _continue_soon(self) -> None:
        if not self._is_queued and (self._long is None or self._long.takes_more):
            self._is_queued, self._queued_s = True, self._server.monotonic_s()
            self._server.queue(self)

    def run_turn(self) -> None:
        """Run one turn of what has come; the replies wait for `end_turn`."""
        was_queued, self._is_queued = self._is_queued, False
        if self.paused_since_s is not None or self._long is not None or self.transport.is_closing():
            if isinstance(self._long, Overlap):
                self._run_behind(self._long, self._queued_s if was_queued else None)
            return
        parser, meter, measured = self.parser, self._meter, None
        take = parser.start() if parser.is_waiting else parser.take
        if (left := meter.countdown - 1) > 0:
            meter.countdown = left
        else:
            measured = self._measured = meter.measure(self._queued_s if was_queued else meter.clock_s())
            take = measured.watched(take, self._core.commands)
        try:
            self._rest = self._core.execute_many(self.session, take, self._out)
        except BROKEN as error:
            self._rest = parser.fail(error)
        except Exception:
            self.give_up()
        if measured is not None:
            measured.over(is_long=not isinstance(self._rest, bool), commands=self._core.commands)

    def end_turn(self) -> None:
        """Send the replies, and see to it that what is left gets its turn."""
        rest, out = self._rest, self._out
        if rest is None:
            return
        self._rest = None
        transport, parser = self.transport, self.parser
        if transport.is_closing():  # a CLIENT KILL of this very turn
            out.clear()
            self._measured = None
            if not isinstance(rest, bool):
                rest.close()
            return
        has_taken = rest is not False
        if out:
            has_taken = True
            transport.write(_join(out))
            out.clear()
        if self._measured is not None:
            self._measured.replied()
            if isinstance(rest, bool):
                self._measured = None
        if not parser.finish(has_taken, rest is False):
            if not self._is_reading or parser.is_notable:
                self._has_run_all()
        elif isinstance(rest, Independent):
            self._long = overlap = Overlap(self._server, self.session, self._send_replies)
            overlap.add(rest, self._long_argv(), rest.keys, self._measured)
            self._measured = None
            self._run_behind(overlap, None)
        elif not isinstance(rest, bool):
            self._long = LongCommand(self._server, rest, self._finish_long, self.session, self._long_argv())
        elif self.session.closing:
            self.transport.close()
        elif self.paused_since_s is None:
            self._continue_soon()

    def _long_argv(self) -> list[bytes]:
        """Take the command whose steps the turn has left."""
        argv, self.session.long_argv = self.session.long_argv, []
        return argv

    def give_up(self) -> None:
        """Its turn failed: that ends this connection, and nobody else's turn."""
        log.exception("the turn of %s failed; its connection is closed", self.session.address)
        self.transport.abort()

    def _has_run_all(self) -> None:
        """Nothing is left to run but, perhaps, what can never run: read on, or close."""
        error = self.parser.error
        if error is None and self.parser.is_notable and not self.session.authenticated:
            error = FROM_STRANGER
        if error is not None:
            self._server.stats.protocol_errors += 1
            self.transport.write(b"-ERR %b\r\n" % str(error).encode())
            self.transport.close()
        elif self._has_ended:
            self.transport.close()
        elif not self._is_reading and self.paused_since_s is None:
            self._is_reading = True
            self.transport.resume_reading()

    def _finish_long(self, reply: bytes) -> None:
        """A long command is done: its connection's later commands have waited for it."""
        long, self._long = self._long, None
        if self.transport.is_closing():
            return
        assert isinstance(long, LongCommand)
        self.transport.write(reply)
        if self._measured is not None:
            self._measured.ran_long(long.ran_s)
            self._measured.replied()
            self._measured = None
        self._push_behind()
        if self.paused_since_s is None:
            self._continue_soon()

    def _run_behind(self, overlap: Overlap, came_s: float | None) -> None:
        """Begin what has come behind commands under way, as far as it need not wait for them.

        Args:
            came_s: when it came; None: just now.
        """
        if self.paused_since_s is not None or self.transport.is_closing():
            return
        core, session, parser = self._core, self.session, self.parser
        for _ in range(TURN_COMMANDS):
            if not parser.ready and not parser.drain():
                self._read_on()
                return
            keys = independent_keys(session, parser.ready[0])
            if session.closing or not overlap.has_room_for(keys):
                return
            argv = parser.ready.popleft()
            measured = self._measured_behind(argv, came_s)
            reply = core.execute(session, argv)
            if isinstance(reply, bytes):
                if measured is not None:
                    measured.over()
                overlap.add_reply(reply, measured)
            else:
                overlap.add(reply, argv, keys if isinstance(reply, Independent) else None, measured)
        self._continue_soon()

    def _measured_behind(self, argv: list[bytes], came_s: float | None) -> MeasuredTurn | None:
        """Measure a command that begins behind others, now and then: it counts for a turn of its own."""
        meter = self._meter
        meter.countdown -= 1
        if meter.countdown > 0:
            return None
        measured = meter.measure(meter.clock_s() if came_s is None else came_s)
        measured.begin(argv)
        return measured

    def _read_on(self) -> None:
        if not self._is_reading and not self._has_ended and self.paused_since_s is None:
            self._is_reading = True
            self.transport.resume_reading()

    def _send_replies(self, replies: bytes) -> None:
        """Commands that were under way together are done; others may have waited for them."""
        overlap, transport = self._long, self.transport
        if not isinstance(overlap, Overlap) or transport.is_closing():
            return
        if replies:
            transport.write(replies)
            self._push_behind()
        if not overlap.is_empty or self.parser.ready:
            if self.session.closing and overlap.is_empty:
                transport.close()
            else:
                self._continue_soon()
            return
        self._long = None
        self._push_behind()
        if self.session.closing:
            transport.close()
        elif self.paused_since_s is None:
            self._continue_soon()

    def check(self, now_s: float) -> None:
        """Drop the client if it has neither read nor sent anything for too long (see `Limits`), or has gone."""
        limits, stats = self._server.limits, self._server.stats
        if self._has_ended and self._long is not None and self._long.is_endless:
            # As Redis does: whoever has ended their side while WAIT waits for ever is not there any more.
            self.transport.abort()
            return
        if self.paused_since_s is not None:
            unread = self.transport.get_write_buffer_size()
            if unread < self._unread_bytes:
                self.paused_since_s = now_s
            elif now_s - self.paused_since_s > limits.slow_client_timeout_s:
                stats.dropped_slow += 1
                log.warning("dropped %s: it left %d bytes of replies unread", self.session.address, unread)
                self.transport.abort()
            self._unread_bytes = unread
        is_waiting = self._long is None and not self._is_queued and self.paused_since_s is None
        if is_waiting and self.parser.has_partial:
            if self.partial_since_s is None or self.parser.pending_bytes != self._partial_bytes:
                self.partial_since_s, self._partial_bytes = now_s, self.parser.pending_bytes
            elif now_s - self.partial_since_s > limits.half_sent_timeout_s:
                stats.dropped_half_sent += 1
                log.warning("dropped %s: it left a command half-sent", self.session.address)
                self.transport.abort()
        else:
            self.partial_since_s = None
