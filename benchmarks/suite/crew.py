"""The generators, as whoever measures sees them: started once, given orders together, their samples put into one.

What lives here: the processes and a round of load. What does not: their side (`generator`), which rounds are made
(`sweep`, `pauses`).
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np

from benchmarks.harness.servers import ServerFailedError
from benchmarks.suite.points import Point
from benchmarks.suite.samples import Sample
from benchmarks.suite.schedule import NS

ANSWER_TIMEOUT_S: Final = 300.0
"""Filling four million keys through the slowest client takes two minutes."""
HEAD_START_S: Final = 0.05
MOST_PROCESSES: Final = 8


class Crew:
    """Load generators, as many as there are cores but eight at most.

    Raises:
        ServerFailedError: from every method: a generator failed; the text says how.
    """

    def __init__(self, size: int | None = None) -> None:
        self.size = size or min(len(os.sched_getaffinity(0)), MOST_PROCESSES)
        self._folder = tempfile.TemporaryDirectory(prefix="bench-suite-")
        command = [sys.executable, "-m", "benchmarks.suite.generator"]
        folder = Path(self._folder.name)
        self._paths = [folder / f"{number}.npz" for number in range(self.size)]
        self._log = (folder / "log").open("w")
        self._processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log,
                                            text=True) for _ in range(self.size)]

    def open(self, side: str, target: Mapping[str, Any]) -> None:
        """Let all get to know a side."""
        self._tell_all([{"do": "open", "side": side, "target": target}] * self.size)

    def fill(self, side: str, held: int, value_bytes: int, *, first: int = 0, ttl_s: int = 0) -> None:
        """Write `held` keys from number `first` on, each process its share of them."""
        edges = [first + held * number // self.size for number in range(self.size + 1)]
        self._tell_all([{"do": "fill", "side": side, "first": begin, "count": end - begin, "value_bytes": value_bytes,
                         "ttl_s": ttl_s} for begin, end in itertools.pairwise(edges)])

    def clear(self, side: str) -> None:
        """Empty a side."""
        self._tell_all([{"do": "clear", "side": side}])

    def load(self, side: str, point: Point, duration_s: float, seed: int) -> Sample:
        """Load a side as `point` says, for `duration_s`, and return what all callers saw together."""
        taking_part = min(self.size, point.connections)
        orders = [order(side, point, duration_s, seed, number=number, of=taking_part)
                  for number in range(taking_part)]
        start_ns, said = self._go(orders)
        return _gathered(self._paths[:taking_part], said, start_ns)

    def at_once(self, orders: Sequence[dict[str, Any]]) -> list[Sample]:
        """Have the first processes carry out one of these orders each, at the same time; return what each saw."""
        start_ns, said = self._go(orders)
        return [_gathered([path], [answer], start_ns) for path, answer in zip(self._paths, said, strict=False)]

    def _go(self, orders: Sequence[dict[str, Any]]) -> tuple[int, list[dict[str, Any]]]:
        self._tell_all(orders)
        start_ns = time.perf_counter_ns() + round(HEAD_START_S * NS)
        return start_ns, self._tell_all([{"do": "go", "start_ns": start_ns, "path": str(path)}
                                         for path in self._paths[: len(orders)]])

    def close(self) -> None:
        """End the generators."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()  # a generator ends when its orders do
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            assert process.stdout is not None
            process.stdout.close()
        self._log.close()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def _tell_all(self, orders: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Give the first processes an order each; return their answers, or raise a failure when all have answered."""
        busy = self._processes[: len(orders)]
        for process, order in zip(busy, orders, strict=True):
            assert process.stdin is not None
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()
        said = [self._hear(process, str(orders[0]["do"])) for process in busy]
        if errors := [answer["error"] for answer in said if "error" in answer]:
            raise ServerFailedError(f"a load generator failed to {errors[0]}")
        return said

    def _hear(self, process: subprocess.Popen[str], do: str) -> dict[str, Any]:
        assert process.stdout is not None
        timer = threading.Timer(ANSWER_TIMEOUT_S, process.kill)
        timer.start()
        line = process.stdout.readline()
        timer.cancel()
        if not line:
            words = Path(self._log.name).read_text()[-500:]
            raise ServerFailedError(f"a load generator ended, or did not {do} within {ANSWER_TIMEOUT_S:g} s: {words}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def order(side: str, point: Point, duration_s: float, seed: int, *, number: int = 0, of: int = 1,
          law: str | None = None, first: int = 0) -> dict[str, Any]:
    """Return what process `number` of `of` is told to get ready for; `law` and `first` as a generator takes them."""
    return {
        "do": "ready", "side": side, "callers": len(range(number, point.connections, of)), "number": number, "of": of,
        "law": law or point.keys, "keys": point.held, "first": first, "read_percent": point.read_percent,
        "value_bytes": point.value_bytes, "rate": point.rate, "duration_s": duration_s, "seed": seed,
    }  # fmt: skip


def _gathered(paths: Sequence[Path], said: Sequence[dict[str, Any]], start_ns: int) -> Sample:
    """Return the sample that processes wrote together."""
    files = [np.load(path) for path in paths]
    waits = np.concatenate([file["waits"] for file in files])
    services = np.concatenate([file["services"] for file in files])
    errors: Counter[str] = Counter()
    for answer in said:
        errors.update(answer["errors"])
    took_s = (max(answer["last_ns"] for answer in said) - start_ns) / NS
    wrong, failed, unserved = (sum(answer[name] for answer in said) for name in ("wrong", "failed", "unserved"))
    answered = waits.size - unserved - failed
    return Sample(answered / took_s if took_s > 0 else 0.0, waits, services, wrong, failed, unserved, dict(errors))
