"""The failover and rescale runs without anything to fail: command lines, parts, judging."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.failover import __main__ as failover
from benchmarks.failover import redis_cluster
from benchmarks.failover.amount import Amount
from benchmarks.failover.kills import quorum_figures
from benchmarks.failover.strike import Strike, errors_of, series_of
from benchmarks.harness import run as harness_run
from benchmarks.harness.parts import Part
from benchmarks.harness.report import Figure, Goal, Outcome
from benchmarks.harness.servers import ServerFailedError
from benchmarks.harness.watch import Sighting, has_given_up, held_since, is_whole
from benchmarks.rescale import __main__ as rescale
from benchmarks.traffic.crew import Verdict
from benchmarks.traffic.findings import Counts
from raycache.ring.slots import SLOT_COUNT, bitmap_of
from raycache.ring.topology import ShardInfo, Topology, Transfer

FACTS = {"cpu": "C", "cores": 2, "memory": "1 kB", "kernel": "6", "python": "3", "versions": {"ray": "2"},
         "commit": "abc", "uncommitted_changes": False, "load_average": [0.0, 0.0, 0.0]}
GOAL = Goal("<=", 0)


def part(name: str, error: Exception | None = None) -> Part[Amount]:
    def run(amount: Amount, step: Callable[[str], None]) -> Outcome:
        step("kill 1 of 1")
        if error is not None:
            raise error
        return Outcome(name, [Figure(f"{name}: lost", GOAL, 0.0, "writes")])

    return Part(name, "about it", lambda amount: 90.0, lambda amount: 1, run, {f"{name}: lost": GOAL})


@pytest.fixture(autouse=True)
def _fake_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(failover, "PARTS", {"kill": part("kill"), "gcs": part("gcs", ServerFailedError("no [luck]"))})
    monkeypatch.setattr(failover, "check_programs", lambda: None)
    monkeypatch.setattr(harness_run, "OUT", tmp_path)
    monkeypatch.setattr(harness_run.machine, "describe", lambda: FACTS)
    monkeypatch.setattr(harness_run.machine, "busy_cores", lambda: 0.1)
    monkeypatch.setattr(harness_run.signal, "signal", lambda number, handler: None)


def invoke(*arguments: str) -> str:
    result = CliRunner().invoke(failover.main, arguments, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result.output


def test_the_time_it_takes_is_said_first() -> None:
    output = invoke()
    assert "kill             about  1.5 min  about it" in output
    assert output.index("together         about  3.0 min") < output.index("kill: kill 1 of 1")


def test_a_part_that_fails_leaves_its_figures_unmet_and_the_rest_goes_on(tmp_path: Path) -> None:
    output = invoke()
    assert "gcs: no [luck]" in output
    figures = {one["figure"]: one for one in json.loads((tmp_path / "bench-failover.json").read_text())}
    assert figures["kill: lost"]["met"] is True
    assert figures["gcs: lost"] == {"figure": "gcs: lost", "goal": "<= 0", "value": None, "unit": "", "met": False}


@pytest.mark.parametrize("arguments", [("--only", "kill"), ("--quick",)])
def test_a_partial_run_leaves_the_figures_of_a_whole_one_alone(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    (tmp_path / "bench-failover.json").write_text("kept")
    invoke(*arguments)
    assert (tmp_path / "bench-failover.json").read_text() == "kept"
    assert (tmp_path / "bench-failover-partial.json").exists()


def test_every_part_promises_what_it_is_judged_by() -> None:
    parts = [*failover.kills.PARTS, *failover.machines.PARTS, *failover.control_plane.PARTS, *rescale.PARTS.values()]
    names = [name for one in parts for name in one.goals]
    assert len(names) == len(set(names))
    for one in parts:
        amount = rescale.Amount() if one.name in rescale.PARTS else Amount()
        assert one.estimate_s(amount) > 10  # type: ignore[arg-type]
        assert one.steps(amount) >= 2  # type: ignore[arg-type]
        assert one.goals


def test_a_quick_run_is_short() -> None:
    assert (Amount(quick=True).kills, Amount(quick=True).seconds(90.0)) == (2, 10.0)
    assert (Amount().kills, Amount().seconds(90.0)) == (10, 90.0)


def struck(counts: Counts, lost: int) -> Strike:
    return Strike(0.1, 0.05, 2.0, counts, Verdict(lost, lost, 100), 3, {"E: x": 2})


def test_quorum_counts_errors_losses_and_old_answers_of_all_blows() -> None:
    strikes = [struck(Counts(10, 10, 1, 2, 3, 4), 5), struck(Counts(10, 10, 0, 0, 0, 0), 0)]
    failed, lost, old = quorum_figures(strikes, "f", "l", "o")
    assert (failed.value, lost.value, old.value) == (3.0, 5.0, 7.0)
    assert failed.rounds == (3.0, 0.0)
    assert not failed.met
    assert errors_of(strikes) == {"E: x": 4}
    assert {one.name: list(one.samples) for one in series_of(strikes)}["writes blocked, raycache"] == [100.0, 100.0]


def test_the_slots_of_a_redis_primary() -> None:
    assert redis_cluster._slots(["0-2", "7", "[93->-abc]"]).tolist() == [0, 1, 2, 7]


SHARDS = tuple(ShardInfo(f"s{n}", "h", 1 + n, "n", f"m{n}", "", "up", 1, 1) for n in range(2))


def topology(shards: tuple[ShardInfo, ...] = SHARDS, split: int = SLOT_COUNT // 2, copies: int = 2,
             transfers: tuple[Transfer, ...] = ()) -> Topology:
    owners = np.full((SLOT_COUNT, copies), -1)
    owners[:split, :2], owners[split:, :2] = (0, 1), (1, 0)
    return Topology("c", 1, shards, owners, transfers=transfers)


def test_a_cluster_is_whole_when_nothing_is_missing_moving_or_uneven() -> None:
    assert is_whole(topology(), 2)
    assert not is_whole(topology(), 3)
    assert not is_whole(topology(copies=3), 2)
    assert not is_whole(topology(split=SLOT_COUNT // 4), 2)
    assert not is_whole(topology(transfers=(Transfer("t", "s0", "s1", bitmap_of([1])),)), 2)
    down = ShardInfo("s0", "h", 1, "n", "m0", "", "down", 1, 1)
    assert not is_whole(topology((down, SHARDS[1])), 2)


def test_a_shard_has_been_given_up_when_it_leads_nothing_or_is_not_what_it_was() -> None:
    lost = SHARDS[0]
    assert not has_given_up(topology(), lost)
    assert has_given_up(topology(split=0), lost)
    assert has_given_up(topology((ShardInfo("s0", "h", 1, "n", "m0", "", "down", 1, 1), SHARDS[1])), lost)
    assert has_given_up(topology((ShardInfo("s0", "h", 9, "n", "m0", "", "up", 1, 2), SHARDS[1])), lost)
    assert has_given_up(Topology("c", 1, (SHARDS[1],), np.zeros((SLOT_COUNT, 1))), lost)


def test_what_held_at_a_moment_counts_and_what_came_before_it_does_not() -> None:
    old, new, newest = Sighting(1.0, topology()), Sighting(2.0, topology(split=0)), Sighting(5.0, topology())
    assert held_since([old, new, newest], 3.0) == [Sighting(3.0, new.topology), newest]
    assert held_since([old, new], 2.0) == [new]
    assert held_since([new], 1.0) == [new]
    assert held_since([], 1.0) == []
