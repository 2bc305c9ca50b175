"""What Ray's counters and gauges are told: counters what has come since, gauges what is."""

from __future__ import annotations

from typing import Any

from raycache.actors.metrics import BATCH, RayExporter
from raycache.metrics.families import Samples
from raycache.metrics.histogram import Histogram


class Told:
    """Stands for a metric of Ray's, and keeps what it was told."""

    def __init__(self, name: str, text: str, tag_keys: tuple[str, ...]) -> None:
        self.name, self.text, self.tag_keys = name, text, tag_keys
        self.values: dict[tuple[str, ...], float] = {}
        MADE[name] = self

    def inc(self, value: float, tags: dict[str, str]) -> None:
        assert value > 0
        assert tuple(tags) == self.tag_keys
        self.values[tuple(tags.values())] = self.values.get(tuple(tags.values()), 0) + value

    def set(self, value: float, tags: dict[str, str]) -> None:
        self.values[tuple(tags.values())] = value


MADE: dict[str, Told] = {}


def pushed(exporter: RayExporter, *samples: tuple[Any, ...]) -> int:
    """Hand samples over; return in how many turns."""
    given = Samples()
    for name, value, *labels in samples:
        given.add(name, value, *labels)
    return sum(1 for _ in exporter.step("c", given))


def test_counters_get_what_has_come_since_and_start_again_after_a_reset() -> None:
    exporter = RayExporter(Told, Told)
    for value in (5, 5, 9, 2, 3):
        pushed(exporter, ("raycache_lookups_total", value, "s0", "hit"), ("raycache_entries", value, "s0"))
    assert MADE["raycache_lookups_total"].values == {("c", "s0", "hit"): 9 + 3}
    assert MADE["raycache_entries"].values == {("c", "s0"): 3}
    assert MADE["raycache_entries"].tag_keys == ("cluster", "shard")


def test_a_histogram_comes_in_its_parts() -> None:
    exporter, histogram = RayExporter(Told, Told), Histogram()
    for number in range(3):
        histogram.observe(0.0003, 2)
        pushed(exporter, ("raycache_command_duration_seconds", histogram, "shard", "s0", "read"))
        buckets = MADE["raycache_command_duration_seconds_bucket"].values
        assert buckets["c", "shard", "s0", "read", "0.0005"] == 2 * (number + 1)
        assert buckets["c", "shard", "s0", "read", "+Inf"] == 2 * (number + 1)
        assert ("c", "shard", "s0", "read", "0.0002") not in buckets
    assert MADE["raycache_command_duration_seconds_count"].values == {("c", "shard", "s0", "read"): 6}
    assert abs(MADE["raycache_command_duration_seconds_sum"].values["c", "shard", "s0", "read"] - 0.0018) < 1e-9


def test_others_have_turns_meanwhile() -> None:
    many = [("raycache_entries", number, f"s{number}") for number in range(5 * BATCH)]
    assert pushed(RayExporter(Told, Told), *many) == 5
