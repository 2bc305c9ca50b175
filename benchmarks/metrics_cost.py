"""What counting and measuring commands costs: one shard with it beside one without, in turns.

`python -m benchmarks.metrics_cost --against FOLDER` compares with the sources in FOLDER, such as a checkout from before
there were metrics: then the difference is all that they brought. Without it the other shard counts and measures nothing
but what cannot be taken out: commands by number.

Closed loop over real sockets: `redis-benchmark` with 1 and 50 connections, the latter with and without pipelining. Two
processes of the very same sources need not be equally fast for as long as they live (where their memory lies, how their
hashes fall). So each round has two new ones, warmed up before, and asks them in an order that changes; its ratio is
between neighbours in time. Beside throughput stands what the shard's own thread spent on the CPU, which the client's
share of the machine does not touch.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from benchmarks.harness import load
from benchmarks.harness.report import Figure, Goal, Outcome, Series
from benchmarks.harness.rounds import ROUNDS, Plan
from benchmarks.harness.run import begin, describe, finish
from benchmarks.harness.servers import MissingProgramError, ServerFailedError, check_programs, free_port, stop
from benchmarks.harness.stats import median, paired_ratios

AT_LEAST = 0.98
"""Throughput with measuring over that without it."""
SHAPES = (
    ("get,set", ("-c", "1"), 4_000),
    ("get,set,incr", ("-c", "50"), 20_000),
    ("get,set,incr", ("-c", "50", "-P", "16"), 120_000),
)
WARM_UP = 10_000
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


@dataclass(frozen=True, slots=True)
class Side:
    """A shard that runs."""

    port: int
    pid: int

    def cpu_s(self) -> float:
        """Return what its thread has spent on the CPU so far."""
        return int(Path(f"/proc/{self.pid}/schedstat").read_text().split()[0]) / 1e9


@contextmanager
def a_shard(folder: Path | None, how: str) -> Iterator[Side]:
    """Run one shard from the sources in `folder`, or from these.

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
        yield Side(port, process.pid)
    finally:
        stop(process)
        process.stdout.close()


Found = dict[str, dict[str, list[float]]]
"""By what was asked, and by side: one number a round."""


def one_round(sides: Mapping[str, Side], plan: Plan, rates: Found, costs: Found) -> None:
    """Ask both sides everything, one right after the other."""
    for side in sides.values():
        load.run(side.port, ("-t", "get,set,incr", "-c", "50", "-P", "16", "-n", str(WARM_UP)))
    for tests, options, requests in SHAPES:
        count = plan.size(requests)
        for test in tests.split(","):
            for name, side in sides.items():
                what, before_s = f"{test} {' '.join(options)}", side.cpu_s()
                run = load.run(side.port, ("-t", test, *options, "-n", str(count)))[test]
                rates.setdefault(what, {}).setdefault(name, []).append(run.rps)
                costs.setdefault(what, {}).setdefault(name, []).append((side.cpu_s() - before_s) / count * 1e6)


def measure(plan: Plan, against: Path | None, step: Callable[[str], None]) -> Outcome:
    """Measure every shape in turns on both shards."""
    rates: Found = {}
    costs: Found = {}
    begun = {"measured": lambda: a_shard(None, "measured"),
             "not measured": lambda: a_shard(against, "measured" if against else "bare")}
    for number in range(plan.rounds):
        step(f"round {number + 1} of {plan.rounds}")
        names = [*begun][:: 1 if number % 2 else -1]
        with ExitStack() as running:
            sides = {name: running.enter_context(begun[name]()) for name in names}
            one_round(sides, plan, rates, costs)
    outcome = Outcome("metrics_cost")
    for what, found in rates.items():
        ratios = paired_ratios(found["measured"], found["not measured"])
        for name, samples in found.items():
            outcome.series.append(Series(f"{what}, {name}", "requests/s", samples))
            outcome.series.append(Series(f"{what}, {name}, CPU", "us", costs[what][name]))
        outcome.figures.append(Figure(f"{what}: throughput, with metrics over without", Goal(">=", AT_LEAST),
                                      median(ratios), "x", tuple(ratios)))
    for what, found in costs.items():
        ratios = paired_ratios(found["not measured"], found["measured"])
        outcome.figures.append(Figure(f"{what}: CPU, without metrics over with", Goal(">=", AT_LEAST), median(ratios),
                                      "x", tuple(ratios)))
    return outcome


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
        outcome = measure(plan, against, lambda text: console.print(text, highlight=False))
    except (MissingProgramError, ServerFailedError) as error:
        raise click.ClickException(str(error)) from error
    outcome.facts["against"] = "other sources" if against else "these sources, measuring switched off"
    header = {"machine": describe(console), "plan": {"rounds": rounds, "quick": quick}}
    finish(console, "metrics-cost", header, [outcome])


if __name__ == "__main__":
    main()
