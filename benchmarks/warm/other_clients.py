"""A process that uses the database as other programs do: queries at random times, whether or not earlier ones are done.

What lives here: the process (run as a module) and what starts and asks it. What does not: the warming.

An open loop: each query has its time, and its latency counts from there. So a database that is slow is not spared by
clients that wait. The process owns one connection and one thread that uses it.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from raycache.demo.database import AirportDatabase, Question

RADIUS_KM: Final = 100
RATE: Final = 40.0
"""Queries a second of one process."""
PROCESSES: Final = 2


class OtherClients:
    """Some such processes, which measure between `begin` and `end`."""

    def __init__(self, processes: list[subprocess.Popen[str]]) -> None:
        self._processes = processes

    def begin(self) -> None:
        """Let them query, and measure."""
        self._tell("begin")

    def end(self) -> list[float]:
        """Let them stop; return every latency since `begin`, in milliseconds."""
        self._tell("end")
        latencies: list[float] = []
        for process in self._processes:
            assert process.stdout is not None
            latencies += json.loads(process.stdout.readline())
        return latencies

    def _tell(self, word: str) -> None:
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(f"{word}\n")
            process.stdin.flush()


@contextmanager
def other_clients(path: Path, airports: int, seed: int, count: int = PROCESSES) -> Iterator[OtherClients]:
    """Run so many of them; end them afterwards."""
    processes = [
        subprocess.Popen([sys.executable, "-m", __name__, str(path), str(airports), str(seed + number)],
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for number in range(count)
    ]  # fmt: skip
    try:
        yield OtherClients(processes)
    finally:
        for process in processes:
            assert process.stdin is not None
            process.stdin.close()
        for process in processes:
            process.wait(10)


def question(rng: random.Random, airports: int) -> Question:
    """Return what one of them asks next."""
    return Question(rng.randrange(airports), RADIUS_KM)


def query_until(stop: threading.Event, database: AirportDatabase, airports: int, rng: random.Random,
                latencies_ms: list[float]) -> None:  # fmt: skip
    """Query at random times, `RATE` a second, until `stop` is set."""
    due_s = time.perf_counter()
    while True:
        due_s += rng.expovariate(RATE)
        if stop.wait(max(0.0, due_s - time.perf_counter())):
            return
        database.answer(question(rng, airports))
        latencies_ms.append((time.perf_counter() - due_s) * 1000)


def main(path: str, airports: int, seed: int) -> None:
    """Do what standard input says until it ends."""
    rng = random.Random(seed)
    stop, latencies_ms = threading.Event(), list[float]()

    def work() -> None:
        database = AirportDatabase(Path(path))
        query_until(stop, database, airports, rng, latencies_ms)
        database.close()

    thread = threading.Thread(target=work)
    for word in sys.stdin:
        if word.strip() == "begin":
            stop.clear()
            latencies_ms.clear()
            thread = threading.Thread(target=work, daemon=True)
            thread.start()
        else:
            stop.set()
            thread.join()
            print(json.dumps(latencies_ms), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
