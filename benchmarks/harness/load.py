"""redis-benchmark: run it and read its answer, or let it load a server in the background.

The program comes with Redis, so both sides are loaded by the same foreign client. What does not live
here: which runs are compared (one file per question).
"""

from __future__ import annotations

import csv
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.harness.servers import HOST, ServerFailedError, stop

RUN_TIMEOUT_S = 180.0


@dataclass(frozen=True, slots=True)
class Run:
    """One test of redis-benchmark, as its CSV says it."""

    test: str
    rps: float
    p50_ms: float
    p99_ms: float
    max_ms: float


def parse_csv(output: str) -> dict[str, Run]:
    """Return the runs in the CSV output of redis-benchmark 6.2 or newer, by lower-case test name.

    Raises:
        ValueError: there is no run in it, or a column is missing.
    """
    table = output[output.find('"test"') :] if '"test"' in output else ""
    runs = {}
    for row in csv.DictReader(table.splitlines()):
        try:
            numbers = [float(row[column]) for column in ("rps", "p50_latency_ms", "p99_latency_ms", "max_latency_ms")]
            runs[row["test"].lower()] = Run(row["test"], *numbers)
        except (KeyError, TypeError) as error:
            raise ValueError(f"not the CSV of redis-benchmark 6.2 or newer: {row}") from error
    if not runs:
        raise ValueError(f"redis-benchmark measured nothing: {output[-300:]!r}")
    return runs


def command(port: int, options: Sequence[str], secret: str | None = None) -> list[str]:
    """Return the argument list of one redis-benchmark against loopback port `port`."""
    return ["redis-benchmark", "-h", HOST, "-p", str(port), *(("-a", secret) if secret else ()), *options]


def run(port: int, options: Sequence[str], secret: str | None = None) -> dict[str, Run]:
    """Run redis-benchmark to its end and return what it measured, by lower-case test name.

    Raises:
        ServerFailedError: nobody listens on `port`, it failed, did not end within 180 s, or measured nothing.
    """
    _check_listening(port)
    try:
        done = subprocess.run(
            command(port, ("--csv", *options), secret),  # first: the options may end with a command to send
            capture_output=True,
            text=True,
            check=True,
            timeout=RUN_TIMEOUT_S,
        )
        return parse_csv(done.stdout)
    except subprocess.CalledProcessError as error:
        raise ServerFailedError(
            f"redis-benchmark {' '.join(options)} failed: {(error.stderr or error.stdout)[-500:]}"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise ServerFailedError(
            f"redis-benchmark {' '.join(options)} did not end within {RUN_TIMEOUT_S:g} s"
        ) from error
    except ValueError as error:
        raise ServerFailedError(str(error)) from error


@contextmanager
def background(port: int, options: Sequence[str], secret: str | None = None) -> Iterator[subprocess.Popen[str]]:
    """Load the server on `port` until the block ends; it loops over its tests for ever (-l).

    Raises:
        ServerFailedError: nobody listens on `port`, or the load had ended by itself before the block did.
    """
    _check_listening(port)
    loader = subprocess.Popen(
        [*command(port, options, secret), "-l", "-q"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True
    )
    try:
        yield loader
        if loader.poll() is not None:
            raise ServerFailedError(f"the background load ended by itself with {loader.returncode}")
    finally:
        stop(loader)


def _check_listening(port: int) -> None:
    """redis-benchmark tries a refused connection again for ever, at full speed: so look first."""
    try:
        socket.create_connection((HOST, port), 5).close()
    except OSError as error:
        raise ServerFailedError(f"nobody listens on {HOST}:{port}: {error}") from error
