"""`python -m benchmarks.herd`: many callers on one expired key, a hot key for a minute, a decorated hit, tags.

What lives here: the command line and the order of the parts. What does not: the parts, and running them
(`harness.parts`).
"""

from __future__ import annotations

from typing import Final

import click

from benchmarks.harness.parts import announce, run_parts
from benchmarks.harness.run import begin, describe, finish
from benchmarks.harness.servers import MissingProgramError, check_programs
from benchmarks.herd import hit, hot_key, stampede, tags
from benchmarks.herd.amount import Amount

PARTS: Final = {part.name: part for part in (stampede.PART, hot_key.PART, hit.PART, tags.PART)}
TARGET: Final = "bench-herd"


@click.command()
@click.option("--only", multiple=True, type=click.Choice(list(PARTS)), help="Run this part alone; may be repeated.")
@click.option("--quick", is_flag=True, help="A tenth of the work: to try the parts, not for figures.")
def main(only: tuple[str, ...], quick: bool) -> None:
    """Send a herd at one key, keep one key hot, time a decorated hit, and invalidate a million entries by their tag.

    A whole run writes benchmarks/out/bench-herd.json and bench-herd-raw.json; with --only or --quick it writes
    bench-herd-partial.json and -raw.json instead, so that a trial never replaces figures.
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
    header = {"machine": facts, "plan": {"callers": amount.callers, "rounds": amount.rounds, "quick": quick}}
    finish(console, f"{TARGET}-partial" if only or quick else TARGET, header, outcomes)


if __name__ == "__main__":
    main()
