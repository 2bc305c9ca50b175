"""Goals, the tables, and the two JSON files."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.harness.report import Figure, Goal, Outcome, Series, print_figures, print_series, readable, write_json


def outcome() -> Outcome:
    return Outcome(
        "reading",
        figures=[
            Figure("get p50", Goal("<=", 0.85), 0.7512, "x", (0.74, 0.7512, 0.9)),
            Figure("keys", Goal(">=", 400_000), 399_999.6, "keys/s"),
            Figure("pause", Goal("<=", 5.0), None, "ms", (1.0, 2.0)),
        ],
        series=[Series("ours", "us", [50.0, 60.0, 70.0])],
        facts={"keys": 10},
    )


@pytest.mark.parametrize(
    ("relation", "bound", "value", "met"),
    [
        ("<=", 0.85, 0.85, True),
        ("<=", 0.85, 0.8501, False),
        (">=", 3.0, 3.0, True),
        (">=", 3.0, 2.999, False),
        ("<", 1.0, 1.0, False),
        ("<", 1.0, 0.999, True),
    ],
)
def test_a_goal_judges_the_unrounded_value(relation, bound: float, value: float, met: bool) -> None:
    assert Goal(relation, bound).is_met(value) is met


def test_a_value_that_only_looks_round_is_not_met() -> None:
    figure = outcome().figures[1]
    assert figure.value is not None
    assert readable(figure.value) == "400,000"
    assert not figure.met


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.8534, "0.853"),
        (12.345, "12.3"),
        (123.45, "123.5"),
        (431_000.7, "431,001"),
        (1.0, "1"),
        (0.0, "0"),
        (-1234, "-1,234"),
    ],
)
def test_readable(value: float, text: str) -> None:
    assert readable(value) == text


def printed(printer) -> str:
    console = Console(file=io.StringIO(), width=160)
    printer(console, [outcome()])
    return console.file.getvalue()


def test_the_last_table_shows_goal_value_rounds_and_verdict() -> None:
    lines = printed(print_figures).splitlines()
    (get,) = [line for line in lines if "get p50" in line]
    assert [part.strip() for part in get.split("│")[1:-1]] == ["get p50", "<= 0.85 x", "0.751 x", "0.74 to 0.9", "met"]
    (keys,) = [line for line in lines if "keys" in line]
    assert [part.strip() for part in keys.split("│")[1:-1]] == [
        "keys",
        ">= 400,000 keys/s",
        "400,000 keys/s",
        "",
        "NOT MET",
    ]


def test_what_could_not_be_measured_is_not_met_and_says_so() -> None:
    (pause,) = [line for line in printed(print_figures).splitlines() if "pause" in line]
    assert [part.strip() for part in pause.split("│")[1:-1]] == [
        "pause",
        "<= 5 ms",
        "not measurable",
        "1 to 2",
        "NOT MET",
    ]


def test_the_series_table_shows_the_question_and_its_numbers() -> None:
    (line,) = [line for line in printed(print_series).splitlines() if "reading: ours" in line]
    assert [part.strip() for part in line.split("│")[1:-1]] == [
        "reading: ours",
        "us",
        "60",
        "70",
        "70",
        "50",
        "70",
        "3",
    ]


def test_the_figures_file_is_the_list_that_was_promised(tmp_path: Path) -> None:
    figures_path, _ = write_json(tmp_path / "out", "bench", {}, [outcome()])
    assert figures_path == tmp_path / "out" / "bench.json"
    assert json.loads(figures_path.read_text()) == [
        {"figure": "get p50", "goal": "<= 0.85", "value": 0.7512, "unit": "x", "met": True},
        {"figure": "keys", "goal": ">= 400,000", "value": 399_999.6, "unit": "keys/s", "met": False},
        {"figure": "pause", "goal": "<= 5", "value": None, "unit": "ms", "met": False},
    ]


def test_the_raw_file_keeps_header_facts_rounds_and_samples(tmp_path: Path) -> None:
    _, raw_path = write_json(tmp_path, "bench", {"machine": {"cores": 2}}, [outcome()])
    raw = json.loads(raw_path.read_text())
    assert raw_path.name == "bench-raw.json"
    assert raw["machine"] == {"cores": 2}
    (question,) = raw["questions"]
    assert (question["name"], question["facts"]) == ("reading", {"keys": 10})
    assert question["figures"][0]["rounds"] == [0.74, 0.7512, 0.9]
    assert question["series"][0]["samples"] == [50.0, 60.0, 70.0]
    assert question["series"][0]["summary"]["median"] == 60.0
