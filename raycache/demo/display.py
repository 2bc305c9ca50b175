"""What the demo shows: live on a terminal, lines elsewhere, and a plain table at the end.

What lives here: turning a `Progress` into text. What does not: where it comes from (`job`). No Ray.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from raycache.cluster_status import ShardStatus
from raycache.config import format_bytes
from raycache.demo.settings import DemoSettings, Progress
from raycache.demo.tally import Latencies, Tally

LINE_EVERY_S = 2.0
_BAR_WIDTH = 40
# Without a terminal nothing is wrapped: a line is a record.
_PIPE_WIDTH = 250


class Display:
    """Shows one run. A context: leaving it gives the terminal back and, after a whole run, prints the table.

    Args:
        console: where to.
        clock: seconds, monotonic.
    """

    def __init__(
        self, settings: DemoSettings, console: Console, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._console = console
        self._clock = clock
        self._live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None
        self._last: Progress | None = None
        self._next_line_s = 0.0
        if not console.is_terminal:
            console.width = _PIPE_WIDTH

    def __enter__(self) -> Self:
        self._console.print(headline(self._settings), highlight=False)
        if self._live is not None:
            self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, trace)
        # After an interruption too: what was measured until then is true.
        if self._last is not None:
            self._console.print()
            self._console.print(_final(self._last), highlight=False)

    def step(self, text: str) -> None:
        """Say what has been done."""
        self._console.print(text, highlight=False)

    def update(self, progress: Progress) -> None:
        """Show where the run stands."""
        self._last = progress
        if self._live is not None:
            self._live.update(_screen(progress))
        elif progress.tally.lookups and self._clock() >= self._next_line_s:
            self._next_line_s = self._clock() + LINE_EVERY_S
            self._console.print(line(progress), highlight=False)


def headline(settings: DemoSettings) -> str:
    """Return the one line that says what will run."""
    zipf = f"Zipf popularity (skew {settings.skew:g}, seed {settings.seed})"
    popularity = f"the trace {settings.trace.name}" if settings.trace else zipf
    length = f" for {settings.seconds:g} s" if settings.seconds is not None else ""
    return (
        f"{settings.readers} Ray tasks read through a cache of {settings.shards} shards, {settings.memory} in all, "
        f"policy {settings.policy}: {popularity}{length}"
    )


def line(progress: Progress) -> str:
    """Return one line for a log."""
    tally = progress.tally
    return (
        f"{progress.elapsed_s:6.1f} s {progress.fraction:4.0%}  "
        f"reads {tally.lookups:,}  hit ratio {tally.hit_ratio:.1%}  "
        f"GET p50 {duration(tally.gets, 50)} p99 {duration(tally.gets, 99)}  "
        f"read p50 {duration(tally.reads, 50)} p99 {duration(tally.reads, 99)}  "
        f"without cache p50 {duration(tally.queries, 50)} p99 {duration(tally.queries, 99)}  saved {tally.hits:,}  "
        f"keys {'/'.join(str(shard.entries) for shard in progress.shards)}"
    )


def duration(latencies: Latencies, percent: float) -> str:
    """Return a percentile as people read it: "85 us", "4.31 ms"."""
    seconds = latencies.percentile_s(percent)
    return "-" if seconds is None else seconds_text(seconds)


def seconds_text(seconds: float) -> str:
    """Return a duration as people read it."""
    for factor, unit in ((1e6, "us"), (1e3, "ms")):
        if seconds * factor < 999.5:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds:,.1f} s"


def figures(progress: Progress) -> list[tuple[str, str]]:
    """Return what the run measured: name and value."""
    tally = progress.tally
    return [
        ("reads", f"{tally.lookups:,} in {progress.elapsed_s:.1f} s ({progress.reads_per_s:,.0f} a second)"),
        ("hit ratio", f"{tally.hit_ratio:.1%}"),
        ("database reads saved", f"{tally.hits:,} of {tally.lookups:,}: {seconds_text(tally.saved_s)} of queries"),
        ("answers compared with the database", _verdict(tally)),
        *([("cache calls that failed", f"{tally.failures:,}")] if tally.failures else []),
    ]


def _verdict(tally: Tally) -> str:
    if tally.wrong:
        return f"{tally.checked:,}, of which {tally.wrong:,} WERE WRONG"
    return f"{tally.checked:,}, all equal"


def _latency_table(tally: Tally) -> Table:
    table = _table("latency", "p50", "p99")
    for name, latencies in (
        ("a read without the cache", tally.queries),
        ("a read with the cache, hit or miss", tally.reads),
        ("the cache's GET alone", tally.gets),
    ):
        table.add_row(name, duration(latencies, 50), duration(latencies, 99))
    return table


def _shard_table(shards: tuple[ShardStatus, ...]) -> Table:
    table = _table("shard", "keys", "used", "hit ratio", "evicted")
    for shard in shards:
        used = format_bytes(shard.used_bytes)
        table.add_row(shard.id, f"{shard.entries:,}", used, f"{shard.hit_ratio:.1%}", f"{shard.evicted:,}")
    return table


def _figure_table(progress: Progress) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), show_header=False)
    for name, value in figures(progress):
        table.add_row(name, value)
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    table.add_column(first, no_wrap=True)
    for other in others:
        table.add_column(other, justify="right", no_wrap=True)
    return table


def _final(progress: Progress) -> RenderableType:
    return Group(_figure_table(progress), "", _latency_table(progress.tally), "", _shard_table(progress.shards))


def _screen(progress: Progress) -> RenderableType:
    most = max((shard.entries for shard in progress.shards), default=0)
    keys = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    for shard in progress.shards:
        bar = ProgressBar(total=max(most, 1), completed=shard.entries, width=_BAR_WIDTH)
        keys.add_row(shard.id, bar, f"{shard.entries:,} keys", format_bytes(shard.used_bytes))
    done = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    done.add_row(ProgressBar(total=1.0, completed=progress.fraction, width=_BAR_WIDTH), f"{progress.fraction:.0%}",
                 f"{progress.elapsed_s:.0f} s")  # fmt: skip
    return Group(done, "", _figure_table(progress), "", _latency_table(progress.tally), "", keys)
