"""`advise`: what more memory would give a cluster, or less; and `policy`: changing what a full shard drops.

What lives here: the commands, the table and both plots. What does not: the curve (`raycache.client.curve`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table

from raycache.cli import output
from raycache.cli.backend import Backend
from raycache.client.curve import ClusterCurve
from raycache.client.stats import ShardStats
from raycache.config import POLICIES, format_bytes
from raycache.curves.points import FACTORS
from raycache.errors import RayCacheError

ASKED: Final = (0.5, 1.0, 2.0, 4.0)
_FEW: Final = 200
"""Keys of one shard; with 1,024 the mean error was 0.013 on a skewed load, and it grows as the sample shrinks."""
_ROWS: Final = 12
_COLUMN: Final = 2
"""Characters for each point of the plot."""


@click.command()
@click.argument("name")
@click.option("--plot", "plot_path", type=click.Path(path_type=Path, dir_okay=False),
              help="Write the curve to this file, too (.png, .svg, .pdf). Needs matplotlib.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.pass_obj
def advise(backend: Backend, name: str, plot_path: Path | None, as_json: bool) -> None:
    """Show what hit ratio 0.5, 2 and 4 times the memory would give the cluster NAME.

    The curve is that of an LRU cache, from a sample of the keys that were looked up lately (half of it from the last
    half hour). "measured" is what the cluster's own policy has had since its start.

    \b
    Examples:
      raycache advise features
      raycache advise features --plot curve.png
      raycache advise features --json
    """
    backend.attach(start=False)
    with backend.connect(name) as cache:
        curve = cache.miss_ratio_curve()
    if plot_path is not None:
        draw(curve, plot_path)
    if as_json:
        output.print_json(record(curve))
        return
    click.echo(text(curve))
    if plot_path is not None:
        output.note(f"the curve is in {plot_path}")


@click.command()
@click.argument("name")
@click.argument("policy", type=click.Choice(POLICIES), required=False)
@click.pass_obj
def policy(backend: Backend, name: str, policy: str | None) -> None:
    """Let the shards of NAME serve under another POLICY, now and without a pause; or show under which they serve.

    It holds for the shards that run. One that is created later, or restarted, has the policy that the cluster was
    started with.

    \b
    Examples:
      raycache policy features
      raycache policy features s3-fifo
      raycache policy features auto
    """
    backend.attach(start=False)
    with backend.connect(name) as cache:
        if policy is None:
            for shard in cache.stats().shards:
                click.echo(f"{shard.shard_id}: {shard.policy}{_choice(shard)}")
            return
        shards = cache.set_policy(policy)
    click.echo(f"{name}: {len(shards)} {'shard serves' if len(shards) == 1 else 'shards serve'} under {policy}")


def _choice(shard: ShardStats) -> str:
    """Return what "auto" has chosen, and why."""
    if not shard.policy_reason:
        return ""
    return f", changed {shard.policy_changes} times, serves under {shard.policy_reason}"


def record(curve: ClusterCurve) -> dict[str, Any]:
    """Return everything as JSON types."""
    return {
        "name": curve.cluster, "memory_bytes": curve.capacity_bytes, "measured": curve.measured,
        "lookups": curve.lookups, "sampled_keys": sum(shard.sampled_keys for shard in curve.shards),
        "unreachable": list(curve.unreachable),
        "points": [{"factor": factor, "hit_ratio": curve.hit_ratio(factor)} for factor in FACTORS],
        "advice": {f"{factor:g}x": curve.hit_ratio(factor) for factor in ASKED},
    }  # fmt: skip


def text(curve: ClusterCurve) -> str:
    """Return the table and the plot."""
    missing = f"; no answer from {', '.join(curve.unreachable)}" if curve.unreachable else ""
    head = f"{curve.cluster}: {format_bytes(curve.capacity_bytes)} for entries{missing}"
    if not curve.lookups:
        return f"{head}\nnothing has been looked up yet: there is no curve"
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("memory", "", "hit ratio", "misses against now"):
        table.add_column(column, justify="right", no_wrap=True)
    now = 1 - curve.hit_ratio(1.0)
    for factor in ASKED:
        ratio = curve.hit_ratio(factor)
        change = f"{((1 - ratio) / now - 1):+.0%}" if now and factor != 1 else ""
        table.add_row(format_bytes(int(curve.capacity_bytes * factor)), f"{factor:g}x", f"{ratio:.1%}", change)
    console = Console(width=100, no_color=True)
    with console.capture() as captured:
        console.print(table)
    measured = f"measured: {curve.measured:.1%}, under {', '.join(sorted({one.policy for one in curve.shards}))}"
    return f"{head}\n\n{captured.get().rstrip()}\n{measured}\n{sample(curve)}\n\n{plotted(curve)}"


def sample(curve: ClusterCurve) -> str:
    """Return what the curve was made from."""
    keys = sum(shard.sampled_keys for shard in curve.shards)
    rate = min(shard.rate for shard in curve.shards)
    doubt = ": too few to rely on" if rate < 1 and keys < _FEW * len(curve.shards) else ""
    return f"from {keys:,} keys, {100 * rate:.3g}% of all{doubt}"


def plotted(curve: ClusterCurve) -> str:
    """Return the curve drawn with characters: hit ratio upwards, memory on a scale of doublings."""
    ratios = [curve.hit_ratio(factor) for factor in FACTORS]
    lines = []
    for row in range(_ROWS, -1, -1):
        label = f"{row / _ROWS:4.0%}" if row % 3 == 0 else "    "
        marks = "".join(("*" if round(ratio * _ROWS) == row else " ").ljust(_COLUMN) for ratio in ratios)
        lines.append(f"{label} |{marks.rstrip()}")
    axis = "".join(("+" if place % 8 == 0 else "-").ljust(_COLUMN, "-") for place in range(len(FACTORS)))
    names = "".join(f"{FACTORS[place]:g}x".ljust(8 * _COLUMN) for place in range(0, len(FACTORS), 8))
    return "\n".join([*lines, f"     +{axis}", f"      {names.rstrip()}"])


def draw(curve: ClusterCurve, path: Path) -> None:
    """Write the curve to a file.

    Raises:
        RayCacheError: matplotlib is not installed, or cannot write such a file.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise RayCacheError("--plot needs matplotlib: pip install 'raycache[plots]'") from None
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.plot(FACTORS, [curve.hit_ratio(factor) for factor in FACTORS], marker=".")
    axes.axvline(1.0, linestyle=":", color="gray")
    axes.set_xscale("log", base=2)
    axes.set(xlabel=f"times the memory ({format_bytes(curve.capacity_bytes)})", ylabel="hit ratio, LRU",
             title=curve.cluster, ylim=(0, 1))  # fmt: skip
    axes.grid(alpha=0.3)
    try:
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise RayCacheError(f"the plot cannot be written: {error}") from error


COMMANDS = (advise, policy)
