"""How the commands print: tables for people, JSON for programs.

What lives here: turning tables, numbers and cached values into text. What does not: what stands in the tables.
Pure but for writing to standard output. Results go to standard output, everything about them to standard error.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from raycache.ring.slots import SLOT_COUNT

# Into a file or a pipe nothing is wrapped or cut: a line there is a record.
_PIPE_WIDTH = 250


def note(text: str) -> None:
    """Say something about the result, on standard error."""
    click.echo(text, err=True)


@contextlib.contextmanager
def busy(text: str) -> Iterator[None]:
    """Show on a terminal that something takes seconds; elsewhere stay silent."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(text):
        yield


def print_json(record: Any) -> None:
    """Print one JSON document."""
    click.echo(json.dumps(record, indent=2))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> None:
    """Print aligned columns: the first `left` ones to the left, the others, numbers, to the right."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number < left else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console = Console(file=sys.stdout, highlight=False, markup=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    with console.capture() as capture:
        console.print(table)
    for line in capture.get().splitlines():
        click.echo(line.rstrip())


def duration_text(seconds: float) -> str:
    """Return a time as people read it: "12 ms", "8.3 s", "4 min"."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 119.95:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:,.0f} min"


def share_text(slots: int) -> str:
    """Return a number of slots with its share of all, such as "4,096 (25.0%)"."""
    return f"{slots:,} ({slots / SLOT_COUNT:.1%})"


def write_value(value: Any) -> None:
    """Print a cached value: text as it is, bytes raw, anything else as JSON if that has a form for it, else as repr."""
    if isinstance(value, bytes):
        click.echo(value)
    elif isinstance(value, str):
        click.echo(value.encode(errors="surrogateescape"))
    else:
        try:
            click.echo(json.dumps(value, ensure_ascii=False))
        except (TypeError, ValueError):
            click.echo(repr(value))


def value_as_json(value: Any) -> str:
    """Return a cached value as JSON; bytes that are UTF-8 become text.

    Raises:
        ValueError: JSON has no form for it.
    """
    try:
        return json.dumps(value, default=_plain, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the value has no JSON form ({error}); leave --json out") from None


def _plain(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode()
    raise TypeError(f"it holds a {type(value).__name__}")
