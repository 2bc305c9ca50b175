"""The router's figures, and what hears of its events."""

from __future__ import annotations

from raycache.config import ClusterConfig
from raycache.router.core import RouterCore


def test_every_state_has_a_figure_and_events_are_counted_as_they_are_noted() -> None:
    core, heard = RouterCore(ClusterConfig(name="c", shards=3), 0.0), list[tuple[str, str]]()
    core.on_event = lambda kind, text: heard.append((kind, text))
    for number in range(300):
        core._state.note("lost", f"number {number}")
    found = {(one.family.name, one.labels): one.value for one in core.samples().all}
    assert found["raycache_cluster_events_total", ("lost",)] == 300
    assert heard[-1] == ("lost", "number 299")
    assert {("raycache_cluster_shards", (state,)) for state in ("up", "starting", "down")} <= found.keys()
