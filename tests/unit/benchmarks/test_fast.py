"""The fast benchmark without its servers: its command line, and the goals of each part."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.fast import __main__ as bench
from benchmarks.fast import memory, tool
from benchmarks.fast.amount import Amount
from benchmarks.harness import run as harness_run
from benchmarks.harness.load import Run
from benchmarks.harness.parts import Part
from benchmarks.harness.report import Figure, Goal, Outcome

FACTS = {"cpu": "C", "cores": 2, "memory": "1 kB", "kernel": "6", "python": "3", "versions": {"ray": "2"},
         "commit": "abc", "uncommitted_changes": False, "load_average": [0.0, 0.0, 0.0]}  # fmt: skip
GOALS = {"it is fast": Goal(">=", 1.0)}


@pytest.mark.parametrize(("arguments", "target"), [((), "bench-fast"), (("--quick",), "bench-fast-partial"),
                                                   (("--only", "part"), "bench-fast-partial")])
def test_a_trial_leaves_the_figures_of_a_whole_run_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: tuple[str, ...], target: str
) -> None:
    def run(amount: Amount, step: Callable[[str], None]) -> Outcome:
        return Outcome("part", [Figure("it is fast", GOALS["it is fast"], 1.5, "x")])

    part = Part("part", "about it", lambda _: 60.0, lambda _: 1, run, GOALS)
    only = next(option for option in bench.main.params if option.name == "only")
    monkeypatch.setattr(only.type, "choices", ("part",))
    monkeypatch.setattr(bench, "PARTS", {"part": part})
    monkeypatch.setattr(harness_run, "OUT", tmp_path)
    monkeypatch.setattr(harness_run.machine, "describe", lambda: FACTS)
    monkeypatch.setattr(harness_run.machine, "busy_cores", lambda: 0.1)
    monkeypatch.setattr(harness_run.signal, "signal", lambda number, handler: None)
    monkeypatch.setattr(bench, "check_programs", lambda: None)
    result = CliRunner().invoke(bench.main, arguments, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    figures = json.loads((tmp_path / f"{target}.json").read_text())
    assert [(one["figure"], one["met"]) for one in figures] == [("it is fast", True)]


def test_every_goal_of_the_tool_becomes_a_figure() -> None:
    for part, shapes in ((tool.TOOL, tool.ONE), (tool.SHARDS, tool.MANY)):
        outcome = Outcome("o")
        for shape in shapes:
            rounds = [{test: Run(test, rate, 0.1, 0.2, 0.3) for test in tool.TESTS} for rate in (90.0, 100.0, 110.0)]
            halves = [{test: Run(test, one[test].rps / 2, 0.1, 0.2, 0.3) for test in tool.TESTS} for one in rounds]
            tool._report(shape, {"raycache": halves, "redis": rounds}, outcome)
        assert {figure.figure: figure.goal for figure in outcome.figures} == part.goals
        assert {figure.value for figure in outcome.figures} == {0.5}


def test_memory_is_judged_beyond_key_and_value() -> None:
    outcome = Outcome("memory")
    for name in memory.SHAPES:
        memory._report(name, 316.0, 400.0, 200.0, outcome)
    assert {figure.figure: figure.goal for figure in outcome.figures} == memory.PART.goals
    assert {figure.value for figure in outcome.figures} == {1.0}
    stricter = [series.samples[0] for series in outcome.series if "both sides" in series.name]
    assert stricter == [200 / 84] * 2
