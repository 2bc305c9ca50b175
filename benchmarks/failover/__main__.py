"""`python -m benchmarks.failover`: what losing something costs, part by part, beside Redis Cluster where it can do so.

What lives here: the command line, the order of the parts, and what becomes of a part that cannot be measured.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

import click
from rich.console import Console

from benchmarks.failover import control_plane, kills, machines
from benchmarks.failover.part import Amount, Part
from benchmarks.harness.progress import RunProgress
from benchmarks.harness.report import Figure, Goal, Outcome
from benchmarks.harness.run import begin, describe, finish
from benchmarks.harness.servers import MissingProgramError, ServerFailedError, check_programs
from raycache.testing.hosts import HostError, why_unavailable

PARTS: Final = {part.name: part for part in (*kills.PARTS, *machines.PARTS, *control_plane.PARTS)}
TARGET: Final = "bench-failover"


@click.command()
@click.option("--only", multiple=True, type=click.Choice(list(PARTS)), help="Run this part alone; may be repeated.")
@click.option("--quick", is_flag=True, help="Few kills and short absences: to try the parts, not for figures.")
def main(only: tuple[str, ...], quick: bool) -> None:
    """Kill shards, machines, the router and Ray's GCS under load, and count what that costs.

    A whole run writes benchmarks/out/bench-failover.json and bench-failover-raw.json; with --only or --quick it writes
    bench-failover-partial.json and -raw.json instead, so that a trial never replaces figures.
    """
    console = begin()
    amount = Amount(quick=quick)
    chosen = [PARTS[name] for name in (only or PARTS)]
    try:
        check_programs()
    except MissingProgramError as error:
        raise click.ClickException(str(error)) from error
    facts = describe(console)
    announce(console, chosen, amount)
    outcomes = run_parts(console, chosen, amount)
    header = {"machine": facts, "plan": {"kills": amount.kills, "quick": quick, "seed": amount.seed}}
    finish(console, f"{TARGET}-partial" if only or quick else TARGET, header, outcomes)


def announce(console: Console, parts: Sequence[Part], amount: Amount) -> None:
    """Say what will run, and about how long it will take."""
    for part in parts:
        console.print(f"{part.name:<10} about {minutes(part.estimate_s(amount))}  {part.about}", highlight=False)
    console.print(f"together about {minutes(sum(part.estimate_s(amount) for part in parts))}", highlight=False)


def minutes(seconds: float) -> str:
    """Return a time as people say it."""
    return f"{seconds / 60:4.1f} min"


def run_parts(console: Console, parts: Sequence[Part], amount: Amount) -> list[Outcome]:
    """Run the parts one after the other. One that cannot be measured leaves its figures unmet, and the rest goes on."""
    outcomes = []
    with RunProgress(console, sum(part.steps(amount) for part in parts)) as progress:
        for part in parts:
            began_s = time.monotonic()
            try:
                outcome = part.run(amount, progress.step)
            except (ServerFailedError, HostError, LookupError) as error:
                console.print(f"[red]{part.name}: {error}[/]", soft_wrap=True, highlight=False)
                outcome = not_measured(part, str(error))
            outcome.facts["took_s"] = round(time.monotonic() - began_s, 1)
            outcomes.append(outcome)
    return outcomes


def not_measured(part: Part, reason: str) -> Outcome:
    """Return the outcome of a part that failed: everything it promised, unmet."""
    figures = [Figure(name, Goal("<=", 0), None, "") for name in part.promised]
    return Outcome(part.name, figures=figures, facts={"failed": reason, "hosts": why_unavailable() or "available"})


if __name__ == "__main__":
    main()
