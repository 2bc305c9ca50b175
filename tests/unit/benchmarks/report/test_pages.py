"""The page: which sections it has, and what it admits."""

from __future__ import annotations

import pytest

from benchmarks.report.pages import Frame, page
from benchmarks.report.plots import PLOTS
from benchmarks.report.reading import Run
from benchmarks.report.sections import SECTIONS
from tests.unit.benchmarks.report.made_up import question, raw

FRAME = Frame({name: f"report/{name}.svg" for name in PLOTS}, "../README.md")


def text(changed: dict[str, object] | None = None, note: str = "") -> str:
    images = {} if changed and "questions" in changed else FRAME.images
    return page(Run(raw() | (changed or {})), Frame(images, FRAME.method, note))


def test_every_section_and_every_plot_is_there() -> None:
    found = text()
    assert [line[3:] for line in found.splitlines() if line.startswith("## ")] == [
        *(section.title for section in SECTIONS), "Left out", "Wrong or failed answers",
    ]  # fmt: skip
    assert all(f"(report/{name}.svg)" in found for name in PLOTS)
    assert {name for section in SECTIONS for name in section.plots} == set(PLOTS)


def test_the_facts_of_a_question_stand_in_its_text() -> None:
    found = text()
    assert "4,000 new keys a second" in found
    assert "1,000,000 entries" in found
    assert "`zipf`, drawn by Zipf's law: 100,000 requests for 9,000 distinct keys." in found
    assert "{" not in found


def test_the_machine_and_the_versions_are_said() -> None:
    found = text(note="Made up.")
    for words in ("Made-up CPU, 2 cores", "Python 3.11", "memcached 1.6", "commit abc", "7 a side", "- Made up.",
                  "[How each number is made](../README.md)"):
        assert words in found
    assert "not quiet" not in found


@pytest.mark.parametrize("busy", ["at the beginning", "before a question"])
def test_a_machine_that_was_not_quiet_is_admitted(busy: str) -> None:
    if busy == "at the beginning":
        found = text({"machine": raw()["machine"] | {"busy_cores": 1.5}})
        assert "1.5 cores at the beginning" in found
    else:
        found = text({"questions": [question("hits", [], busy_cores_before=0.9)]})
        assert "before hits (0.9 cores)" in found
    assert "**The machine was not quiet.**" in found


def test_what_was_left_out_and_what_went_wrong_is_admitted() -> None:
    found = text()
    assert "- all, entries 4000000: not enough free memory" in found
    assert "- Redis, connections 1: 3 wrong, 0 failed" in found
    failed = text({"questions": [question("pauses", [], failed="no memcached")]})
    assert "- pauses: no memcached" in failed


def test_a_run_with_one_question_has_one_section() -> None:
    asked = [each for each in raw()["questions"] if each["name"] == "memory"]
    found = page(Run(raw() | {"questions": asked}), Frame({}, "README.md"))
    assert [line for line in found.splitlines() if line.startswith("## ")] == ["## Memory an entry"]
