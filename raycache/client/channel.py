"""The async handle's connection to one shard: everything asked within one turn of the loop leaves in one write.

What lives here: coalescing, the wire, dialling, and the watch over deadlines. What does not: which shard, and trying
again (`aio_dispatcher.py`). Belongs to one loop. Works on asyncio's own loops and on uvloop.

Where slots have several copies the channel listens for silence, too: when nothing has come for a while although
something is expected, reads that may be asked elsewhere end with `Silent`, and so do those of the next second. The
connection stays, for the writes on it and for whatever the shard says when it wakes.

Order: what is submitted first is sent first, on one connection, and a shard answers in order. Neighbouring single
reads become one RC.MGET; a write between them ends the run, so nothing overtakes anything.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, cast

import hiredis

from raycache.client import requests
from raycache.client.info import ANYBODY, Address, Login
from raycache.client.pending import MAX_RUN, Auth, Call, Item, Reads
from raycache.client.requests import Request
from raycache.client.retry import Failure, Lost, Silent, full_jitter_s, no_reply
from raycache.client.settings import REPLICATED_CONNECT_TIMEOUT_S, ClientSettings
from raycache.errors import AuthenticationError, ProtocolError
from raycache.tls import connect_options

# asyncio's timers may fire this much early.
_TIMER_SLACK_S: Final = 0.002
# About as long as it takes until a lost shard has been replaced; then it is asked once more.
SUSPECT_S: Final = 1.0
# Answers came so lately, as a part of an operation's time limit, that the shard is there and only slow: then what is
# overdue ends alone. To break the connection would end all that is in flight, and to send that once more is what a
# shard with too much to do can bear least.
LATELY: Final = 0.2
_LOOKS_PER_HEDGE: Final = 2
_PATIENCE: Final = 4.0
_LAG_DECAY: Final = 0.8
LONGEST_PATIENCE: Final = 0.25
"""As a part of an operation's time limit: who is asked next needs time, too."""
NO_DEADLINE_S: Final = float("inf")


