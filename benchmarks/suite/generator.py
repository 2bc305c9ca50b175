"""A load generator: a process with callers for every side, which takes orders.

What lives here: the orders, and the connections that stay open from one to the next. What does not: the loops
(`runner`), what is asked (`schedule`), the clients (`doors`). Orders are lines of JSON on its standard input, each
answered by one line; what single requests took goes to a file, which the order names.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import random
import sys
from collections import Counter
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, Final

import numpy as np

from benchmarks.suite.doors import KINDS, Door, EchoDoor
from benchmarks.suite.runner import Client, Tally, Work, closed_loop, in_threads, open_loop
from benchmarks.suite.schedule import NS, Arrivals, draw, draw_reads, key_name

DRAWN: Final = 20_000
"""So many requests are drawn for a round; a caller who makes more begins again."""
BATCH_BYTES: Final = 8 * 1024 * 1024
BATCH_KEYS: Final = 1_000
SLACK_NS: Final = 1_000
_PR_SET_TIMERSLACK: Final = 29


class Generator:
    """One process's part in everything."""

    def __init__(self) -> None:
        self._doors: dict[str, Door] = {}
        self._clients: dict[str, list[Client]] = {}
        self._begin: Callable[[int], list[Tally]] = lambda start_ns: []

    def open(self, side: str, target: dict[str, Any]) -> dict[str, Any]:
        """Get to know a side. One that had this name before is forgotten."""
        for client in self._clients.pop(side, []):
            client.close()
        if side in self._doors:
            self._doors.pop(side).close()
        self._doors[side] = KINDS[target["kind"]](target)
        self._clients[side] = []
        return {}

    def fill(self, side: str, first: int, count: int, value_bytes: int, ttl_s: int = 0) -> dict[str, Any]:
        """Write the keys from number `first` on, each once."""
        batch = max(1, min(BATCH_KEYS, BATCH_BYTES // value_bytes))
        payload = _payload(value_bytes)
        for begin in range(first, first + count, batch):
            end = min(begin + batch, first + count)
            self._doors[side].fill({key_name(number): payload for number in range(begin, end)}, ttl_s)
        return {}

    def clear(self, side: str) -> dict[str, Any]:
        """Empty a side."""
        self._doors[side].clear()
        return {}

    def ready(self, side: str, callers: int, number: int, of: int, law: str, keys: int, first: int, read_percent: int,
              value_bytes: int, rate: float, duration_s: float, seed: int) -> dict[str, Any]:
        """Connect and draw for a round of load on a side, so that nothing of that happens in it.

        Args:
            callers: how many of this process take part.
            number, of: which of how many processes this is.
            law: how keys are drawn, "uniform" or "zipf"; "new": every key once.
            keys, first: among how many keys, the first of which has which number.
            rate: arrivals a second of all processes together; 0: a closed loop.
        """
        door = self._doors[side]
        if isinstance(door, EchoDoor):
            door.value_bytes = value_bytes
        clients = self._connected(side, callers)
        if law == "new":
            names = [key_name(first + place * of + number) for place in range(round(rate * duration_s) // of + 1)]
        else:
            names = [key_name(first + drawn) for drawn in draw(law, keys, DRAWN, seed * of + number).tolist()]  # type: ignore[arg-type]
        work = Work(names, draw_reads(read_percent, len(names), seed * of + number + 1), _payload(value_bytes))

        def begin(start_ns: int) -> list[Tally]:
            tallies = [Tally() for _ in clients]
            if rate:
                arrivals = Arrivals(start_ns, rate, duration_s, number, of)
                calls = [partial(open_loop, client, work, arrivals, tally)
                         for client, tally in zip(clients, tallies, strict=True)]
            else:
                end_ns = start_ns + round(duration_s * NS)
                calls = [partial(closed_loop, client, work, at * len(names) // callers, end_ns, tally)
                         for at, (client, tally) in enumerate(zip(clients, tallies, strict=True))]
            in_threads(calls, start_ns)
            return tallies

        self._begin = begin
        return {}

    def go(self, start_ns: int, path: str) -> dict[str, Any]:
        """Load as `ready` said, from `start_ns` on the clock that processes share; write what each took to `path`."""
        return _saved(self._begin(start_ns), path)

    def _connected(self, side: str, callers: int) -> list[Client]:
        """Return that many connections, each of which has been used."""
        clients = self._clients[side]
        while len(clients) < callers:
            client = self._doors[side].open()
            client.get(key_name(0))
            clients.append(client)
        return clients[:callers]


@lru_cache(maxsize=2)
def _payload(value_bytes: int) -> bytes:
    """Return a value: random bytes, which nothing compresses."""
    return random.Random(value_bytes).randbytes(value_bytes)


def _saved(tallies: list[Tally], path: str) -> dict[str, Any]:
    waits = [wait for tally in tallies for wait in tally.waits_ns]
    services = [service for tally in tallies for service in tally.services_ns]
    with open(path, "wb") as file:
        np.savez(file, waits=np.array(waits, np.int64), services=np.array(services, np.int64))
    errors: Counter[str] = sum((tally.errors for tally in tallies), Counter())
    return {"last_ns": max(tally.last_ns for tally in tallies), "wrong": sum(tally.wrong for tally in tallies),
            "failed": sum(tally.failed for tally in tallies), "unserved": sum(tally.unserved for tally in tallies),
            "errors": dict(errors)}  # fmt: skip


def main() -> None:
    """Carry out orders until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a client library prints must not stand between the answers
    # Linux lets a sleeper sleep 50 us longer than it asked, which an open loop would count as the server's.
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, SLACK_NS)
    generator = Generator()
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        order = json.loads(line)
        do = order.pop("do")
        try:
            answer = getattr(generator, do)(**order)
        except Exception as error:
            answer = {"error": f"{do} {order.get('side', '')}: {type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)
    os._exit(0)  # no client's farewell is worth waiting for


if __name__ == "__main__":
    main()
