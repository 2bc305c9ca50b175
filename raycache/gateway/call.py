"""Calls: commands on their way to a shard, and what each makes of its replies or of their absence.

What lives here: single commands, a shard's portion of a transaction, and gathering the replies to a
command's parts. What does not: where they go and when they are tried again (`executor`), connections
(`upstream`). They belong to the gateway's loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from raycache.gateway.merge import Merge
from raycache.gateway.request import encoded, encoded_transaction, may_repeat
from raycache.gateway.transaction import Portion
from raycache.resp import encode
from raycache.resp.reply import Frame, is_error
from raycache.shard.commands.command import Command

log = logging.getLogger(__name__)

Done = Callable[[Frame], None]
"""Takes a reply, exactly once."""

_NOT_RUN: Final = (b"-MOVED ", b"-CLUSTERDOWN ", b"-LOADING ", b"-ASK ", b"-TRYAGAIN ")
"""Refusals that say: not here, or not now; but for the one below, the command surely did not run."""
_PARTLY_RUN: Final = b"-TRYAGAIN Slots moved while "
"""Its slots moved while a long command ran in steps. Any other TRYAGAIN says: not yet, and nothing ran."""
_MERGE_FAILED: Final = encode.error("ERR internal error, see the gateway's log")


class Client(Protocol):
    """Who a command is for, as far as the executor must know."""

    stranded: int
    """Commands waiting for the next topology; while there are any, later ones must not overtake them."""

    def proceed(self) -> None:
        """No command is stranded any more."""


class Stranded(Protocol):
    """What waits for the next topology."""

    @property
    def errand(self) -> Errand:
        """For whom, and until when."""

    @property
    def is_tried_once(self) -> bool:
        """Whether it must not wait at all."""

    @property
    def done(self) -> Done:
        """Takes the error if the wait was in vain."""

    def again(self) -> None:
        """There may be a newer topology: try again."""


@dataclass(slots=True)
class Errand:
    """For whom and how: shared by all parts of one command, and never changed.

    Not frozen: there is one per command, and a frozen one costs 1 us more to make, a tenth of the whole command.
    """

    client: Client
    protocol: int
    is_long: bool
    deadline_s: float


class Sender(Protocol):
    """What sees calls through: the executor."""

    def send(self, call: ShardCall) -> None:
        """Send a call where it belongs now."""

    def send_portion(self, call: PortionCall) -> None:
        """Cut a portion anew under the newest topology and send what comes of it."""

    def strand(self, call: Stranded, reason: str) -> None:
        """Keep a call that did not run for the next topology, or answer it if it has waited long enough."""

    def lost(self, call: ShardCall | PortionCall, reason: str, was_sent: bool) -> None:
        """Judge a call whose connection broke."""


class ShardCall:
    """One command on its way to one shard."""

    __slots__ = ("argv", "command", "done", "errand", "executor", "is_detour", "is_tried_once", "shard_id")

    expects = 1

    def __init__(self, executor: Sender, errand: Errand, command: Command, argv: list[bytes], done: Done,
                 shard_id: str | None = None, is_tried_once: bool = False) -> None:
        self.executor = executor
        self.errand = errand
        self.command = command
        self.argv = argv
        self.done = done
        self.shard_id = shard_id
        """The shard it is meant for, whatever its keys; None: its keys decide."""
        self.is_tried_once = is_tried_once
        self.is_detour = False
        """On its way to a replica, because the primary does not answer."""

    def encode(self) -> bytes:
        return encoded(self.argv)

    def answered(self, frames: list[Frame]) -> None:
        frame = frames[0]
        if frame[0] == 0x2D and (_did_not_run(frame) or (frame.startswith(_PARTLY_RUN) and self.may_repeat())):
            self.executor.strand(self, _text(frame))
        else:
            self.done(frame)

    def lost(self, reason: str, was_sent: bool) -> None:
        self.executor.lost(self, reason, was_sent)

    def may_repeat(self) -> bool:
        """Whether running it twice changes nothing."""
        return may_repeat(self.command, self.argv)

    def again(self) -> None:
        """Go where the newest topology says."""
        self.is_detour = False
        self.executor.send(self)


class PortionCall:
    """One shard's portion of a transaction, on its way."""

    __slots__ = ("done", "errand", "executor", "expects", "portion")

    is_tried_once = False

    def __init__(self, executor: Sender, errand: Errand, portion: Portion, done: Done) -> None:
        self.executor = executor
        self.errand = errand
        self.portion = portion
        self.done = done
        self.expects = len(portion.queue) + 2

    def encode(self) -> bytes:
        return encoded_transaction(argv for _, argv in self.portion.queue)

    def answered(self, frames: list[Frame]) -> None:
        """Pass on EXEC's reply; where the shard refused to queue something, nothing ran, and the reply says why."""
        refusal = next(filter(is_error, frames[:-1]), None)
        if refusal is None and _did_not_run(frames[-1]):  # a slot moved after its command was queued
            refusal = frames[-1]
        if refusal is None:
            self.done(frames[-1])
        elif _did_not_run(refusal):
            self.executor.strand(self, _text(refusal))
        else:
            self.done(b"-EXECABORT Transaction discarded because of: " + refusal[1:])

    def lost(self, reason: str, was_sent: bool) -> None:
        self.executor.lost(self, reason, was_sent)

    def may_repeat(self) -> bool:
        """Whether running all of it twice changes nothing."""
        return all(may_repeat(command, argv) for command, argv in self.portion.queue)

    def again(self) -> None:
        """Go where the newest topology says; that may be several shards by now."""
        self.executor.send_portion(self)


class RoundCall:
    """A coroutine that waits for the next topology; see `executor.Executor.next_round`."""

    is_tried_once = False

    def __init__(self, errand: Errand) -> None:
        self.errand = errand
        self.outcome: asyncio.Future[Frame | None] = asyncio.get_running_loop().create_future()

    def done(self, reply: Frame) -> None:
        if not self.outcome.done():
            self.outcome.set_result(reply)

    def again(self) -> None:
        if not self.outcome.done():
            self.outcome.set_result(None)


class Gather:
    """Collects the replies to a command's parts, in any order; calls `done` with the merged one."""

    __slots__ = ("_done", "_merge", "_missing", "_replies")

    def __init__(self, count: int, merge: Merge, done: Done) -> None:
        self._replies: list[Frame] = [b""] * count
        self._missing = count
        self._merge = merge
        self._done = done

    def take(self, index: int, reply: Frame) -> None:
        """Take in the reply to part `index`."""
        self._replies[index] = reply
        self._missing -= 1
        if not self._missing:
            try:
                reply = self._merge(self._replies)
            except Exception:  # a reply of a type the rule does not expect: one client's error, not the end of a lane
                log.exception("replies of several shards could not be merged")
                reply = _MERGE_FAILED
            self._done(reply)


def _did_not_run(reply: Frame) -> bool:
    return reply.startswith(_NOT_RUN) and not reply.startswith(_PARTLY_RUN)


def _text(error: Frame) -> str:
    return error[1:-2].decode(errors="replace")
