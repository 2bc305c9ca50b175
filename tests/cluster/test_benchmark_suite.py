"""The suite's sides that live in Ray: shards as actors, and the actor with a dict, loaded by processes outside."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.harness.rounds import Plan
from benchmarks.suite import sides, sweep
from benchmarks.suite.crew import Crew
from benchmarks.suite.names import ACTOR, RAYCACHE
from benchmarks.suite.points import QUICK_BASE, Task


def test_shards_and_the_actor_are_loaded_and_answer_right(ray_cluster: str) -> None:
    point = replace(QUICK_BASE, entries=500, connections=2, read_percent=50)
    wish = sides.Wish(memory_bytes=64 * sides.MIB)
    with sides.running((RAYCACHE, ACTOR), wish) as started, Crew(1) as crew:
        for side in started:
            assert len(side.pids) == 1
            crew.open(side.name, side.target)
        measured = sweep.Sweep(crew, started, Plan(quick=True), lambda text: None)
        measured.run([Task("keys", point)])
    assert {kept["side"] for kept in measured.records} == {RAYCACHE, ACTOR}
    for kept in measured.records:
        assert (kept["wrong"], kept["failed"]) == (0, 0), kept
        assert kept["requests"] > 10
