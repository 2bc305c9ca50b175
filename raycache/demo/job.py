"""The demo's Ray job: start Ray and a cluster, run readers as tasks, gather what they count, clean up.

What lives here: the one part of the demo that knows Ray: it uses raycache as any application would. What does not:
reading (`reader`) and showing (`display`). Everything that this starts it stops, whichever way it ends.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import ray

import raycache
from raycache.actors import environment
from raycache.demo import database, interrupts
from raycache.demo.display import Display
from raycache.demo.reader import Reader
from raycache.demo.settings import DemoSettings, Progress
from raycache.demo.tally import Tally
from raycache.demo.workload import Workload, ZipfWorkload, question_of, read_trace

_POLL_S = 0.1
_STATUS_EVERY_S = 1.0


def run(settings: DemoSettings, display: Display) -> Tally:
    """Run the demo from start to end and return what all readers counted.

    Raises:
        ValueError: a setting or the trace makes no sense.
        RayCacheError: Ray or the cluster did not start.
    """
    records = database.load_records()
    workload = _workload(settings, len(records))
    with ExitStack() as stack:
        stack.enter_context(display)
        path = stack.enter_context(_database(records))
        display.step(f"Built a SQLite database of {len(records):,} airports")
        started = stack.enter_context(_ray())
        display.step("Started Ray" if started else "Attached to the Ray that runs")
        name = f"demo-{os.getpid()}"
        # Before the start, so that what a start that was interrupted left behind is stopped as well.
        stack.callback(_stop, name)
        status = raycache.start(name, shards=settings.shards, memory=settings.memory, policy=settings.policy)
        display.step(f"Started a cluster of {len(status.shards)} shards")
        return _watch(name, settings, workload, path, display)


def _workload(settings: DemoSettings, airports: int) -> Workload:
    if settings.trace is None:
        return ZipfWorkload(airports, settings.skew, settings.seed)
    trace = read_trace(settings.trace)
    question_of(int(trace.keys.max()), airports)  # refuses a trace that has more keys than there are questions
    return trace


@contextmanager
def _database(records: list[Any]) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="raycache-demo-"))
    try:
        path = folder / "airports.sqlite"
        database.build(path, records)
        yield path
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _ray() -> Iterator[bool]:
    """Have a Ray: the one that runs, else one of our own, which ends with the demo. Yields whether it is ours."""
    was_connected = ray.is_initialized()
    ours = not was_connected and environment.running_address() is None
    try:
        with interrupts.put_off():
            environment.ensure_initialized(start=True)
        yield ours
    finally:
        if not was_connected:
            with interrupts.put_off():
                ray.shutdown()


def _stop(name: str) -> None:
    with interrupts.put_off():
        if name in raycache.clusters():
            raycache.stop(name)


def _watch(name: str, settings: DemoSettings, workload: Workload, path: Path, display: Display) -> Tally:
    """Start the readers, gather their reports and show them until the last one is done."""
    running = _start_readers(name, settings, workload, path)
    total = Tally()
    shards = raycache.status(name).shards
    begin_s = next_status_s = time.monotonic()
    try:
        while running:
            # One that comes while Ray's own code runs may be lost there: so it is noted, and raised after each look.
            with interrupts.put_off():
                running = _gather(running, total)
                now_s = time.monotonic()
                if now_s >= next_status_s or not running:
                    next_status_s = now_s + _STATUS_EVERY_S
                    shards = raycache.status(name).shards
            elapsed_s = now_s - begin_s
            if not total.lookups:
                begin_s = now_s  # Ray is still starting the tasks' processes
            fraction = 1.0 if not running else _fraction(settings, workload, elapsed_s, total)
            display.update(Progress(elapsed_s, fraction, total, shards, sum(shard.entries for shard in shards)))
    finally:
        for generator in running:
            ray.cancel(generator, force=True)
    return total


def _fraction(settings: DemoSettings, workload: Workload, elapsed_s: float, tally: Tally) -> float:
    by_time = elapsed_s / settings.seconds if settings.seconds is not None else 0.0
    by_requests = tally.lookups / workload.requests if workload.requests is not None else 0.0
    return min(1.0, max(by_time, by_requests))


def _start_readers(name: str, settings: DemoSettings, workload: Workload, path: Path) -> list[Any]:
    # The database is a file of this machine, so the readers run here. They reserve no CPU: a laptop has few.
    here = ray.get_runtime_context().get_node_id()
    task: Any = ray.remote(_read).options(
        num_cpus=0, num_returns="streaming", max_retries=0, label_selector={"ray.io/node-id": here}
    )
    shared, count = ray.put(workload), settings.readers
    return [task.remote(name, shared, path, reader, count, settings.seconds) for reader in range(count)]


def _read(
    name: str, workload: Workload, path: Path, reader: int, readers: int, seconds: float | None
) -> Iterator[Tally]:
    """The task: what anybody's Ray task with a cache looks like. Yields a tally every quarter of a second."""
    airports = database.AirportDatabase(path)
    with raycache.connect(name) as cache:
        yield from Reader(cache, airports).run(workload.numbers(reader, readers), seconds)
    airports.close()


def _gather(running: list[Any], total: Tally) -> list[Any]:
    """Add the reports that have come to `total`; return the readers that go on."""
    ready: list[Any]
    ready, waiting = ray.wait(running, num_returns=len(running), timeout=_POLL_S)
    for generator in ready:
        try:
            total.add(ray.get(next(generator)))
        except StopIteration:
            continue
        waiting.append(generator)
    return waiting
