"""Long commands under way: a step in a turn of the loop, and none while they wait for something.

What lives here: stepping a generator from the core, on the shard's loop, with timers for what it waits for. What
does not: the generators (`commands/`), what they wait for (`wait`), whose turn it is (`server`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from raycache.shard.commands.command import Steps
from raycache.shard.wait import Wait

if TYPE_CHECKING:
    from raycache.shard.server import ShardServer
    from raycache.shard.session import Session

log = logging.getLogger(__name__)

BATCH_S: Final = 0.0005
"""How long a batch of commands without a connection runs before others have their turns."""
_FAILED: Final = b"-ERR internal error, see the shard's log\r\n"


class LongCommand:
    """Runs `steps` and hands their reply to `done` at the end of the turn, unless it is closed before.

    A step that yields None goes on in the next turn; one that yields a `Wait` goes on when that is finished or its
    deadline has passed, whichever comes first, and finds out for itself which it was.

    Args:
        session, argv: who has sent the command, and the command, for the slow log: it goes there if its steps took long
            together, unless one of them was a command that has gone there itself.
    """

    __slots__ = ("_argv", "_done", "_is_noted", "_longest_s", "_server", "_session", "_steps", "_timer", "_waiting",
                 "ran_s")

    def __init__(self, server: ShardServer, steps: Steps, done: Callable[[bytes], None],
                 session: Session | None = None, argv: list[bytes] | None = None) -> None:
        self._server = server
        self._steps: Steps | None = steps
        self._done = done
        self._waiting: Wait | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._session, self._argv = session, argv
        self._is_noted = False
        self.ran_s = self._longest_s = 0.0
        """How long its steps have run; waiting is no part of it."""
        server.queue_step(self._step)

    takes_more: Final = False
    """Whether later commands of its connection may be under way, too."""

    @property
    def is_endless(self) -> bool:
        """Whether it waits for something that may never come, without a deadline."""
        return self._waiting is not None and self._waiting.is_endless

    def close(self) -> None:
        """End it where it stands: nobody waits for its reply any more."""
        steps, self._steps = self._steps, None
        self._stop_waiting()
        if steps is not None:
            steps.close()

    def _step(self) -> None:
        steps, server = self._steps, self._server
        if steps is None:
            return
        meter, began_s = server.core.meter, server.monotonic_s()
        noted = meter.noted
        reply, wait = _next(steps)
        took_s = server.monotonic_s() - began_s
        self.ran_s += took_s
        if took_s > self._longest_s:
            self._longest_s = took_s
        if meter.noted != noted:
            self._is_noted = True
        if reply is not None:
            self._steps = None
            if self.ran_s > server.core.slow_s:
                self._note_slow()
            server.finished.append((self._done, reply))
        elif wait is None or wait.is_done:
            server.queue_step(self._step)
        else:
            self._wait_for(wait)

    def _note_slow(self) -> None:
        core = self._server.core
        if self._session is not None and self._argv is not None and not self._is_noted:
            core.meter.slow(self._session, self._argv, self.ran_s, core.now_ms, held_s=self._longest_s)

    def _wait_for(self, wait: Wait) -> None:
        self._waiting = wait
        left_s = wait.deadline_s - self._server.clock.monotonic_s()
        self._timer = self._server.loop.call_later(max(0.0, left_s), self._go_on, wait)
        wait.on_done(lambda: self._go_on(wait))

    def _go_on(self, wait: Wait) -> None:
        """What it waited for is there, or too late: the next step comes in a turn of its own."""
        if self._waiting is wait:  # else it is done now, and was given up before
            self._stop_waiting()
            self._server.queue_step(self._step)

    def _stop_waiting(self) -> None:
        self._waiting = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _next(steps: Steps) -> tuple[bytes | None, Wait | None]:
    """Run one step; return the reply if it was the last, and what to wait for before the next."""
    try:
        return None, next(steps)
    except StopIteration as stop:
        return stop.value, None
    except Exception:
        log.exception("a long command failed")
        return _FAILED, None


async def finished(server: ShardServer, steps: Steps) -> bytes:
    """Run `steps` to their end and return the reply, for whoever has no connection to send it on."""
    outcome: asyncio.Future[bytes] = server.loop.create_future()

    def done(reply: bytes) -> None:
        if not outcome.done():  # whoever waited for it may have been cancelled in this very turn
            outcome.set_result(reply)

    long = LongCommand(server, steps, done)
    try:
        return await outcome
    finally:
        long.close()


async def run_batch(server: ShardServer, commands: Iterable[list[bytes]]) -> list[bytes]:
    """Run `commands` in their order, for a caller whom Ray has let in; return the replies. Others have their turns."""
    core, monotonic_s = server.core, server.clock.monotonic_s
    session = core.open_session("ray:0")
    session.authenticated, session.rights, session.is_peer = True, None, True
    session.is_anonymous = False
    session.refresh()
    replies: list[bytes] = []
    end_s = monotonic_s() + BATCH_S
    try:
        for argv in commands:
            if monotonic_s() > end_s:
                await asyncio.sleep(0)
                end_s = monotonic_s() + BATCH_S
            server.begin_turn()
            reply = core.execute(session, argv)
            server.hand_on()
            replies.append(reply if isinstance(reply, bytes) else await finished(server, reply))
    finally:
        core.close_session(session)
    return replies
