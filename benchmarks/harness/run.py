"""The beginning and the end of every run: what it runs on, the tables, the files.

What lives here: what all `make bench...` targets print and write. What does not: their questions, and their options.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Final

from rich.console import Console

from benchmarks.harness import machine
from benchmarks.harness.report import Outcome, print_figures, print_series, write_json

OUT: Final = Path(__file__).parents[1] / "out"

# Where nobody's window sets a width: the tables on one line a row.
LOG_WIDTH: Final = 160

# More than this busy before the run starts, and the figures say more about the other programs than about ours.
BUSY_CORES: Final = 0.5


def begin() -> Console:
    """Return where to print; from now on SIGTERM ends the run in order, so that what it started is stopped."""
    signal.signal(signal.SIGTERM, _leave)
    console = Console()
    if not console.is_terminal:
        console.width = LOG_WIDTH
    return console


def describe(console: Console) -> dict[str, Any]:
    """Say what this runs on, and whether anything else keeps it busy."""
    facts = machine.describe() | {"busy_cores": round(machine.busy_cores(), 2)}
    for line in machine.lines(facts):
        console.print(line, highlight=False)
    if facts["busy_cores"] > BUSY_CORES:
        console.print(f"[yellow]{facts['busy_cores']} cores are busy with something else: these figures are noisy[/]")
    return facts


def finish(console: Console, target: str, header: dict[str, Any], outcomes: Sequence[Outcome]) -> None:
    """Print the tables, the figures last, and write the same to files."""
    print_series(console, outcomes)
    print_figures(console, outcomes)
    for path in write_json(OUT, target, header, outcomes):
        console.print(f"written: {path}", soft_wrap=True, highlight=False)


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)