class Wire(asyncio.Protocol):
    """One connection: items in flight, oldest first."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._reader = hiredis.Reader()
        self._transport: asyncio.Transport | None = None
        self.in_flight: deque[Item] = deque()
        self.paused = False
        self.lost = False
        self.heard_s = float("-inf")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def send(self, items: Iterable[Item]) -> None:
        """Write the commands of `items` at once."""
        assert self._transport is not None
        items = list(items)
        now_s = self._channel.now_s()
        for item in items:
            item.sent_s = now_s
        self.in_flight.extend(items)
        if self._channel.is_bulky:
            self._channel.is_bulky = False
            # One after the other, and none of them joined: the transport keeps what it cannot send at once.
            self._transport.writelines([part for item in items for part in (item.frame(), *item.tail())])
        else:
            self._transport.write(b"".join([item.frame() for item in items]))

    def data_received(self, data: bytes) -> None:
        self._channel.heard += 1
        self.heard_s = self._channel.now_s()
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not False:
                self._resolve(reply)
        except (hiredis.ProtocolError, IndexError) as error:
            self.fail(ProtocolError(f"{self._channel.name} sent something that answers nothing: {error}"))

    def _resolve(self, reply: Any) -> None:
        item = self.in_flight[0]
        if item.take(reply):
            self.in_flight.popleft()
            refusal = item.refusal
            if refusal is not None:
                self.fail(refusal)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._reject(Lost(f"{self._channel.name}: {exc or 'the connection was closed'}", sent=True))

    def fail(self, failure: Exception) -> None:
        """Give up on the connection; everything in flight ends with `failure`."""
        self._reject(failure)
        self.abort()

    def expire(self, now_s: float) -> None:
        """End what is overdue. If the shard has been silent, too, give up on the connection: the rest has lost it."""
        if now_s - self.heard_s < LATELY * self._channel.timeout_s:
            for item in self.in_flight:
                if item.deadline_s <= now_s:
                    item.reject(no_reply(self._channel.address))
                    item.deadline_s = NO_DEADLINE_S  # its place is kept for its reply, which answers nobody
            return
        lost, silent = Lost(f"{self._channel.name} stopped answering", sent=True), no_reply(self._channel.address)
        items, self.in_flight = self.in_flight, deque()
        for item in items:
            item.reject(silent if item.deadline_s <= now_s else lost)
        self.abort()

    def abort(self) -> None:
        """Close at once."""
        self._channel.wire_gone(self)
        if self._transport is not None:
            self._transport.abort()

    def _reject(self, failure: Exception) -> None:
        self._channel.wire_gone(self)
        items, self.in_flight = self.in_flight, deque()
        for item in items:
            item.reject(failure)

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        self._channel.flush()


class Channel:
    """What one loop has to say to the shard at `address`."""

    def __init__(
        self, address: Address, login: Login | None, settings: ClientSettings, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.address = address
        self.name = f"{address[0]}:{address[1]}"
        self._login = login or ANYBODY
        self._settings = settings
        self.loop = loop
        """The only one that may use it."""
        self._wire: Wire | None = None
        self._outbox: deque[Item] = deque()
        self._run: Reads | None = None
        """The last item of the outbox, if another read may be added to it."""
        self._flush_due = False
        self.is_bulky = False
        """Whether something is queued whose value is not to be copied."""
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at_s = 0.0
        self._dialling: asyncio.Task[None] | None = None
        self._dial_failures = 0
        self._not_before_s = 0.0
        self._last_error = f"{self.name}: no connection before the deadline"
        self._connect_timeout_s = settings.connect_timeout_s
        self.heard = 0
        """How often the shard has sent something."""
        self._on_silence: Callable[[Channel], None] | None = None
        self._listening: asyncio.TimerHandle | None = None
        self._heard_before = 0
        self._quiet = 0
        self._lag_s = 0.0
        """For how long the oldest of what is in flight has waited lately, while others were answered."""
        self._suspect_until_s = 0.0

    def now_s(self) -> float:
        """Return the loop's time."""
        return self.loop.time()

    @property
    def timeout_s(self) -> float:
        """The limit of one operation."""
        return self._settings.timeout_s

    def listen(self, on_silence: Callable[[Channel], None]) -> None:
        """Have `on_silence` called whenever the shard has not answered for a while. Other copies may be asked."""
        self._on_silence = on_silence
        self._connect_timeout_s = min(self._connect_timeout_s, REPLICATED_CONNECT_TIMEOUT_S)

    @property
    def is_silent(self) -> bool:
        """Whether an answer is overdue now."""
        return self._quiet * self._settings.hedge_s >= _LOOKS_PER_HEDGE * self.patience_s

    @property
    def patience_s(self) -> float:
        """How long a read waits before somebody else is asked.

        Longer where answers have been late: a shard that has too much to do gets more if what it has not come to yet
        is asked for once more, there or elsewhere, and so do the others. (TCP waits for a multiple of the time that
        answers have taken lately, too: RFC 6298.)
        """
        return max(self._settings.hedge_s, min(_PATIENCE * self._lag_s, LONGEST_PATIENCE * self._settings.timeout_s))

    @property
    def is_suspect(self) -> bool:
        """Whether the shard has not answered lately."""
        return self._suspect_until_s > self.loop.time()

    @property
    def is_trusted(self) -> bool:
        """Whether nothing speaks against the shard: it is connected, and has answered since it was last silent."""
        return self._wire is not None and not self._suspect_until_s

    def obstacle(self) -> Failure | None:
        """Return why nothing need be submitted, where somebody else may be asked or will soon serve."""
        if self._wire is None and self._dialling is None and self._not_before_s > self.loop.time():
            return Lost(self._last_error, sent=False)
        return None

    def silence(self) -> Silent:
        """Return the failure of a read that is not sent, because the shard has not answered lately."""
        return self._silent(sent=False)

    def suspect(self) -> None:
        """Avoid the shard for a while."""
        self._suspect_until_s = self.loop.time() + SUSPECT_S

    @property
    def is_live(self) -> bool:
        """Whether there is a connection."""
        return self._wire is not None

    def submit(self, request: Request[Any], deadline_s: float) -> asyncio.Future[Any]:
        """Queue a request for the end of this turn of the loop.

        The future's *result* is the reply, or the exception that stands for it; it never raises, so a waiter that was
        cancelled leaves no unread exception behind.
        """
        if request.read_key is not None:
            return self.read(request.read_key, deadline_s)
        future: asyncio.Future[Any] = self.loop.create_future()
        self._run = None
        if request.tail:
            self.is_bulky = True
        self._queue(Call(request, future, deadline_s))
        return future

    def read(self, key: bytes, deadline_s: float | None = None) -> asyncio.Future[Any]:
        """Queue a plain read, with the neighbouring ones as one command; otherwise as `submit`. HOT.

        Args:
            key: of `requests.JOINED_KEY_BYTES` at most.
            deadline_s: None: that of an operation that begins now.
        """
        future = self.loop.create_future()
        run = self._run
        if run is None or len(run.keys) >= MAX_RUN:
            run = self._open_run(deadline_s)
        run.keys.append(key)
        run.futures.append(future)
        return future

    def _open_run(self, deadline_s: float | None) -> Reads:
        """Begin another run. One that is full is sent: the shard works on it while more is asked."""
        if self._run is not None and self._wire is not None:
            self.flush()
        run = self._run = Reads(self.now_s() + self.timeout_s if deadline_s is None else deadline_s)
        self._queue(run)
        return run

    def _queue(self, item: Item) -> None:
        self._outbox.append(item)
        deadline_s = item.deadline_s
        if not self._flush_due:
            self._flush_due = True
            self.loop.call_soon(self._flush_now)
        if self._timer is None or deadline_s < self._timer_at_s:
            self._watch(deadline_s)
        if self._listening is None and self._on_silence is not None:
            self._listen()

    def flush(self) -> None:
        """Send what is queued, if there is a connection that takes it; dial if there is none."""
        if not self._outbox:
            return
        if self._wire is None:
            if self._dialling is None:
                self._dialling = self.loop.create_task(self._dial())
        elif not self._wire.paused:
            items, self._outbox, self._run = self._outbox, deque(), None
            wanted = [item for item in items if item.is_wanted()]
            if wanted:
                self._wire.send(wanted)

    def wire_gone(self, wire: Wire) -> None:
        """Note that `wire` is no connection any more."""
        if self._wire is wire:
            self._wire = None

    def close(self, failure: Exception) -> None:
        """Close the connection; everything queued or in flight ends with `failure`."""
        if self._dialling is not None:
            self._dialling.cancel()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._stop_listening()
        self.fail(failure)
        self._reject_queued(failure)

    def fail(self, failure: Exception) -> None:
        """Give up the connection, if there is one; everything in flight ends with `failure`."""
        if self._wire is not None:
            self._wire.fail(failure)

    def _flush_now(self) -> None:
        self._flush_due = False
        self.flush()

    async def _dial(self) -> None:
        try:
            await asyncio.sleep(max(0.0, self._not_before_s - self.loop.time()))
            async with asyncio.timeout(self._connect_timeout_s):
                _, wire = await self.loop.create_connection(lambda: Wire(self), *self.address,
                                                             **connect_options(self._login.tls, self.address[0]))
            if wire.lost:
                raise ConnectionResetError("closed as soon as it was open")
        except Exception as error:
            self._dial_failures += 1
            self._not_before_s = self.loop.time() + full_jitter_s(self._dial_failures, self._settings.rng)
            self._last_error = f"cannot connect to {self.name}: {error or 'timed out'}"
            if self._on_silence is not None:
                self.suspect()
            distrusted = isinstance(error, ssl.SSLCertVerificationError)
            self._reject_queued(AuthenticationError(self._last_error) if distrusted
                                else Lost(self._last_error, sent=False))
        else:
            self._dial_failures = 0
            self._wire = wire
            if self._login.secret is not None:
                # In front of the first commands, not before them: a refused secret refuses those, too.
                request = requests.authenticate(self._login.secret, self._login.user)
                auth = Auth(request, self.loop.create_future(), self.loop.time())
                auth.deadline_s += self._settings.timeout_s
                wire.send([auth])
        finally:
            self._dialling = None
        self.flush()

    def _reject_queued(self, failure: Exception) -> None:
        items, self._outbox, self._run = self._outbox, deque(), None
        for item in items:
            item.reject(failure)

    def _on_deadline(self) -> None:
        """End what is overdue, and set the timer for what comes next."""
        self._timer = None
        now_s = self.loop.time() + _TIMER_SLACK_S
        wire = self._wire
        if wire is not None and any(item.deadline_s <= now_s for item in wire.in_flight):
            wire.expire(now_s)
        overdue = [item for item in self._outbox if item.deadline_s <= now_s]
        if overdue:
            self._run = None
            self._outbox = deque(item for item in self._outbox if item.deadline_s > now_s)
            for item in overdue:
                item.reject(Lost(self._last_error, sent=False))
        waiting = [*self._outbox, *(wire.in_flight if wire is not None else ())]
        next_s = min((item.deadline_s for item in waiting), default=NO_DEADLINE_S)
        if next_s < NO_DEADLINE_S:
            self._watch(next_s)

    def _watch(self, deadline_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_at(deadline_s, self._on_deadline)
        self._timer_at_s = deadline_s

    # -- silence

    def _listen(self) -> None:
        self._heard_before = self.heard
        self._listening = self.loop.call_later(self._settings.hedge_s / _LOOKS_PER_HEDGE, self._look)

    def _stop_listening(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
            self._listening = None

    def _look(self) -> None:
        """Count the looks in a row that found something expected and nothing come."""
        self._listening = None
        if self.heard != self._heard_before:
            self._quiet, self._suspect_until_s = 0, 0.0
            self._lag_s = max(_LAG_DECAY * self._lag_s, self._oldest_s())
        elif self._is_expecting():
            self._quiet += 1
        if not self._is_expecting():
            self._quiet = 0
            return
        self._listen()
        if self.is_silent and self._on_silence is not None:
            self.suspect()
            wire = self._wire
            for item in [*self._outbox, *(wire.in_flight if wire is not None else ())]:
                item.hedge(self._silent(sent=wire is not None))
            self._on_silence(self)

    def _oldest_s(self) -> float:
        in_flight = self._wire.in_flight if self._wire is not None else ()
        return self.loop.time() - in_flight[0].sent_s if in_flight else 0.0

    def _is_expecting(self) -> bool:
        return bool(self._outbox or (self._wire is not None and self._wire.in_flight))

    def _silent(self, *, sent: bool) -> Silent:
        return Silent(f"{self.name} has not answered within {self.patience_s * 1000:.0f} ms", sent=sent)
