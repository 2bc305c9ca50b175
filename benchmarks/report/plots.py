"""Plots from a run, as small SVG files.

What lives here: one function for each plot, which returns a figure or None where nothing is to be shown; writing
them. What does not: what stands around them (`pages`). matplotlib is imported here alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.report.reading import Record, Run
from benchmarks.report.tables import size, traces
from benchmarks.suite.names import ACTOR, ECHO, MEMCACHED, OPTIMUM, RAYCACHE, REDIS, REDIS_CLUSTER, TOOL_PREFIX

COLOURS: Final = {RAYCACHE: "#d1495b", REDIS: "#30638e", REDIS_CLUSTER: "#6fa8dc", MEMCACHED: "#3c887e",
                  ACTOR: "#b08900", ECHO: "#888888", OPTIMUM: "#222222"}  # fmt: skip
WIDTH, HEIGHT = 7.2, 3.8
SETTINGS: Final = {"svg.fonttype": "none", "svg.hashsalt": "raycache", "font.size": 9, "axes.grid": True,
                   "grid.alpha": 0.3, "legend.frameon": False, "axes.spines.top": False, "axes.spines.right": False}
"""Text stays text and the same run gives the same bytes."""

Draw = Callable[[Run], "Figure | None"]


def along(dimension: str, title: str, label: str, *, log: bool = True, per_value: bool = False) -> Draw:
    """Return a plot of requests a second along a dimension, Python clients in lines and redis-benchmark dashed.

    Args:
        log: whether both axes are logarithmic, or only the one of the values.
        per_value: whether megabytes of values a second are shown instead.
    """
    def draw(run: Run) -> Figure | None:
        series = run.series(dimension)
        if not series:
            return None
        figure, axes = _new(title, label, "megabytes/s" if per_value else "requests/s")
        for side, rows in series.items():
            numbers = [record["rps"] * (record["point"]["value_bytes"] / 1e6 if per_value else 1) for _, record in rows]
            axes.plot([value for value, _ in rows], numbers, label=side, **_style(side))
        _ticks(axes, dimension, sorted({value for rows in series.values() for value, _ in rows}))
        if log:
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
        _legend(figure, axes)
        return figure

    return draw


def percentiles(run: Run) -> Figure | None:
    """Return the latencies of the base's closed loop, by percentile."""
    records = {record["side"]: record for record in run.base() if "latency_us" in record}
    return _ladders(records, "Latency percentiles, closed loop at the base") if records else None


def open_percentiles(run: Run) -> Figure | None:
    """Return the latencies of the fastest open loop that raycache kept."""
    kept = [rate for rate, record in run.series("rate").get(RAYCACHE, ()) if record["sustained"]]
    if not kept:
        return None
    rate = max(kept)
    records = {side: dict(rows)[rate] for side, rows in run.series("rate").items() if rate in dict(rows)}
    return _ladders(records, f"Latency percentiles, open loop at {rate:,} arrivals a second")


def open_p99(run: Run) -> Figure | None:
    """Return p99 against the rate of arrivals; a hollow mark is a rate that was not kept."""
    series = run.series("rate")
    if not series:
        return None
    figure, axes = _new("Open loop: p99 from the intended time", "arrivals/s", "p99, ms")
    for side, rows in series.items():
        p99 = [record["latency_us"]["p99"] / 1000 for _, record in rows]
        axes.plot([rate for rate, _ in rows], p99, label=side, **_style(side))
        lost = [(rate, wait) for (rate, record), wait in zip(rows, p99, strict=True) if not record["sustained"]]
        axes.plot([rate for rate, _ in lost], [wait for _, wait in lost], "o", markerfacecolor="white",
                  color=COLOURS.get(side, "#555555"), markersize=7, linestyle="none")
    _ticks(axes, "rate", sorted({rate for rows in series.values() for rate, _ in rows}))
    axes.set_yscale("log")
    _legend(figure, axes)
    return figure


def pauses(run: Run) -> Figure | None:
    """Return how many of 100,000 probes fell into which range of waits."""
    records = run.records("pauses")
    if not records:
        return None
    edges = records[0]["edges_ms"]
    figure, axes = _new("Probes of a server that is full and evicts", "wait, ms", "of 100,000 probes")
    width = 0.8 / len(records)
    for number, record in enumerate(records):
        heights = [100_000 * count / record["requests"] for count in record["counts"]]
        places = np.arange(len(edges)) + (number - (len(records) - 1) / 2) * width
        axes.bar(places, heights, width, label=record["side"], color=COLOURS.get(record["side"]))
    labels = [f"{low:g} to {high:g}" for low, high in itertools.pairwise(edges)] + [f"{edges[-1]:g} on"]
    axes.set_xticks(range(len(edges)), labels, rotation=30)
    axes.set_yscale("log")
    axes.set_ylim(bottom=50_000 / max(record["requests"] for record in records))  # half of a single probe
    _legend(figure, axes)
    return figure


