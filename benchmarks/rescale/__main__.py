"""`python -m benchmarks.rescale`: what growing, shrinking and a second copy cost.

What lives here: the command line and the order of the parts. What does not: the parts, and running them
(`harness.parts`).
"""

from __future__ import annotations

from typing import Final

import click

from benchmarks.harness.parts import announce, run_parts
from benchmarks.harness.run import begin, describe, finish
from benchmarks.harness.servers import MissingProgramError, check_programs
from benchmarks.rescale import copies_cost, scaling
from benchmarks.rescale.amount import Amount

PARTS: Final = {part.name: part for part in (*scaling.PARTS, *copies_cost.PARTS)}
TARGET: Final = "bench-rescale"


@click.command()
@click.option("--only", multiple=True, type=click.Choice(list(PARTS)), help="Run this part alone; may be repeated.")
@click.option("--quick", is_flag=True, help="A tenth of the work: to try the parts, not for figures.")
def main(only: tuple[str, ...], quick: bool) -> None:
    """Scale 3 -> 4 -> 3 under load, and measure what a second copy costs.

    A whole run writes benchmarks/out/bench-rescale.json and bench-rescale-raw.json; with --only or --quick it writes
    bench-rescale-partial.json and -raw.json instead, so that a trial never replaces figures.
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
    header = {"machine": facts, "plan": {"entries": amount.entries, "quick": quick, "seed": amount.seed}}
    finish(console, f"{TARGET}-partial" if only or quick else TARGET, header, outcomes)


if __name__ == "__main__":
    main()
