"""What counting and measuring commands costs: one shard with it beside one without, in turns.

`python -m benchmarks.metrics_cost --against FOLDER` compares with the sources in FOLDER, such as a checkout from before
there were metrics: then the difference is all that they brought. Without it the other shard counts and measures nothing
but what cannot be taken out: commands by number.

Closed loop over real sockets: `redis-benchmark` with 1 and 50 connections, the latter with and without pipelining. Each
round asks both sides, in an order that changes; the ratio of a round is between neighbours in time.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from benchmarks.harness import load
from benchmarks.harness.report import Figure, Goal, Outcome, Series
from benchmarks.harness.rounds import ROUNDS, Plan, interleave
from benchmarks.harness.run import begin, describe, finish
from benchmarks.harness.servers import MissingProgramError, ServerFailedError, check_programs, free_port, stop
from benchmarks.harness.stats import median, paired_ratios

AT_LEAST = 0.98
"""Throughput with measuring over that without it."""
SHAPES = (
    ("get,set", ("-c", "1"), 15_000),
    ("get,set,incr", ("-c", "50"), 40_000),
    ("get,set,incr", ("-c", "50", "-P", "16"), 200_000),
)
_SHARD = """
import asyncio, sys, uvloop
from raycache.config import ClusterConfig
from raycache.shard.build import build_server
from raycache.shard.server import listening_socket

async def main():
    server = build_server(ClusterConfig(name="cost", shards=1), "s0", secret=None, require_auth=False)
    core = server.core
    if sys.argv[2] == "bare":
        core.meter.countdown, core.clock_s, core.slow_s = 1 << 62, float, float("inf")
    await server.start(listening_socket("127.0.0.1", int(sys.argv[1])))
    print("serving", flush=True)
    await asyncio.Event().wait()

uvloop.run(main())
"""


@contextmanager
def a_shard(folder: Path | None, how: str) -> Iterator[int]:
    """Run one shard from the sources in `folder`, or from these; yield its port.

    Raises:
        ServerFailedError: it did not start.
    """
    port, here = free_port(), folder or Path(__file__).parents[1]
    process = subprocess.Popen([sys.executable, "-c", _SHARD, str(port), how], text=True, stdout=subprocess.PIPE,
                               env={**os.environ, "PYTHONPATH": str(here)}, cwd=here)
    assert process.stdout is not None
    try:
        if process.stdout.readline() != "serving\n":
            raise ServerFailedError(f"a shard from {here} did not start")
        yield port
    finally:
        stop(process)
        process.stdout.close()


def measure(plan: Plan, ports: dict[str, int], step: Callable[[str], None]) -> Outcome:
    """Measure every shape in turns on both shards."""
    outcome = Outcome("metrics_cost")
    for tests, options, requests in SHAPES:
        whole = ("-t", tests, *options, "-n", str(plan.size(requests)))
        sides = {name: lambda port=port, whole=whole: load.run(port, whole) for name, port in ports.items()}
        for side in sides.values():
            side()
        ours, bare = interleave(sides, plan.rounds, step).values()
        for test in tests.split(","):
            _add(outcome, f"{test} {' '.join(options)}", *([one[test].rps for one in side] for side in (ours, bare)))
    return outcome


def _add(outcome: Outcome, what: str, ours: list[float], bare: list[float]) -> None:
    ratios = paired_ratios(ours, bare)
    outcome.series.append(Series(f"{what}, measured", "requests/s", ours))
    outcome.series.append(Series(f"{what}, not measured", "requests/s", bare))
    outcome.figures.append(Figure(f"{what}: with metrics over without", Goal(">=", AT_LEAST), median(ratios), "x",
                                  tuple(ratios)))


@click.command()
@click.option("--against", type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="Sources to compare with.")
@click.option("--rounds", default=ROUNDS, show_default=True, type=click.IntRange(min=3), help="Rounds a side.")
@click.option("--quick", is_flag=True, help="A tenth of the work: to try it, not for figures.")
def main(against: Path | None, rounds: int, quick: bool) -> None:
    """Measure what metrics cost, and write benchmarks/out/metrics-cost.json."""
    console = begin()
    plan = Plan(rounds=rounds, quick=quick)
    try:
        check_programs(("redis-benchmark",))
        with a_shard(None, "measured") as ours, a_shard(against, "measured" if against else "bare") as bare:
            outcome = measure(plan, {"measured": ours, "bare": bare}, lambda text: console.print(text, highlight=False))
    except (MissingProgramError, ServerFailedError) as error:
        raise click.ClickException(str(error)) from error
    outcome.facts["against"] = "other sources" if against else "these sources, measuring switched off"
    header = {"machine": describe(console), "plan": {"rounds": rounds, "quick": quick}}
    finish(console, "metrics-cost", header, [outcome])


if __name__ == "__main__":
    main()
