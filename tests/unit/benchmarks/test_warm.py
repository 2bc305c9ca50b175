"""The warming benchmark without a database: its command line, its judgement, its other clients."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.harness import run as harness_run
from benchmarks.harness.parts import Part
from benchmarks.harness.report import Figure, Outcome
from benchmarks.warm import __main__ as bench
from benchmarks.warm.amount import Amount
from benchmarks.warm.foreign import busy_s, own_s, watched
from benchmarks.warm.other_clients import RADIUS_KM, query_until, question
from benchmarks.warm.serving import GOALS, WITH, WITHOUT, Loader, Round, _judge
from raycache import WarmReport
from raycache.demo.database import AirportDatabase, Question, build

FACTS = {"cpu": "C", "cores": 2, "memory": "1 kB", "kernel": "6", "python": "3", "versions": {"ray": "2"},
         "commit": "abc", "uncommitted_changes": False, "load_average": [0.0, 0.0, 0.0]}  # fmt: skip


def record(number: int) -> dict[str, object]:
    return {"icao": f"A{number}", "iata": "", "name": "n", "city": "c", "subd": "s", "country": "X", "tz": "t",
            "elevation": 1.0, "lat": number / 10, "lon": 0.0}  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database of five airports on a line."""
    file = tmp_path / "airports.sqlite"
    build(file, [record(number) for number in range(5)])  # type: ignore[misc]
    return file


@pytest.mark.parametrize(("arguments", "target"), [((), "bench-warm"), (("--quick",), "bench-warm-partial"),
                                                   (("--rounds", "1"), "bench-warm-partial")])
def test_a_trial_leaves_the_figures_of_a_whole_run_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: tuple[str, ...], target: str
) -> None:
    def run(amount: Amount, step: Callable[[str], None]) -> Outcome:
        step("warming")
        return Outcome("serving", [Figure(WITH, GOALS[WITH], 0.5, "x"), Figure(WITHOUT, GOALS[WITHOUT], 3.0, "x")])

    monkeypatch.setattr(bench, "PARTS", (Part("serving", "about it", lambda _: 60.0, lambda _: 1, run, GOALS),))
    monkeypatch.setattr(harness_run, "OUT", tmp_path)
    monkeypatch.setattr(harness_run.machine, "describe", lambda: FACTS)
    monkeypatch.setattr(harness_run.machine, "busy_cores", lambda: 0.1)
    monkeypatch.setattr(harness_run.signal, "signal", lambda number, handler: None)
    result = CliRunner().invoke(bench.main, arguments, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert {path.name for path in tmp_path.iterdir()} == {f"{target}.json", f"{target}-raw.json"}
    figures = json.loads((tmp_path / f"{target}.json").read_text())
    assert [one["met"] for one in figures] == [True, True]


def test_both_sides_are_judged_by_the_same_bound() -> None:
    calm, rough = Round([5.0] * 99 + [8.0], WarmReport()), Round([5.0] * 90 + [40.0] * 10, WarmReport())
    outcome = Outcome("serving")
    _judge(outcome, {"with feedback": [calm, calm, rough], "without feedback": [rough, rough, calm]}, 10.0)
    kept, broken = outcome.figures
    assert (kept.figure, kept.value, kept.met) == (WITH, 0.8, True)
    assert (broken.figure, broken.value, broken.met) == (WITHOUT, 4.0, True)
    assert max(kept.rounds) == 4.0


def test_rounds_that_other_programs_disturbed_are_not_judged() -> None:
    calm, disturbed = Round([5.0] * 100, WarmReport(), 0.1), Round([500.0] * 100, WarmReport(), 1.2)
    outcome = Outcome("serving")
    _judge(outcome, {"with feedback": [calm, disturbed], "without feedback": [disturbed, disturbed, calm]}, 10.0)
    kept, unknown = outcome.figures
    assert (kept.value, kept.rounds) == (0.5, (0.5,))
    assert (unknown.value, unknown.met) == (None, False)
    shown = {series.name: list(series.samples) for series in outcome.series}
    assert shown["foreign cores, with feedback"] == [0.1, 1.2]


def test_our_own_work_is_not_foreign() -> None:
    busy, own = busy_s(), own_s(os.getpid())
    with watched() as foreign:
        end_s = time.process_time() + 0.3
        while time.process_time() < end_s:
            pass
    assert own_s(os.getpid()) - own >= 0.25
    assert busy_s() - busy >= 0.25
    assert 0 <= foreign.cores <= (os.cpu_count() or 1)


def test_a_trial_does_a_tenth() -> None:
    assert (Amount().keys, Amount().rounds) == (10_000, 3)
    assert (Amount(quick=True).keys, Amount(quick=True).rounds) == (1_000, 1)


def test_the_loader_answers_what_the_keys_stand_for(path: Path) -> None:
    loader, database = Loader(path), AirportDatabase(path)
    keys = [f"surroundings:{number}:{RADIUS_KM}" for number in range(5)]
    loaded = loader.load_many(keys)
    assert loaded == {key: database.answer(Question(number, RADIUS_KM)) for number, key in enumerate(keys)}
    database.close()
    loader.close()


def test_latencies_count_from_when_a_query_was_due(path: Path) -> None:
    stop, latencies_ms = threading.Event(), list[float]()

    class Slow(AirportDatabase):
        def answer(self, question: Question) -> dict[str, object]:
            if len(latencies_ms) == 20:
                stop.set()
            assert not threading.Event().wait(0.03)
            return super().answer(question)

    # 40 a second, each of which takes 30 ms: it falls behind, and every query's lateness counts.
    query_until(stop, Slow(path), 5, random.Random(1), latencies_ms)
    assert len(latencies_ms) == 21
    assert min(latencies_ms) >= 30
    assert latencies_ms[-1] > 60


def test_every_airport_is_asked_about() -> None:
    rng = random.Random(1)
    assert {question(rng, 5).airport for _ in range(200)} == set(range(5))
