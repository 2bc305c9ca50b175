"""The command line: what it refuses, what it prints last, which files it writes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result

from benchmarks import bench
from benchmarks.harness import run as harness_run
from benchmarks.harness.report import Figure, Goal, Outcome, Series
from benchmarks.harness.rounds import Plan
from benchmarks.harness.servers import MissingProgramError, ServerFailedError

FACTS = {"cpu": "C", "cores": 2, "memory": "1 kB", "kernel": "6", "python": "3", "versions": {"ray": "2"}}
FACTS |= {"commit": "abc", "uncommitted_changes": False, "load_average": [0.0, 0.0, 0.0]}


def question(name: str) -> SimpleNamespace:
    def run(plan: Plan, step: Callable[[str], None]) -> Outcome:
        step(f"round 1 of {plan.rounds}")
        return Outcome(
            name, [Figure(f"{name} p50", Goal("<=", 1.0), 0.5, "x", (0.4, 0.5))], [Series("ours", "us", [1.0])]
        )

    return SimpleNamespace(NAME=name, steps=lambda plan: 1, run=run)


@pytest.fixture(autouse=True)
def _fake_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    @contextmanager
    def no_ray() -> Iterator[None]:
        yield

    # The names stay those of the command line; what they ask is replaced.
    questions = {name: {each: question(each) for each in asked} for name, asked in bench.GROUPS.items()}
    monkeypatch.setattr(bench, "GROUPS", questions)
    monkeypatch.setattr(bench, "running_ray", no_ray)
    monkeypatch.setattr(bench, "check_programs", lambda: None)
    monkeypatch.setattr(harness_run, "OUT", tmp_path)
    monkeypatch.setattr(harness_run.machine, "describe", lambda: FACTS)
    monkeypatch.setattr(harness_run.machine, "busy_cores", lambda: 0.1)
    monkeypatch.setattr(harness_run.signal, "signal", lambda number, handler: None)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(bench.main, arguments, env={"COLUMNS": "200"})


def test_a_whole_run_asks_everything_and_writes_both_files(tmp_path: Path) -> None:
    result = run()
    assert result.exit_code == 0, result.output
    names = [*bench.QUESTIONS, *bench.SUITE]
    assert names[:7] == ["handle_get", "redis_benchmark", "get_many", "near", "memory_pauses", "large", "side_by_side"]
    assert [figure["figure"] for figure in json.loads((tmp_path / "bench.json").read_text())] == [
        f"{n} p50" for n in names
    ]
    raw = json.loads((tmp_path / "bench-raw.json").read_text())
    assert raw["machine"]["busy_cores"] == 0.1
    assert raw["plan"] == {"rounds": 7, "quick": False, "seed": Plan().seed}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bench-raw.json", "bench.json"]


def test_the_figures_come_last() -> None:
    output = run().output
    assert output.index("Measured") < output.index("Figures") < output.index("written:")
    assert "hits p50" in output[output.index("Figures") :]


@pytest.mark.parametrize("arguments", [("--only", "get_many"), ("--quick",)])
def test_a_partial_run_leaves_the_figures_of_a_whole_one_alone(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    (tmp_path / "bench.json").write_text("kept")
    assert run(*arguments).exit_code == 0
    assert (tmp_path / "bench.json").read_text() == "kept"
    assert (tmp_path / "bench-partial.json").exists()


def test_only_asks_that_question_alone(tmp_path: Path) -> None:
    run("--only", "get_many", "--rounds", "5")
    raw = json.loads((tmp_path / "bench-partial-raw.json").read_text())
    assert [asked["name"] for asked in raw["questions"]] == ["get_many"]
    assert raw["plan"]["rounds"] == 5


@pytest.mark.parametrize(
    ("arguments", "words"), [(("--only", "nothing"), "memory_pauses"), (("--rounds", "4"), "x>=5")]
)
def test_refusals_say_what_is_possible(arguments: tuple[str, ...], words: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert words in result.output


@pytest.mark.parametrize("error", [MissingProgramError, ServerFailedError])
def test_a_missing_or_failing_server_is_one_line(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    def check() -> None:
        raise error("redis-server not found; on Debian: apt-get install redis-server memcached")

    monkeypatch.setattr(bench, "check_programs", check)
    result = run()
    assert result.exit_code == 1
    assert result.output == "Error: redis-server not found; on Debian: apt-get install redis-server memcached\n"


@pytest.mark.parametrize(("busy", "said"), [(1.4, True), (0.2, False)])
def test_a_busy_machine_is_said(monkeypatch: pytest.MonkeyPatch, busy: float, said: bool) -> None:
    monkeypatch.setattr(harness_run.machine, "busy_cores", lambda: busy)
    assert ("figures are noisy" in run().output) is said


def test_a_group_is_all_its_questions_in_their_order(tmp_path: Path) -> None:
    assert run("--only", "hits", "--only", "figures").exit_code == 0
    raw = json.loads((tmp_path / "bench-partial-raw.json").read_text())
    assert [asked["name"] for asked in raw["questions"]] == [*bench.QUESTIONS, "hits"]
    assert all(asked["facts"]["took_s"] >= 0 for asked in raw["questions"])


def test_a_quick_run_makes_the_fewest_rounds_unless_it_is_told(tmp_path: Path) -> None:
    for arguments, rounds in ((("--quick",), 5), (("--quick", "--rounds", "6"), 6)):
        assert run(*arguments).exit_code == 0
        assert json.loads((tmp_path / "bench-partial-raw.json").read_text())["plan"]["rounds"] == rounds


def test_a_part_of_the_suite_that_fails_leaves_the_figures_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(plan: Plan, step: Callable[[str], None]) -> Outcome:
        raise ServerFailedError("memcached went away")

    monkeypatch.setattr(bench.GROUPS["suite"]["pauses"], "run", fail)
    result = run()
    assert result.exit_code == 0
    assert "pauses: memcached went away" in result.output
    raw = json.loads((tmp_path / "bench-raw.json").read_text())
    facts = {asked["name"]: asked["facts"] for asked in raw["questions"]}
    assert facts["pauses"]["failed"] == "memcached went away"
    assert len(facts) == len(bench.QUESTIONS) + len(bench.SUITE)
    monkeypatch.setattr(bench.GROUPS["figures"]["get_many"], "run", fail)
    assert run().exit_code == 1
