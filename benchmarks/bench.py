"""`python -m benchmarks.bench`: every speed and memory goal, measured against real servers in the same run.

What lives here: the command line, the order of the questions, the end of the run. What does not: any measurement
(one file per question) and its machinery (`harness`).
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import click
from rich.console import Console

from benchmarks import get_many, handle_get, memory_pauses, redis_benchmark
from benchmarks.harness import machine
from benchmarks.harness.product import running_ray
from benchmarks.harness.progress import RunProgress
from benchmarks.harness.report import Outcome, print_figures, print_series, write_json
from benchmarks.harness.rounds import MIN_ROUNDS, ROUNDS, Plan
from benchmarks.harness.servers import MissingProgramError, ServerFailedError, check_programs

QUESTIONS: dict[str, ModuleType] = {
    module.NAME: module for module in (handle_get, redis_benchmark, get_many, memory_pauses)
}
OUT = Path(__file__).parent / "out"

# Where nobody's window sets a width: the tables on one line a row.
LOG_WIDTH = 160

# More than this busy before the run starts, and the figures say more about the other programs than about ours.
BUSY_CORES = 0.5


@click.command()
@click.option(
    "--only", multiple=True, type=click.Choice(list(QUESTIONS)), help="Ask this question alone; may be repeated."
)
@click.option(
    "--rounds",
    default=ROUNDS,
    show_default=True,
    type=click.IntRange(min=MIN_ROUNDS),
    help="Rounds per side, in turns.",
)
@click.option("--quick", is_flag=True, help="A tenth of the work per round: to try the harness, not for figures.")
def main(only: tuple[str, ...], rounds: int, quick: bool) -> None:
    """Measure the speed and memory goals beside Redis 7 on this machine.

    A whole run writes benchmarks/out/bench.json and bench-raw.json; with --only or --quick it writes bench-partial.json
    and bench-partial-raw.json instead, so that a trial never replaces figures.
    """
    signal.signal(signal.SIGTERM, _leave)  # so that the servers started here are stopped
    console = Console()
    if not console.is_terminal:
        console.width = LOG_WIDTH
    plan = Plan(rounds=rounds, quick=quick)
    chosen = [QUESTIONS[name] for name in (only or QUESTIONS)]
    try:
        check_programs()
        facts = _describe(console)
        outcomes = _ask(chosen, plan, console)
    except (MissingProgramError, ServerFailedError) as error:
        raise click.ClickException(str(error)) from error
    header = {"machine": facts, "plan": {"rounds": plan.rounds, "quick": plan.quick, "seed": plan.seed}}
    target = "bench-partial" if only or quick else "bench"
    _finish(console, target, header, outcomes)


def _describe(console: Console) -> dict[str, Any]:
    """Say what this runs on, and whether anything else keeps it busy."""
    facts = machine.describe() | {"busy_cores": round(machine.busy_cores(), 2)}
    for line in machine.lines(facts):
        console.print(line, highlight=False)
    if facts["busy_cores"] > BUSY_CORES:
        console.print(f"[yellow]{facts['busy_cores']} cores are busy with something else: these figures are noisy[/]")
    return facts


def _ask(chosen: list[ModuleType], plan: Plan, console: Console) -> list[Outcome]:
    outcomes = []
    with RunProgress(console, sum(module.steps(plan) for module in chosen)) as progress, running_ray():
        for module in chosen:
            outcomes.append(module.run(plan, lambda text, name=module.NAME: progress.step(f"{name}: {text}")))
    return outcomes


def _finish(console: Console, target: str, header: dict[str, Any], outcomes: list[Outcome]) -> None:
    """Print the tables, the figures last, and write the same to files."""
    print_series(console, outcomes)
    print_figures(console, outcomes)
    for path in write_json(OUT, target, header, outcomes):
        console.print(f"written: {path}", soft_wrap=True, highlight=False)


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
