"""`python -m benchmarks.fast`: the speed and memory goals beside Redis 7, redis.asyncio and the bare loopback.

What lives here: the command line and the order of the parts. What does not: the parts, and running them
(`harness.parts`).
"""

from __future__ import annotations

from typing import Any, Final

import click

from benchmarks.fast import crowd, handle, memory, tool
from benchmarks.fast.amount import Amount
from benchmarks.harness.parts import Part, announce, run_parts
from benchmarks.harness.run import begin, describe, finish
from benchmarks.harness.servers import MissingProgramError, check_programs

PARTS: Final[dict[str, Part[Any]]] = {
    part.name: part for part in (tool.TOOL, tool.SHARDS, handle.PART, crowd.PART, memory.PART)
}
TARGET: Final = "bench-fast"


@click.command()
@click.option("--only", multiple=True, type=click.Choice(list(PARTS)), help="Run this part alone; may be repeated.")
@click.option("--quick", is_flag=True, help="A tenth of the work: to try the parts, not for figures.")
def main(only: tuple[str, ...], quick: bool) -> None:
    """Compare one shard, and one per core, with Redis 7: throughput, latency, a crowd of tasks, memory an entry.

    A whole run writes benchmarks/out/bench-fast.json and bench-fast-raw.json; with --only or --quick it writes
    bench-fast-partial.json and -raw.json instead, so that a trial never replaces figures.
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
    header = {"machine": facts, "plan": {"rounds": amount.rounds, "quick": quick, "seed": amount.seed}}
    finish(console, f"{TARGET}-partial" if only or quick else TARGET, header, outcomes)


if __name__ == "__main__":
    main()
