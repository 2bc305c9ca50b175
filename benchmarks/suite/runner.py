"""One process's part of a load: its callers, closed or open, and what each request took.

What lives here: the loops. They know no server and no clock: a client, the time and sleeping are handed in. What does
not: when what is asked (`schedule`), the process around it (`generator`).
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from benchmarks.suite.schedule import NS, Arrivals

GIVE_UP_AFTER: Final = 2.0
"""An open loop ends after so many times its duration at the latest: who cannot keep up would never catch up."""
MOST_ERRORS: Final = 5


class Client(Protocol):
    """One connection. Every call may raise the client's own errors."""

    def get(self, key: str) -> bytes | memoryview | None:
        """Return the value, None if it is absent."""

    def set(self, key: str, value: bytes) -> object:
        """Store the value; returns when it is acknowledged."""

    def close(self) -> object:
        """Close the connection."""


@dataclass(frozen=True, slots=True)
class Work:
    """What is asked: request `i` of a caller is name and kind number `i`, from the beginning again after the last."""

    names: Sequence[str]
    reads: Sequence[bool]
    payload: bytes


@dataclass(slots=True)
class Tally:
    """What one caller saw. Only that caller writes to it."""

    waits_ns: list[int] = field(default_factory=list)
    services_ns: list[int] = field(default_factory=list)
    wrong: int = 0
    failed: int = 0
    unserved: int = 0
    last_ns: int = 0
    """When its last answer was there."""
    errors: Counter[str] = field(default_factory=Counter)

    def fail(self, error: Exception) -> None:
        """Count an error; a handful of texts is kept."""
        self.failed += 1
        text = f"{type(error).__name__}: {error!s:.160}"
        if text in self.errors or len(self.errors) < MOST_ERRORS:
            self.errors[text] += 1


def closed_loop(client: Client, work: Work, first: int, end_ns: int, tally: Tally,
                clock: Callable[[], int] = time.perf_counter_ns) -> None:
    """Ask one request after the other until `end_ns`, at least one; what has begun by then is finished and counts."""
    names, reads, size = work.names, work.reads, len(work.payload)
    get, put, note, count = client.get, client.set, tally.waits_ns.append, len(work.names)
    place = first % count
    began_ns = clock()
    while True:
        try:
            if reads[place]:
                value = get(names[place])
                if value is None or len(value) != size:
                    tally.wrong += 1
            else:
                put(names[place], work.payload)
        except Exception as error:
            tally.fail(error)
        ended_ns = clock()
        note(ended_ns - began_ns)
        place = place + 1 if place + 1 < count else 0
        began_ns = ended_ns
        if ended_ns >= end_ns:
            break
    tally.last_ns = ended_ns


def open_loop(client: Client, work: Work, arrivals: Arrivals, tally: Tally,
              clock: Callable[[], int] = time.perf_counter_ns, sleep: Callable[[float], None] = time.sleep) -> None:
    """Ask each request at its time, or as soon as this caller is free; each wait counts from its time."""
    names, reads, size, count = work.names, work.reads, len(work.payload), len(work.names)
    give_up_ns = arrivals.start_ns + round(GIVE_UP_AFTER * arrivals.duration_s * NS)
    while (arrival := arrivals.take()) is not None:
        place, due_ns = arrival
        early_ns = due_ns - clock()
        if early_ns > 0:
            sleep(early_ns / NS)
        began_ns = clock()
        if began_ns >= give_up_ns:
            tally.unserved += 1
            tally.waits_ns.append(began_ns - due_ns)
            continue
        try:
            if reads[place % count]:
                value = client.get(names[place % count])
                if value is None or len(value) != size:
                    tally.wrong += 1
            else:
                client.set(names[place % count], work.payload)
        except Exception as error:
            tally.fail(error)
        tally.last_ns = ended_ns = clock()
        tally.waits_ns.append(ended_ns - due_ns)
        tally.services_ns.append(ended_ns - began_ns)


def in_threads(callers: Sequence[Callable[[], None]], start_ns: int) -> None:
    """Run each caller in a thread of its own, all from `start_ns` on; return when all have ended."""
    ready = threading.Barrier(len(callers))

    def begin(call: Callable[[], None]) -> None:
        ready.wait()
        early_ns = start_ns - time.perf_counter_ns()
        if early_ns > 0:
            time.sleep(early_ns / NS)
        call()

    threads = [threading.Thread(target=begin, args=(call,), daemon=True) for call in callers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
