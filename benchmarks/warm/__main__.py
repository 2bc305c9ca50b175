"""`python -m benchmarks.warm`: does warming leave the database's other clients alone?

What lives here: the command line. What does not: the part (`serving`), and running it (`harness.parts`).
"""

from __future__ import annotations

from typing import Final

import click

from benchmarks.harness.parts import announce, run_parts
from benchmarks.harness.run import begin, describe, finish
from benchmarks.warm import serving
from benchmarks.warm.amount import ROUNDS, Amount

PARTS: Final = serving.PARTS
TARGET: Final = "bench-warm"


@click.command()
@click.option("--quick", is_flag=True, help="A tenth of the keys, one round: to try it, not for figures.")
@click.option("--rounds", default=ROUNDS, show_default=True, type=click.IntRange(min=1),
              help="Rounds a side, in turns.")  # fmt: skip
def main(quick: bool, rounds: int) -> None:
    """Warm 10,000 keys while the database serves others, with the feedback and without it.

    A whole run writes benchmarks/out/bench-warm.json and bench-warm-raw.json; with --quick or
    fewer rounds it writes bench-warm-partial.json and -raw.json instead, so that a trial never replaces figures.
    """
    console = begin()
    amount = Amount(quick=quick, wanted_rounds=rounds)
    facts = describe(console)
    announce(console, PARTS, amount)
    outcomes = run_parts(console, PARTS, amount)
    header = {"machine": facts, "plan": {"keys": amount.keys, "rounds": amount.rounds, "quick": quick,
                                         "seed": amount.seed}}  # fmt: skip
    finish(console, f"{TARGET}-partial" if quick or rounds < ROUNDS else TARGET, header, outcomes)


if __name__ == "__main__":
    main()
