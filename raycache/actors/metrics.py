"""Figures for Ray's own metrics agent, which every Ray node has: `ray.util.metrics`, a step at a time.

What lives here: turning samples into Ray's counters and gauges, and the loop that does it. What does not: which figures
there are (`raycache.metrics.families`).

Ray adds `ray_` to each name. It has no way to hand over a histogram that was counted elsewhere, so its parts are
counters of their own: `..._bucket` with the label `le`, `..._sum` and `..._count`, to which Ray adds `_total`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from ray.util.metrics import Counter, Gauge

from raycache.metrics.families import COUNTER, Sample, Samples
from raycache.metrics.histogram import Histogram
from raycache.metrics.text import number

log = logging.getLogger(__name__)

PUSH_S: Final = 5.0
"""Ray's agent collects every 10 s, and calls a gauge stale that was not set for 20 s."""
BATCH: Final = 100
"""Figures handed over in one turn of the loop: each costs some 2 us."""


class RayExporter:
    """What was handed to Ray so far, so that counters get what has come since.

    Args:
        make_counter, make_gauge: called with name, text and labels; Ray's.
    """

    def __init__(self, make_counter: Callable[..., Any] = Counter, make_gauge: Callable[..., Any] = Gauge) -> None:
        self._make = {True: make_counter, False: make_gauge}
        self._metrics: dict[str, Any] = {}
        self._told: dict[tuple[str, tuple[str, ...]], float] = {}

    def step(self, cluster: str, samples: Samples) -> Iterator[None]:
        """Hand over the samples of a cluster; yields after each `BATCH`, so that others can have their turns."""
        for done, (sample, name, is_counter, labels, value) in enumerate(_each(cluster, samples), 1):
            self._tell(sample, name, is_counter, labels, value)
            if done % BATCH == 0:
                yield

    def _tell(self, sample: Sample, name: str, is_counter: bool, labels: Mapping[str, str], value: float) -> None:
        key = name, tuple(labels.values())
        before = self._told.get(key)
        self._told[key] = value
        metric = self._metrics.get(name)
        if metric is None:
            metric = self._metrics[name] = self._make[is_counter](name, sample.family.help, tuple(labels))
        if not is_counter:
            metric.set(value, dict(labels))
            return
        more = value - (before or 0.0)
        if more < 0:  # it was reset
            more = value
        if more > 0:
            metric.inc(more, dict(labels))


def _each(cluster: str, samples: Samples) -> Iterator[tuple[Sample, str, bool, dict[str, str], float]]:
    """Return each figure that Ray gets, with its name there, whether it only grows, its labels and its value."""
    for sample in samples.all:
        family, value = sample.family, sample.value
        labels = {"cluster": cluster, **dict(zip(family.labels, sample.labels, strict=True))}
        if isinstance(value, Histogram):
            for bound_s, count in value.cumulated():
                yield sample, f"{family.name}_bucket", True, {**labels, "le": number(bound_s)}, count
            yield sample, f"{family.name}_sum", True, labels, value.sum_s
            yield sample, f"{family.name}_count", True, labels, value.count
        else:
            yield sample, family.name, family.kind == COUNTER, labels, value


async def push_forever(cluster: str, collect: Callable[[], Samples]) -> None:
    """Hand a cluster's figures to Ray's agent every `PUSH_S`. Nothing that goes wrong here is worth the process."""
    await push_all_forever(lambda: {cluster: collect()})


async def push_all_forever(collect: Callable[[], Mapping[str, Samples]]) -> None:
    """Do as `push_forever` does, for a process with figures of several clusters."""
    exporter = RayExporter()
    while True:
        try:
            for cluster, samples in collect().items():
                for _ in exporter.step(cluster, samples):
                    await asyncio.sleep(0)
        except Exception:
            log.exception("figures could not be handed to Ray's metrics agent")
        await asyncio.sleep(PUSH_S)
