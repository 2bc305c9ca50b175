"""Markdown tables from a run. What lives here: one function for each table, "" where there is nothing to show. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from benchmarks.harness.report import readable
from benchmarks.harness.stats import median
from benchmarks.report.reading import Record, Run, ratios
from benchmarks.suite.names import OPTIMUM, RAYCACHE, TOOL_PREFIX

NOTHING: Final = "–"
Cell = Callable[[Record], str]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table whose first column is text and whose others are numbers; "" without rows."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    if not lines:
        return ""
    ruler = "|".join(["---", *["---:"] * (len(head) - 1)])
    return "\n".join([f"| {' | '.join(head)} |", f"|{ruler}|", *lines]) + "\n"


def size(number_of_bytes: float) -> str:
    """Return bytes as people write them: 16 B, 64 KiB, 4 MiB."""
    for unit in ("B", "KiB", "MiB"):
        if number_of_bytes < 1024:
            return f"{number_of_bytes:.4g} {unit}"
        number_of_bytes /= 1024
    return f"{number_of_bytes:.4g} GiB"


def value_text(dimension: str, value: Any) -> str:
    """Return a dimension's value for the head of a column."""
    if dimension == "value_bytes":
        return size(value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def spread(values: Sequence[float]) -> str:
    """Return the median and, behind it, the lowest and the highest."""
    if not values:
        return NOTHING
    return f"{readable(median(values))} ({readable(min(values))} to {readable(max(values))})"


def figures(run: Run) -> str:
    """Return everything that had a goal; nothing of a quick run, which is not for figures."""
    if run.raw["plan"]["quick"]:
        return ""

    def row(figure: Any) -> tuple[str, ...]:
        value = figure["value"]
        measured = "not measurable" if value is None else f"{readable(value)} {figure['unit']}"
        rounds = figure.get("rounds") or ()
        low_high = f"{readable(min(rounds))} to {readable(max(rounds))}" if rounds else NOTHING
        return (figure["figure"], f"{figure['goal']} {figure['unit']}", measured, low_high,
                "met" if figure["met"] else "not met")

    return table(("figure", "goal", "measured", "rounds", "met"), map(row, run.figures()))


def base(run: Run) -> str:
    """Return all sides at the base, with our throughput over each one's, taken round by round."""
    records = [record for record in run.base() if not record["side"].startswith(TOOL_PREFIX)]
    ours = next((record for record in records if record["side"] == RAYCACHE), None)
    rows = []
    for record in records:
        latency = record["latency_us"]
        over = NOTHING if ours is None or record is ours else spread(ratios(ours["rps_rounds"], record["rps_rounds"]))
        rows.append((record["side"], spread(record["rps_rounds"]), *(readable(latency[name])
                     for name in ("p50", "p99", "p99.9")), over))
    return table(("side", "requests/s", "p50, us", "p99, us", "p99.9, us", "raycache over it"), rows)


def tool(run: Run) -> str:
    """Return what redis-benchmark says of those that speak its protocol, at the base."""
    records = [record for record in run.base() if record["side"].startswith(TOOL_PREFIX)]
    rows = [(record["side"].removeprefix(TOOL_PREFIX), spread(record["rps_rounds"]),
             readable(median(record["p99_us_rounds"])), spread(record["set_rps_rounds"]),
             readable(median(record["set_p99_us_rounds"]))) for record in records]
    return table(("side", "GET/s", "p99, us", "SET/s", "p99, us"), rows)


def along(run: Run, dimension: str, cell: Cell, *, tools: bool = False) -> str:
    """Return a table of one dimension: a row a side, a column a value."""
    series = run.series(dimension)
    values = sorted({value for rows in series.values() for value, _ in rows})
    rows = []
    for side, found in series.items():
        if side.startswith(TOOL_PREFIX) == tools:
            by_value = dict(found)
            rows.append((side.removeprefix(TOOL_PREFIX), *(cell(by_value[value]) if value in by_value else NOTHING
                                                      for value in values)))
    return table(("side", *(value_text(dimension, value) for value in values)), rows)


def rps(record: Record) -> str:
    """Return a record's requests a second."""
    return readable(record["rps"])


def set_rps(record: Record) -> str:
    """Return the SETs a second that redis-benchmark saw."""
    return readable(record["set_rps"])


def megabytes(record: Record) -> str:
    """Return how many megabytes of values a second passed, in both directions together."""
    return readable(record["rps"] * record["point"]["value_bytes"] / 1e6)


def open_latency(record: Record) -> str:
    """Return median and p99 of an open loop in milliseconds, and whether the rate was kept."""
    latency = record["latency_us"]
    text = f"{readable(latency['p50'] / 1000)} / {readable(latency['p99'] / 1000)}"
    return text if record["sustained"] else f"{text}, not kept ({readable(record['rps'])}/s)"


def hidden(run: Run) -> str:
    """Return the p99 of open loops counted from the intended time and from the sending, beside each other."""
    rows = []
    for side, found in run.series("rate").items():
        for rate, record in found:
            waits, services = record["latency_us"]["p99"], record.get("service_us", {}).get("p99")
            if services is not None:
                rows.append((f"{side}, {rate:,}/s", readable(waits / 1000), readable(services / 1000)))
    return table(("side and rate", "p99 from the intended time, ms", "p99 from the sending, ms"), rows)


def pauses(run: Run) -> str:
    """Return how many of 100,000 probes waited how long while the side evicted."""
    records = run.records("pauses")
    if not records:
        return ""
    limits = [edge for edge in records[0]["edges_ms"] if edge >= 1]
    rows = [(record["side"], *(readable(100_000 * longer_than(record, limit) / record["requests"])
                               for limit in limits), readable(record["latency_us"]["p100"] / 1000),
             readable(record["writes"]["rps"])) for record in records]
    heads = [f">= {limit:g} ms" for limit in limits]
    return table(("side", *heads, "longest, ms", "writes/s meanwhile"), rows)


def longer_than(record: Record, limit_ms: float) -> int:
    """Return how many probes waited at least `limit_ms`, which is one of the record's edges."""
    first = record["edges_ms"].index(limit_ms)
    return int(sum(record["counts"][first:]))


def memory(run: Run) -> str:
    """Return bytes an entry beyond key and value."""
    def number(value: float | None) -> str:
        return NOTHING if value is None else readable(value)

    rows = [(record["side"] + (", with lifetimes" if record["value"] == "ttl" else ""),
             number(record["resident_overhead_bytes"]), number(record["said_overhead_bytes"]))
            for record in run.records("memory")]
    return table(("side", "resident memory, bytes an entry", "the server's own account"), rows)


def hits(run: Run, trace: str) -> str:
    """Return the hit ratios of one trace: a row a policy, a column a size; the best policy of each size is bold."""
    records = [record for record in run.records("hits") if record["trace"] == trace]
    shares = sorted({record["value"] for record in records})
    best = {share: max((record["hit_ratio"] for record in records
                        if record["value"] == share and record["side"] != OPTIMUM), default=0.0) for share in shares}
    rows = []
    for policy in dict.fromkeys(record["side"] for record in records):
        found = {record["value"]: record["hit_ratio"] for record in records if record["side"] == policy}
        cells = [f"{found[share]:.3f}" if share in found else NOTHING for share in shares]
        rows.append((policy, *(f"**{cell}**" if policy != OPTIMUM and found.get(share) == best[share] else cell
                               for share, cell in zip(shares, cells, strict=True))))
    return table(("policy", *(f"{100 * share:g} %" for share in shares)), rows)


def traces(run: Run) -> list[str]:
    """Return the traces that were replayed."""
    return list(dict.fromkeys(record["trace"] for record in run.records("hits")))


def all_hits(run: Run) -> str:
    """Return a table for each trace, with a line above that says what it is."""
    return "\n".join(f"{_about(run, name)}\n\n{hits(run, name)}" for name in traces(run))


def _about(run: Run, name: str) -> str:
    facts = run.facts("hits")[name]
    kind = "drawn by Zipf's law" if name == "zipf" else "recorded"
    return f"`{name}`, {kind}: {facts['requests']:,} requests for {facts['distinct']:,} distinct keys."
