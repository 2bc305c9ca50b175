"""`python -m benchmarks.hits`: policies on recorded traces, `policy="auto"`, the miss-ratio curve, and what it costs.

What lives here: the command line and the order of the parts. What does not: the parts, and running them
(`harness.parts`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from benchmarks.harness.parts import announce, run_parts
from benchmarks.harness.run import begin, describe, finish
from benchmarks.harness.servers import MissingProgramError, check_programs
from benchmarks.hits import auto, cost, curve, policies
from benchmarks.hits.amount import Amount
from benchmarks.hits.traces import TRACES

PARTS: Final = {part.name: part for part in (policies.PART, auto.PART, curve.PART, cost.PART)}
TARGET: Final = "bench-hits"


@click.command()
@click.option("--only", multiple=True, type=click.Choice(list(PARTS)), help="Run this part alone; may be repeated.")
@click.option("--quick", is_flag=True, help="The three short traces and short rounds: to try the parts.")
@click.option("--traces", type=click.Path(path_type=Path), default=TRACES, show_default=True,
              help="The folder with the traces and reference.json.")  # fmt: skip
def main(only: tuple[str, ...], quick: bool, traces: Path) -> None:
    """Replay recorded traces under every policy, compare the sampled curve with the exact one, and time what it costs.

    A whole run writes benchmarks/out/bench-hits.json and bench-hits-raw.json; with --only or --quick it writes
    bench-hits-partial.json and -raw.json instead, so that a trial never replaces figures.
    """
    console = begin()
    amount = Amount(quick=quick, traces=traces)
    chosen = [PARTS[name] for name in (only or PARTS)]
    try:
        amount.reference()
        if cost.PART in chosen:
            check_programs()
    except (LookupError, MissingProgramError) as error:
        raise click.ClickException(str(error)) from error
    facts = describe(console)
    announce(console, chosen, amount)
    outcomes = run_parts(console, chosen, amount)
    header = {"machine": facts, "plan": {"rounds": amount.rounds, "quick": quick}}
    finish(console, f"{TARGET}-partial" if only or quick else TARGET, header, outcomes)


if __name__ == "__main__":
    main()
