"""`python -m benchmarks.bench`: every speed and memory goal, and everything side by side, in the same run.

What lives here: the command line and the order of the questions. What does not: any measurement (one file per question,
and `suite`) and its machinery (`harness`).
"""

from __future__ import annotations

import time
from types import ModuleType

import click
from rich.console import Console

from benchmarks import get_many, handle_get, large, memory_pauses, near, redis_benchmark
from benchmarks.harness.product import running_ray
from benchmarks.harness.progress import RunProgress
from benchmarks.harness.report import Outcome
from benchmarks.harness.rounds import MIN_ROUNDS, ROUNDS, Plan
from benchmarks.harness.run import begin, describe, finish
from benchmarks.harness.servers import MissingProgramError, ServerFailedError, check_programs
from benchmarks.suite import hits, memory, pauses, scaling, side_by_side

QUESTIONS: dict[str, ModuleType] = {
    module.NAME: module for module in (handle_get, redis_benchmark, get_many, near, memory_pauses, large)
}
"""Those with goals."""
SUITE: dict[str, ModuleType] = {module.NAME: module for module in (side_by_side, scaling, pauses, memory, hits)}
"""Those that show how all sides behave. One that fails leaves the rest alone."""
GROUPS: dict[str, dict[str, ModuleType]] = {"figures": QUESTIONS, "suite": SUITE}


@click.command()
@click.option(
    "--only",
    multiple=True,
    type=click.Choice([*GROUPS, *QUESTIONS, *SUITE]),
    help="Ask this question, or this group of them, alone; may be repeated.",
)
@click.option(
    "--rounds",
    type=click.IntRange(min=MIN_ROUNDS),
    help=f"Rounds per side, in turns.  [default: {ROUNDS}; {MIN_ROUNDS} with --quick]",
)
@click.option("--quick", is_flag=True, help="A tenth of the work per round: to try the harness, not for figures.")
def main(only: tuple[str, ...], rounds: int | None, quick: bool) -> None:
    """Measure the speed and memory goals beside Redis 7 on this machine, and everything side by side.

    A whole run writes benchmarks/out/bench.json and bench-raw.json; with --only or --quick it writes bench-partial.json
    and bench-partial-raw.json instead, so that a trial never replaces figures. `make bench-report` makes a report.
    """
    console = begin()
    plan = Plan(rounds=rounds or (MIN_ROUNDS if quick else ROUNDS), quick=quick)
    chosen = _chosen(only)
    try:
        check_programs()
        facts = describe(console)
        outcomes = _ask(chosen, plan, console)
    except (MissingProgramError, ServerFailedError) as error:
        raise click.ClickException(str(error)) from error
    header = {"machine": facts, "plan": {"rounds": plan.rounds, "quick": plan.quick, "seed": plan.seed}}
    target = "bench-partial" if only or quick else "bench"
    finish(console, target, header, outcomes)


def _chosen(only: tuple[str, ...]) -> list[ModuleType]:
    """Return what was asked for, in the usual order."""
    wanted = {name for word in only or GROUPS for name in GROUPS.get(word, [word])}
    return [module for group in GROUPS.values() for name, module in group.items() if name in wanted]


def _ask(chosen: list[ModuleType], plan: Plan, console: Console) -> list[Outcome]:
    outcomes = []
    with RunProgress(console, sum(module.steps(plan) for module in chosen)) as progress, running_ray():
        for module in chosen:
            began_s = time.monotonic()
            try:
                outcome = module.run(plan, lambda text, name=module.NAME: progress.step(f"{name}: {text}"))
            except ServerFailedError as error:
                if module.NAME not in SUITE:
                    raise
                console.print(f"{module.NAME}: {error}", style="red", soft_wrap=True, markup=False, highlight=False)
                outcome = Outcome(module.NAME, facts={"failed": str(error)})
            outcome.facts["took_s"] = round(time.monotonic() - began_s, 1)
            outcomes.append(outcome)
    return outcomes


if __name__ == "__main__":
    main()
