"""`top`: what a cluster is used for, as it happens: hot keys, and what decorated functions save.

What lives here: the command, the table, and rates between two looks. What does not: the figures
(`raycache.client.top`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any, Final

import click
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from raycache.cli import output
from raycache.cli.backend import Backend
from raycache.client.top import ClusterUse, shown_key
from raycache.usage.rows import FunctionUse

_KEY_WIDTH: Final = 60
_MIN_INTERVAL_S: Final = 0.2


@click.command()
@click.argument("name")
@click.option("--once", is_flag=True, help="Print one table and end.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON once, for programs.")
@click.option("--count", default=10, show_default=True, type=click.IntRange(1, 128), help="How many keys to show.")
@click.option("--interval", "interval_s", default=1.0, show_default=True, type=click.FloatRange(_MIN_INTERVAL_S, 3600),
              help="Seconds between two looks.")  # fmt: skip
@click.pass_obj
def top(backend: Backend, name: str, once: bool, as_json: bool, count: int, interval_s: float) -> None:
    """Show the hot keys of the cluster NAME, and what its decorated functions do and save, live. Ctrl-C ends it.

    Shares of keys are estimates: each shard samples up to 500 requests a second, and older samples fade. Functions are
    those decorated with `cached`, summed over all processes; each tells the cluster once a second.

    \b
    Examples:
      raycache top features
      raycache top features --once --count 20
      raycache top features --json
    """
    backend.attach(start=False)
    with backend.connect(name) as cache:
        use = cache.top(count)
        if as_json:
            output.print_json(use_record(use))
        elif once or not (console := Console()).is_terminal:
            _printed(use)
        else:
            _watch(console, lambda: cache.top(count), use, interval_s)


def use_record(use: ClusterUse) -> dict[str, Any]:
    """Return everything as JSON types. A key that is no UTF-8 has surrogate escapes, as in `scan`."""
    return {
        "name": use.cluster,
        "commands_per_s": use.commands_per_s,
        "looks": use.looks,
        "unreachable": list(use.unreachable),
        "latency": use.latency,
        "keys": [
            {"key": os.fsdecode(key.key), "shard": key.shard_id, "share": key.share, "error": key.error,
             "per_s": key.per_s}
            for key in use.keys
        ],
        "functions": {name: function_record(one) for name, one in use.functions.items()},
    }  # fmt: skip


def function_record(use: FunctionUse) -> dict[str, float]:
    """Return the counters of a function, and what follows from them."""
    return {
        "hits": use.hits, "loads": use.loads, "load_s": use.load_s, "stale": use.stale, "waits": use.waits,
        "wait_s": use.wait_s, "failures": use.failures, "cache_errors": use.cache_errors, "calls": use.calls,
        "hit_ratio": use.hit_ratio, "mean_load_s": use.mean_load_s, "saved_s": use.saved_s,
    }  # fmt: skip


def calls_per_s(now: Mapping[str, FunctionUse], before: Mapping[str, FunctionUse], seconds: float) -> dict[str, float]:
    """Return how often each function was called between two looks. A shard that came back empty counts as none."""
    return {name: max(0, use.calls - (before[name].calls if name in before else 0)) / seconds
            for name, use in now.items()} if seconds > 0 else {}  # fmt: skip


def _printed(use: ClusterUse) -> None:
    console = Console()
    if not console.is_terminal:
        console.width = 200  # without a terminal nothing is wrapped: a line is a record
    console.print(screen(use, {}))


def _watch(console: Console, look: Any, use: ClusterUse, interval_s: float) -> None:
    seen_s, rates = time.monotonic(), dict[str, float]()
    with Live(screen(use, rates), console=console, screen=True, auto_refresh=False) as live:
        while True:
            time.sleep(interval_s)
            before, before_s = use, seen_s
            use, seen_s = look(), time.monotonic()
            rates = calls_per_s(use.functions, before.functions, seen_s - before_s)
            live.update(screen(use, rates), refresh=True)


def screen(use: ClusterUse, rates: Mapping[str, float]) -> Group:
    """Return both tables.

    Args:
        rates: calls a second by function, where they are known.
    """
    missing = f", no answer from {', '.join(use.unreachable)}" if use.unreachable else ""
    head = Text(f"{use.cluster}: {use.commands_per_s:,.0f} commands/s, {use.looks:,.0f} of them sampled{missing}")
    return Group(head, *_latency(use), Text(), _keys(use), Text(), _functions(use, rates))


def _latency(use: ClusterUse) -> list[Text]:
    """Return one line: how long the slowest shard takes, by class of commands, where anything was measured."""
    shown = [f"{class_} {one['p50_us']:,.0f}/{one['p99_us']:,.0f} us" for class_, one in use.latency.items()]
    return [Text(f"p50/p99 at the slowest shard: {', '.join(shown)}")] if shown else []


def _keys(use: ClusterUse) -> Table:
    table = _table("hot key", "shard", "share", "+/-", "about/s")
    for key in use.keys:
        shares = f"{key.share:.1%}", f"{key.error:.1%}"
        table.add_row(escape(shown_key(key.key)), key.shard_id, *shares, f"{key.per_s:,.0f}")
    return table


def _functions(use: ClusterUse, rates: Mapping[str, float]) -> Table:
    table = _table("function", "calls/s", "hits", "loads", "hit ratio", "mean load", "saved", "stale", "waits",
                   "mean wait", "failed")  # fmt: skip
    for name, one in use.functions.items():
        mean_wait_s = one.wait_s / one.waits if one.waits else 0.0
        table.add_row(
            escape(name), f"{rates[name]:,.0f}" if name in rates else "", f"{one.hits:,}", f"{one.loads:,}",
            f"{one.hit_ratio:.1%}", _time(one.mean_load_s), _time(one.saved_s), f"{one.stale:,}", f"{one.waits:,}",
            _time(mean_wait_s), f"{one.failures:,}",
        )  # fmt: skip
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(first, no_wrap=True, overflow="ellipsis", max_width=_KEY_WIDTH)
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _time(seconds: float) -> str:
    if seconds < 0.0995:
        return f"{seconds * 1000:.1f} ms" if seconds else "0"
    return f"{seconds:.2f} s" if seconds < 100 else output.duration_text(seconds)


COMMANDS = (top,)