def memory(run: Run) -> Figure | None:
    """Return bytes an entry beyond key and value, as resident memory grew."""
    records = run.records("memory")
    if not records:
        return None
    figure, axes = _new("Memory beyond key and value", "", "bytes an entry")
    names = [record["side"] + ("\nwith lifetimes" if record["value"] == "ttl" else "") for record in records]
    heights = [record["resident_overhead_bytes"] for record in records]
    axes.bar(names, heights, 0.6, color=[COLOURS.get(record["side"], "#555555") for record in records])
    for place, height in enumerate(heights):
        axes.annotate(f"{height:.0f}", (place, max(height, 0)), ha="center", va="bottom")
    return figure


def hits(run: Run) -> Figure | None:
    """Return hit ratios against size, a panel a trace."""
    names = traces(run)
    if not names:
        return None
    columns = min(2, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(WIDTH, 2.9 * rows + 0.6), layout="constrained")
    panels = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).ravel()
    for panel, name in zip(panels, names, strict=False):
        records = [record for record in run.records("hits") if record["trace"] == name]
        for policy in dict.fromkeys(record["side"] for record in records):
            found = sorted((record["value"], record["hit_ratio"]) for record in records if record["side"] == policy)
            style = {"color": COLOURS[OPTIMUM], "linestyle": ":"} if policy == OPTIMUM else {}
            panel.plot([100 * share for share, _ in found], [ratio for _, ratio in found], marker=".", label=policy,
                       linewidth=1.2, **style)
        panel.set(title=name, xscale="log", xlabel="entries, % of distinct keys", ylabel="hit ratio")
        panel.set_ylim(0, 1)
    for panel in panels[len(names) :]:
        panel.set_visible(False)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5)
    return figure


PLOTS: Final[Mapping[str, Draw]] = {
    "connections": along("connections", "Throughput against connections", "connections"),
    "percentiles": percentiles,
    "rates": open_p99,
    "open-percentiles": open_percentiles,
    "values": along("value_bytes", "Throughput against the size of values", "bytes a value", per_value=True),
    "entries": along("entries", "Throughput against entries", "entries", log=False),
    "shards": along("shards", "Throughput against shards", "shards", log=False),
    "copies": along("copies", "Throughput against copies, half of it writes", "copies", log=False),
    "pauses": pauses,
    "memory": memory,
    "hits": hits,
}


def write(run: Run, folder: Path) -> dict[str, Path]:
    """Draw everything that the run has into `folder`, and return the files by the plots' names."""
    written = {}
    with matplotlib.rc_context(SETTINGS):
        for name, draw in PLOTS.items():
            figure = draw(run)
            if figure is not None:
                folder.mkdir(parents=True, exist_ok=True)
                written[name] = folder / f"{name}.svg"
                figure.savefig(written[name], format="svg", metadata={"Date": None})
    return written


def _new(title: str, x_label: str, y_label: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    axes = figure.subplots()
    axes.set(title=title, xlabel=x_label, ylabel=y_label)
    return figure, axes


def _style(side: str) -> dict[str, Any]:
    is_tool = side.startswith(TOOL_PREFIX)
    return {"color": COLOURS.get(side.removeprefix(TOOL_PREFIX), "#555555"), "linestyle": "--" if is_tool else "-",
            "marker": "x" if is_tool else "o", "markersize": 4, "linewidth": 1.4}


def _ticks(axes: Axes, dimension: str, values: Sequence[float]) -> None:
    axes.set_xscale("log")
    axes.set_xticks(values, [size(value) if dimension == "value_bytes" else f"{value:,}" for value in values],
                    rotation=30 if max(values) >= 1_000 else 0)
    axes.minorticks_off()


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)


def _ladders(records: Mapping[str, Record], title: str) -> Figure:
    """Percentiles on an axis that gives each further nine the same room, as 1 / (1 - p) does."""
    figure, axes = _new(title, "percentile", "us")
    shown = ("p50", "p75", "p90", "p95", "p99", "p99.5", "p99.9", "p99.99")
    places = [1 / (1 - float(name[1:]) / 100) for name in shown]
    for side, record in records.items():
        axes.plot(places, [record["latency_us"][name] for name in shown], label=side, **_style(side))
    axes.set(xscale="log", yscale="log")
    axes.set_xticks(places, [name[1:] for name in shown], rotation=30)
    axes.minorticks_off()
    _legend(figure, axes)
    return figure
