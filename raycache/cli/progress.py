"""A change of a cluster while it is under way: a bar on a terminal, lines elsewhere, a summary at the end.

What lives here: reading the router's account (`raycache.router.status.progress`) and showing it. What does not: asking
for it, and for how long (`moving`). No Ray, no clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from raycache.cli.output import duration_text
from raycache.cli.status_text import transfer_text
from raycache.cluster_status import TransferStatus
from raycache.config import format_bytes

LINE_EVERY_S: Final = 2.0
_BAR_WIDTH: Final = 40
# Without a terminal nothing is wrapped: a line is a record.
_PIPE_WIDTH: Final = 250


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a change is."""

    text: str
    """What is done, such as "scale from 3 to 4 shards"."""
    is_done: bool
    seconds: float
    slots_done: int
    slots_total: int
    """As far as is known yet: a large change plans its moves in several turns."""
    entries: int
    bytes: int
    misses: int
    """Reads that found nothing only because a giver did not answer."""
    transfers: tuple[TransferStatus, ...] = ()

    @property
    def fraction(self) -> float:
        """0 to 1, by slots."""
        if self.is_done:
            return 1.0
        return self.slots_done / self.slots_total if self.slots_total else 0.0


def read_progress(account: Mapping[str, Any]) -> Progress | None:
    """Return the change under way; None where nothing is."""
    change = account["change"]
    if change is None:
        return None
    transfers = tuple(
        TransferStatus(one["id"], one["giver"], one["receiver"], one["slots"], one["state"], one["entries"],
                       one["bytes"], one["misses"], one["seconds"])
        for one in account["transfers"]
    )  # fmt: skip
    return Progress(
        change["text"], False, change["seconds"], account["slots_done"], account["slots_total"],
        change["entries"] + sum(one.entries for one in transfers),
        change["bytes"] + sum(one.bytes for one in transfers),
        change["misses"] + sum(one.misses for one in transfers), transfers,
    )  # fmt: skip


def read_result(account: Mapping[str, Any]) -> Progress | None:
    """Return the last change that ended; None where the router knows of none."""
    last = account["last"]
    if last is None:
        return None
    return Progress(last["text"], True, last["seconds"], last["slots"], last["slots"], last["entries"], last["bytes"],
                    last["misses"])  # fmt: skip


def line(progress: Progress) -> str:
    """Return one line: how far, how much, how long."""
    return (
        f"{progress.text}: {progress.fraction:4.0%}, {progress.slots_done:,} of {progress.slots_total:,} slots, "
        f"{amount(progress)}"
    )


def summary(progress: Progress) -> str:
    """Return what a change cost, for people."""
    return f"{progress.text}: {progress.slots_done:,} slots moved, {amount(progress)}"


def amount(progress: Progress) -> str:
    """Return how much has moved, in what time, and how many misses that has caused."""
    return (
        f"{progress.entries:,} entries, {format_bytes(progress.bytes)} in {duration_text(progress.seconds)}, "
        f"{progress.misses:,} {'miss' if progress.misses == 1 else 'misses'} caused"
    )


class ProgressView:
    """Shows one change on `console`. A context: leaving it gives the terminal back."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None
        self._next_line_s = 0.0
        if not console.is_terminal:
            console.width = _PIPE_WIDTH

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, trace)

    def update(self, progress: Progress) -> None:
        """Show where the change stands; without a terminal, a line when it begins and every other second."""
        if self._live is not None:
            self._live.update(_screen(progress))
        elif progress.seconds >= self._next_line_s:
            self._next_line_s = progress.seconds + LINE_EVERY_S
            self._console.print(line(progress), highlight=False, markup=False)


def _screen(progress: Progress) -> Group:
    bar = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    bar.add_row(ProgressBar(total=1.0, completed=progress.fraction, width=_BAR_WIDTH), f"{progress.fraction:.0%}",
                f"{progress.slots_done:,} of {progress.slots_total:,} slots")  # fmt: skip
    lines = [amount(progress), *map(transfer_text, progress.transfers)]
    return Group(Text(progress.text), bar, *map(Text, lines))
