"""What a core measures of its commands: how many of each, how long they took, and which were slow.

What lives here: counters by command, the choice of the turns that are measured, and one measured turn. What does not:
the clock (the shell hands it in), classes (`classes`), writing figures down (`raycache.metrics`).

Counts are exact. Durations are measured in one turn of `every` on average, chosen at random, and each such turn stands
for those since the one before: its commands count so many times. With `every=1` all are measured. So the hot loop does
not know of any of this: a measured turn looks at the clock where it takes its commands.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any, Final

from raycache.metrics.events import COMMAND, LatencyEvents
from raycache.metrics.histogram import Histogram
from raycache.metrics.slowlog import SlowLog
from raycache.resp.parse import NO_MORE, is_command
from raycache.resp.runs import Run
from raycache.shard.classes import CLASS_OF
from raycache.shard.commands import ALL, TABLE, resolve

if TYPE_CHECKING:
    from raycache.shard.session import Session

EVERY: Final = 256
"""One turn of so many is measured: a measured one costs some 2 us more, and 1 us for each of its commands."""
MAX_ERROR_KINDS: Final = 64
"""First words of error replies that are told apart."""
UNCOUNTED: Final = frozenset(TABLE[name].number for name in (b"RC.PEER", b"RC.TRACE"))
"""What other shards say, and what is a part of the next command: neither is counted as one."""


class Meter:
    """One core's counters and durations.

    Args:
        every: one turn of so many is measured, on average.
        clock_s: monotonic seconds.
    """

    def __init__(self, rng: Random, *, every: int = EVERY, clock_s: Callable[[], float] = float) -> None:
        self.every = every
        self.clock_s = clock_s
        self.slowlog = SlowLog()
        self.events = LatencyEvents()
        self.slow_s = 0.0
        """What takes longer is looked at."""
        self.noted = 0
        """How often something was; only grows."""
        self._rng = rng
        self.reset()
        self.settings_changed()

    def reset(self) -> None:
        """Start every counter from 0; the slow log and the events have resets of their own."""
        self.calls = [0] * len(ALL)
        """Commands by number, but for those that the hot loop writes out (see `ShardCore.calls_of`)."""
        self.rejected = [0] * len(ALL)
        """Those of them that were refused before they ran."""
        self.failed = [0] * len(ALL)
        """Those that ran and answered with an error."""
        self.errors: dict[str, int] = {}
        """Error replies by their first word."""
        self.spent: dict[int, Histogram] = {}
        """How long commands ran, by number."""
        self.latency: dict[str, Histogram] = {}
        """How long it took from the bytes of a command to its reply, by class."""
        self.countdown = self._gap = 1

    def settings_changed(self) -> None:
        """Work out anew from where on a command is looked at."""
        thresholds = [limit for limit in (self.slowlog.slower_than_us / 1e6, self.events.threshold_ms / 1000)
                      if limit > 0 or (limit == 0 and self.slowlog.slower_than_us == 0)]
        self.slow_s = min(thresholds, default=float("inf"))

    def weight(self) -> int:
        """Return for how many turns the present one stands, and choose the next one that is measured."""
        weight = self._gap
        self.countdown = self._gap = 1 if self.every == 1 else self._rng.randrange(1, 2 * self.every)
        return weight

    def measure(self, began_s: float) -> MeasuredTurn:
        """Return the record of a turn that is measured; its first bytes had come at `began_s`."""
        return MeasuredTurn(self, began_s, self.weight())

    def count_error(self, reply: bytes) -> None:
        """Count an encoded error reply by its first word."""
        word = reply[1:32].split(None, 1)[0].decode("latin-1") if reply[1:2].strip() else "ERR"
        if word in self.errors or len(self.errors) < MAX_ERROR_KINDS:
            self.errors[word] = self.errors.get(word, 0) + 1

    def ran(self, number: int, duration_s: float, weight: int) -> None:
        """Take note of how long a command ran."""
        histogram = self.spent.get(number)
        if histogram is None:
            histogram = self.spent[number] = Histogram()
        histogram.observe(duration_s, weight)

    def answered(self, class_: str, latency_s: float, weight: int) -> None:
        """Take note of how long commands of a class waited for their replies."""
        histogram = self.latency.get(class_)
        if histogram is None:
            histogram = self.latency[class_] = Histogram()
        histogram.observe(latency_s, weight)

    def slow(self, session: Session, argv: list[bytes], duration_s: float, unix_ms: int,
             held_s: float | None = None) -> None:
        """Take note of a command that took longer than `slow_s`.

        Args:
            held_s: for how long it held up others at most, if it ran in steps.
        """
        self.noted += 1
        self.events.add(COMMAND, duration_s if held_s is None else held_s, unix_ms)
        command = resolve(argv)
        if command is None or "skip_slowlog" not in command.flags:
            self.slowlog.add(argv, duration_s, unix_ms, session.address, session.name)


class MeasuredTurn:
    """One turn whose commands are timed.

    What a turn's commands wait for is the end of the turn, when all replies go out together: so all of them have its
    latency. How long each one ran is the time between two looks at what comes next. A run (`raycache.resp.runs`) is
    taken as a whole here, too, or it would look slower than those that are not measured: each has a share of the time.
    """

    __slots__ = ("_before", "_began_s", "_meter", "_number", "_numbers", "_run", "_since_s", "_take", "_weight")

    def __init__(self, meter: Meter, began_s: float, weight: int) -> None:
        self._meter = meter
        self._began_s = began_s
        self._weight = weight
        self._numbers: list[int] = []
        self._number = -1
        """Of the command that runs now; -1: none."""
        self._run = -1
        """Number of the command that a run is of; -1: it is none."""
        self._before = 0
        """Commands that the core had counted when the run began."""
        self._since_s = 0.0
        self._take: Callable[[], Any] = lambda: NO_MORE

    def watched(self, take: Callable[[], Any], commands: int = 0) -> Callable[[], Any]:
        """Return what gives the turn its commands, as `take` does, and looks at the clock; a run as it is.

        Args:
            commands: how many the core has counted so far.
        """
        if type(take) is Run and (command := resolve([take.name])) is not None:
            self._run, self._before, self._since_s = command.number, commands, self._meter.clock_s()
            return take
        self._take = take
        return self._next

    def _next(self) -> Any:
        if self._number >= 0:
            self._has_run(self._meter.clock_s() - self._since_s)
        argv = self._take()
        if argv is not NO_MORE and is_command(argv):
            self.begin(argv)
        return argv

    def begin(self, argv: list[bytes]) -> None:
        """A command begins now."""
        command = resolve(argv)
        number = command.number if command is not None else 0
        if number in UNCOUNTED:
            return
        self._number = number
        self._numbers.append(number)
        self._since_s = self._meter.clock_s()

    def over(self, *, is_long: bool = False, commands: int = 0) -> None:
        """The turn is over.

        Args:
            is_long: its last command goes on in steps; `ran_long` will be told.
            commands: how many the core has counted by now.
        """
        if self._run >= 0:
            self._over_run(commands - self._before, is_long)
            return
        if self._number >= 0 and not is_long:
            self._has_run(self._meter.clock_s() - self._since_s)

    def _over_run(self, count: int, is_long: bool) -> None:
        self._numbers = [self._run] * count
        if is_long and count:
            self._number, count = self._run, count - 1
        if count:
            ran_s = self._meter.clock_s() - self._since_s
            self._meter.ran(self._run, ran_s / count, self._weight * count)

    def ran_long(self, ran_s: float) -> None:
        """The long command at the turn's end has its reply; its steps took `ran_s` in all."""
        if self._number >= 0:
            self._has_run(ran_s)

    def _has_run(self, ran_s: float) -> None:
        number, self._number = self._number, -1
        self._meter.ran(number, ran_s, self._weight)

    def replied(self) -> None:
        """The replies have been sent, but for that of a long command that has not ended."""
        numbers, self._numbers = self._numbers, []
        if self._number >= 0:
            self._numbers.append(numbers.pop())
        if not numbers:
            return
        latency_s = self._meter.clock_s() - self._began_s
        by_class: dict[str, int] = {}
        for number in numbers:
            by_class[CLASS_OF[number]] = by_class.get(CLASS_OF[number], 0) + self._weight
        for class_, weight in by_class.items():
            self._meter.answered(class_, latency_s, weight)
