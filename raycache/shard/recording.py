"""A sample of what is read and written here, for whoever wants to replay it elsewhere.

What lives here: one recording: which keys are in the sample, what is noted of each command, and the bound. What does
not: asking for it (`commands.warming`), files and replay (`raycache.warming`). Pure; belongs to the shard's loop.

While nobody records, nothing here runs. A recording takes the place of the core's `execute_many` and looks at the
commands on their way into the ordinary turn. A key is in the sample or not, by its hash, on every shard and in every
recording of that rate: a sample of the requests would break up what belongs together, and give another hit ratio.

Noted are reads, with what they found when their turn came, and what writes have left behind. Commands inside a
transaction are noted when they are queued. A recording that nobody fetches ends by itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

from raycache.resp.parse import NO_MORE, is_command
from raycache.shard.commands.command import Command, Steps

if TYPE_CHECKING:
    from raycache.shard.core import ShardCore
    from raycache.shard.session import Session

MAX_BYTES: Final = 4 << 20
"""What waits to be fetched, at most; more is dropped, and counted."""
EVENT_BYTES: Final = 160
"""What an event costs beside its key."""
MAX_EVENTS: Final = 2000
"""Events fetched at once: packing them takes a fraction of a millisecond."""

HIT, MISS, WRITE, DELETE = "r", "m", "w", "d"
Event = tuple[int, str, int, int, bytes]
"""Unix ms, what it was, bytes of the value, ms to live (0: for ever, or there is none), key."""

_USUAL: Final = frozenset({b"GET", b"get", b"RC.GET"})
_TELL_THE_TIME: Final = frozenset({"ttl", "pttl", "expiretime", "pexpiretime"})
"""Redis calls what they do an access; nobody gets a value by it."""


class Recording:
    """One recording of a share of all keys, `sample` (0 to 1), under way from `start` to `stop`."""

    def __init__(self, core: ShardCore, recorder: bytes, sample: float) -> None:
        self.recorder = recorder
        """Who records."""
        self.until_ms = 0
        """When it ends unless it is asked for again."""
        self._core = core
        self._turn = type(core).execute_many
        self._below = round(sample * (1 << 32))
        self._events: deque[Event] = deque()
        self._bytes = 0
        self._dropped = 0
        self._written: list[bytes] = []

    def start(self) -> None:
        """Look at every command from now on."""
        self._core.recording = self
        self._core.execute_many = self.run_turn  # type: ignore[method-assign]

    def stop(self) -> None:
        """Let commands run as if nothing had been."""
        if self._core.recording is self:
            self._core.recording = None
            del self._core.execute_many

    def is_over(self, now_ms: int) -> bool:
        """Return whether nobody has fetched anything for too long."""
        return now_ms > self.until_ms

    def take(self, count: int) -> tuple[int, list[Event]]:
        """Return how many events have been dropped since the last call, and up to `count` of the oldest."""
        events = [self._events.popleft() for _ in range(min(count, len(self._events)))]
        self._bytes -= sum(EVENT_BYTES + len(event[4]) for event in events)
        dropped, self._dropped = self._dropped, 0
        return dropped, events

    def run_turn(self, session: Session, take: Callable[[], Any], out: list[bytes]) -> Steps | bool:
        """Do what `ShardCore.execute_many` does, and note what is in the sample."""
        core = self._core
        if self.is_over(core.now_ms):
            self.stop()
            return self._turn(core, session, take, out)
        try:
            return self._turn(core, session, self._watched(take), out)
        finally:
            self._settle()

    def _watched(self, take: Callable[[], Any]) -> Callable[[], Any]:
        below = self._below

        def watch() -> Any:
            argv = take()
            if self._written:
                self._settle()  # the command before has run
            if argv is NO_MORE:
                return argv
            # The usual read, written out: most are of keys outside the sample, and done with here.
            if (type(argv) is list and len(argv) == 2 and type(argv[0]) is type(key := argv[1]) is bytes
                    and argv[0] in _USUAL):
                if crc32(key) < below and self._is_read_here(key):
                    self._note(key, HIT, MISS)
            elif is_command(argv):
                self._look(argv)
            return argv

        return watch

    def _look(self, argv: list[bytes]) -> None:
        command = self._core.command_named(argv)
        if command is not None and command.name == "rc.write" and len(argv) > 2:
            argv = argv[2:]
            command = self._core.command_named(argv)
        if command is None or not command.first_key or not command.min_argc <= len(argv) <= command.max_argc:
            return
        is_read, is_write = _is_read(command), _is_write(command)
        if not (is_read or is_write):
            return
        below = self._below
        for key in command.keys(argv):
            if crc32(key) >= below:
                continue
            if is_read and self._is_read_here(key):
                self._note(key, HIT, MISS)
            if is_write and self._core.slots.check([key]) is None:
                self._written.append(key)

    def _is_read_here(self, key: bytes) -> bool:
        """Return whether this shard may answer: else whoever asks is sent elsewhere, and noted there."""
        return self._core.slots.check_readable([key]) is None

    def _settle(self) -> None:
        """Note what the last command has left of the keys that it may have written."""
        written, self._written = self._written, []
        for key in written:
            self._note(key, WRITE, DELETE)

    def _note(self, key: bytes, there: str, absent: str) -> None:
        core = self._core
        self._bytes += EVENT_BYTES + len(key)
        if self._bytes > MAX_BYTES:
            self._bytes -= EVENT_BYTES + len(key)
            self._dropped += 1
            return
        entry = core.store.peek(key, core.now_ms)
        if entry is None:
            self._events.append((core.now_ms, absent, 0, 0, key))
            return
        timer = entry.timer
        left_ms = 0 if timer is None else timer.expires_ms - core.now_ms
        self._events.append((core.now_ms, there, len(entry.value), left_ms, key))


def _is_write(command: Command) -> bool:
    """Return whether it may change its keys: what is called a write for another reason leaves them alone."""
    return command.is_write() and not all(use.startswith("RO") for use in command.key_use)


def _is_read(command: Command) -> bool:
    return ("readonly" in command.flags and command.key_use[:1] == ("RO access",)
            and command.name not in _TELL_THE_TIME) or command.name in ("getdel", "getex")
