"""`python -m benchmarks.failover`: what losing something costs, part by part, beside Redis Cluster where it can do so.

What lives here: the command line and the order of the parts. What does not: the parts, and running them
(`harness.parts`).
"""

from __future__ import annotations

from typing import Final

import click

from benchmarks.failover import control_plane, kills, machines
from benchmarks.failover.amount import Amount
from benchmarks.harness.parts import announce, run_parts
from benchmarks.harness.run import begin, describe, finish
from benchmarks.harness.servers import MissingProgramError, check_programs

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


if __name__ == "__main__":
    main()
