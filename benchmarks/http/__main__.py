"""`python -m benchmarks.http`: the HTTP door's figures.

What lives here: the command line and the order of the parts. What does not: the parts, and running them
(`harness.parts`).
"""

from __future__ import annotations

from typing import Final

import click

from benchmarks.harness.parts import announce, run_parts
from benchmarks.harness.run import begin, describe, finish
from benchmarks.harness.servers import MissingProgramError, check_programs
from benchmarks.http import get, page_cost
from benchmarks.http.amount import Amount

PARTS: Final = {part.name: part for part in (get.PART, page_cost.PART)}
TARGET: Final = "bench-http"


@click.command()
@click.option("--only", multiple=True, type=click.Choice(list(PARTS)), help="Run this part alone; may be repeated.")
@click.option("--quick", is_flag=True, help="A part of the work: to try the parts, not for figures.")
def main(only: tuple[str, ...], quick: bool) -> None:
    """Load the HTTP door, a bare endpoint and webdis in turns; open the page in a browser and watch 16 shards with it.

    A whole run writes benchmarks/out/bench-http.json and bench-http-raw.json; with --only or --quick it writes
    bench-http-partial.json and -raw.json instead, so that a trial never replaces figures.
    """
    console = begin()
    amount = Amount(quick=quick)
    chosen = [PARTS[name] for name in (only or PARTS)]
    try:
        check_programs(("redis-server", "redis-cli", "wrk"))
    except MissingProgramError as error:
        raise click.ClickException(f"{error} wrk") from error
    facts = describe(console)
    announce(console, chosen, amount)
    outcomes = run_parts(console, chosen, amount)
    header = {"machine": facts, "plan": {"rounds": amount.rounds, "round_s": amount.round_s, "quick": quick}}
    finish(console, f"{TARGET}-partial" if only or quick else TARGET, header, outcomes)


if __name__ == "__main__":
    main()
