"""The hits benchmark on a trace of its own: replaying, judging, both curves, the command line."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from benchmarks.harness import run as harness_run
from benchmarks.hits import __main__ as bench
from benchmarks.hits import auto, curve, policies
from benchmarks.hits.amount import Amount
from benchmarks.hits.traces import Reference, replay, requests_of

KEYS = 400


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One trace with sizes, and a reference in which the hits of LRU alone are right."""
    rng = random.Random(1)
    keys = [min(int(rng.paretovariate(0.8)), KEYS) for _ in range(6000)]
    with gzip.open(tmp_path / "own.txt.gz", "wt") as file:
        file.writelines(f"{key} {1 + key % 7}\n" for key in keys)
    held: dict[int, None] = {}
    lru = 0
    for key in keys:
        lru += key in held
        held.pop(key, None)
        held[key] = None
        if len(held) > KEYS // 10:
            del held[next(iter(held))]
    by_entries = {"fraction_of_unique": 0.1, "exact_hits": {"LRU": lru, "FIFO": 0}, "OPT_hits": lru + 900,
                  "near_hits": {policies.ARC: lru}}  # fmt: skip
    own = {"file": "own.txt.gz", "requests": len(keys), "entries": {str(KEYS // 10): by_entries}}
    (tmp_path / "reference.json").write_text(json.dumps({"traces": {"own": own}}))
    return tmp_path


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    def one_by_one(jobs: Iterable[Any], work: Callable[[Any], Any], step: Any, name: Callable[[Any], str]) -> list[Any]:
        jobs = list(jobs)
        for job in jobs:
            step(name(job))
        return [work(job) for job in jobs]

    for part in (policies, auto, curve):
        monkeypatch.setattr(part, "in_processes", one_by_one)


def figures(outcome: Any) -> dict[str, float]:
    return {figure.figure: figure.value for figure in outcome.figures}


def test_a_policy_that_differs_is_counted(folder: Path) -> None:
    outcome = policies.run(Amount(traces=folder), lambda text: None)
    found = figures(outcome)
    assert found[policies.DIFFER] == 1  # FIFO: the reference here is wrong
    assert found[policies.ARC_OFF] >= 0
    assert found[policies.TINYLFU] == pytest.approx(outcome.series[-1].samples[0])
    assert {figure.figure for figure in outcome.figures} == set(policies.GOALS)


def test_the_gap_that_auto_closes(folder: Path) -> None:
    (point,) = Reference.load(folder).of("entries")
    outcome = auto.run(Amount(traces=folder), lambda text: None)
    gain = replay(point, "auto", auto.SLOW).hits - point.lru
    assert abs(figures(outcome)[auto.CLOSED] - gain / 900) < 0.1  # which keys are tried is chance
    assert abs(figures(outcome)[auto.WORST] + 100 * gain / 6000) < 2
    assert len(outcome.facts["replays"]) == 2


def test_the_exact_curve_is_that_of_lru_and_the_sampled_one_is_close(folder: Path) -> None:
    (point,) = Reference.load(folder).points
    requests = requests_of(folder / "own.txt.gz")
    assert curve.exact(requests, True, [point.capacity]) == [pytest.approx(1 - point.lru / 6000)]
    assert curve.exact(requests, False, [1e9]) == [pytest.approx(len(set(requests)) / 6000)]
    outcome = curve.run(Amount(traces=folder), lambda text: None)
    assert 0 < figures(outcome)[curve.ERROR] <= 0.01


def test_the_command_line(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness_run, "OUT", tmp_path / "out")
    monkeypatch.setattr(harness_run.machine, "busy_cores", lambda: 0.1)
    monkeypatch.setattr(harness_run.signal, "signal", lambda number, handler: None)
    missing = CliRunner().invoke(bench.main, ["--traces", str(tmp_path / "none")])
    assert (missing.exit_code, "no traces in" in missing.output) == (1, True)
    done = CliRunner().invoke(bench.main, ["--traces", str(folder), "--only", "policies"])
    assert done.exit_code == 0, done.output
    written = json.loads((tmp_path / "out" / "bench-hits-partial.json").read_text())
    assert [figure["figure"] for figure in written] == list(policies.GOALS)
