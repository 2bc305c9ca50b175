"""`python -m benchmarks.bench`: every speed and memory goal, measured against real servers in the same run.

What lives here: the command line and the order of the questions. What does not: any measurement (one file per question)
and its machinery (`harness`).
"""

from __future__ import annotations

from types import ModuleType

import click
from rich.console import Console

from benchmarks import get_many, handle_get, memory_pauses, redis_benchmark
from benchmarks.harness.product import running_ray
from benchmarks.harness.progress import RunProgress
from benchmarks.harness.report import Outcome
from benchmarks.harness.rounds import MIN_ROUNDS, ROUNDS, Plan
from benchmarks.harness.run import begin, describe, finish
from benchmarks.harness.servers import MissingProgramError, ServerFailedError, check_programs

QUESTIONS: dict[str, ModuleType] = {
    module.NAME: module for module in (handle_get, redis_benchmark, get_many, memory_pauses)
}


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
    console = begin()
    plan = Plan(rounds=rounds, quick=quick)
    chosen = [QUESTIONS[name] for name in (only or QUESTIONS)]
    try:
        check_programs()
        facts = describe(console)
        outcomes = _ask(chosen, plan, console)
    except (MissingProgramError, ServerFailedError) as error:
        raise click.ClickException(str(error)) from error
    header = {"machine": facts, "plan": {"rounds": plan.rounds, "quick": plan.quick, "seed": plan.seed}}
    target = "bench-partial" if only or quick else "bench"
    finish(console, target, header, outcomes)


def _ask(chosen: list[ModuleType], plan: Plan, console: Console) -> list[Outcome]:
    outcomes = []
    with RunProgress(console, sum(module.steps(plan) for module in chosen)) as progress, running_ray():
        for module in chosen:
            outcomes.append(module.run(plan, lambda text, name=module.NAME: progress.step(f"{name}: {text}")))
    return outcomes


if __name__ == "__main__":
    main()
