"""INFO's sections on commands: commandstats, latencystats, errorstats.

What lives here: Redis' fields of these sections. What does not: counting (`raycache.shard.meter`).

Calls and errors are exact. `usec` is the mean of the calls that were measured, times all of them; percentiles are of
the measured ones, each counted for those it stands for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from raycache.shard.commands.introspection import known

if TYPE_CHECKING:
    from raycache.shard.meter import Meter

PERCENTILES: Final = (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999))
"""Redis' `latency-tracking-info-percentiles`."""


def commandstats(meter: Meter, calls: Sequence[int]) -> Mapping[str, Any]:
    """Return a field for each command that was called, in the order of the table."""
    fields = {}
    for command in known():
        number = command.number
        if not (calls[number] or meter.rejected[number] or meter.failed[number]):
            continue
        spent = meter.spent.get(number)
        usec_per_call = spent.mean_s * 1e6 if spent is not None else 0.0
        ran = calls[number] - meter.rejected[number]  # Redis counts those apart that did not run
        fields[f"cmdstat_{command.full_name}"] = (
            f"calls={ran},usec={round(ran * usec_per_call)},usec_per_call={usec_per_call:.2f},"
            f"rejected_calls={meter.rejected[number]},failed_calls={meter.failed[number]}")
    return fields


def latencystats(meter: Meter) -> Mapping[str, Any]:
    """Return percentiles in microseconds of each command that was measured."""
    fields = {}
    for command in known():
        if (spent := meter.spent.get(command.number)) is not None and spent.count:
            shown = ",".join(f"{name}={spent.quantile_s(share) * 1e6:.3f}" for name, share in PERCENTILES)
            fields[f"latency_percentiles_usec_{command.full_name}"] = shown
    return fields


def errorstats(meter: Meter) -> Mapping[str, Any]:
    """Return how many error replies began with each word."""
    return {f"errorstat_{word}": f"count={count}" for word, count in sorted(meter.errors.items())}
