"""Several generators at once: starting them, giving them orders, collecting what they recorded.

What lives here: the side of whoever measures. What does not: the load itself (`generator`).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from benchmarks.harness.servers import ServerFailedError
from benchmarks.traffic.plan import Load
from benchmarks.traffic.records import Records

ANSWER_TIMEOUT_S: Final = 120.0

Start = Callable[[Sequence[str]], "subprocess.Popen[str]"]


def start_here(argv: Sequence[str]) -> subprocess.Popen[str]:
    """Start a program on this machine, with pipes to talk through."""
    return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What reading every key showed."""

    lost_keys: int
    lost_writes: int
    """Acknowledged writes that are not there, nor anything newer of their key."""
    keys: int


@dataclass(frozen=True, slots=True)
class Harvest:
    """Everything recorded since the last harvest."""

    records: Records
    errors: dict[str, int]
    """What failed operations said, the most frequent ones, with how often."""
    shed: int
    """Operations that were never begun because too many waited."""


class Crew:
    """Generators that share a load: each gets its part of the keys and of the rate.

    Args:
        load: what they do together.
        size: how many processes.
        start: how to start a process with pipes; elsewhere, perhaps.
    Raises:
        ServerFailedError: one did not start.
    """

    def __init__(self, load: Load, size: int = 2, start: Start = start_here) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="bench-traffic-")
        self.loads = [replace(load, prefix=f"{load.prefix}{number}", keys=load.keys // size, rate=load.rate / size,
                               seed=load.seed + number) for number in range(size)]
        self._slots = [load.slots() for load in self.loads]
        self._processes = [start([sys.executable, "-m", "benchmarks.traffic.generator", part.as_json()])
                           for part in self.loads]
        for process in self._processes:
            self._hear(process, "start")

    def fill(self) -> None:
        """Write every key once."""
        self._tell_all("fill")

    def go(self) -> None:
        """Begin the load."""
        self._tell_all("go")

    def calm(self) -> None:
        """End the load and wait until every operation has ended."""
        self._tell_all("calm")

    def verify(self) -> Verdict:
        """Read every key; only while calm."""
        said = self._tell_all("verify")
        return Verdict(*(sum(part[name] for part in said) for name in ("lost_keys", "lost_writes", "keys")))

    def harvest(self) -> Harvest:
        """Return what was recorded since the last time; only while calm."""
        paths = [Path(self._folder.name) / f"{number}.npz" for number in range(len(self.loads))]
        said = self._tell_all("save", [{"path": str(path)} for path in paths])
        errors: Counter[str] = Counter()
        for part in said:
            errors.update(part["errors"])
        records = Records.load(dict(zip(paths, self._slots, strict=True)))
        return Harvest(records, dict(errors), sum(part["shed"] for part in said))

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
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def _tell_all(self, do: str, extras: Sequence[dict[str, Any]] = ()) -> list[dict[str, Any]]:
        for number, process in enumerate(self._processes):
            assert process.stdin is not None
            process.stdin.write(json.dumps({"do": do, **(extras[number] if extras else {})}) + "\n")
            process.stdin.flush()
        return [self._hear(process, do) for process in self._processes]

    def _hear(self, process: subprocess.Popen[str], do: str) -> dict[str, Any]:
        assert process.stdout is not None
        timer = threading.Timer(ANSWER_TIMEOUT_S, process.kill)
        timer.start()
        line = process.stdout.readline()
        timer.cancel()
        if not line:
            raise ServerFailedError(f"a load generator ended, or did not answer to {do!r} in {ANSWER_TIMEOUT_S:g} s")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ServerFailedError(f"a load generator failed to {answer['error']}")
        return answer
