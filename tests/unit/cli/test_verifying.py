"""`verify`: putting answers together, telling differences from writes under way, repairing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from raycache.cli import verifying
from raycache.cli.verifying import Comparison, combine, pair_rows, ranges_text, verify_now
from raycache.errors import ShardUnavailableError


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifying, "LOOK_AGAIN_S", 0.0)


def report(
    compared: int, *differences: list[Any], evicted: int = 0, unanswered: tuple[str, ...] = ()
) -> dict[str, Any]:
    return {"compared": compared, "differences": list(differences), "evicted": evicted, "unanswered": list(unanswered)}


EQUAL = {"s0": report(8192), "s1": report(8192)}
DIFFERENT = {"s0": report(8192, [7, "s1"]), "s1": report(8192, [7, "s0"], [9000, "s0"])}


def test_equal_copies_are_exit_code_0(run: Any, backend: Any) -> None:
    run("up", "features", "--copies", "2")
    backend.reports = [EQUAL]
    outcome = run("verify", "features")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == "features: 16,384 slots compared between their owners, all equal\n"


def test_differences_are_listed_by_pair_and_exit_code_1(run: Any, backend: Any) -> None:
    run("up", "features", "--copies", "2")
    backend.reports = [DIFFERENT]
    outcome = run("verify", "features")
    assert outcome.code == 1
    assert [" ".join(line.split()) for line in outcome.out.splitlines()] == [
        "features: 16,384 slots compared between their owners, 2 differ",
        "shards slots that differ which",
        "s0, s1 2 7, 9000",
    ]


def test_what_differs_only_once_was_a_write_under_way(run: Any, backend: Any) -> None:
    run("up", "features", "--copies", "2")
    backend.reports = [DIFFERENT, {**EQUAL, "s0": report(8192, [7, "s1"])}, EQUAL]
    assert run("verify", "features").code == 0


def test_repair_mends_and_says_so(run: Any, backend: Any) -> None:
    run("up", "features", "--copies", "2")
    backend.reports = [DIFFERENT, DIFFERENT, DIFFERENT, DIFFERENT, EQUAL]
    outcome = run("verify", "features", "--repair")
    assert outcome.code == 0
    assert "2 differed, 0 still do after the repair" in outcome.out
    assert backend.wishes == [("repair", "features")]


def test_repair_is_not_asked_for_where_nothing_differs(run: Any, backend: Any) -> None:
    run("up", "features", "--copies", "2")
    backend.reports = [EQUAL]
    run("verify", "features", "--repair")
    assert backend.wishes == []


def test_what_a_repair_does_not_mend_in_time_is_exit_code_1(run: Any, backend: Any) -> None:
    run("up", "features", "--copies", "2")
    backend.reports = [DIFFERENT]
    outcome = run("verify", "features", "--repair", "--timeout", "0.1", "--json")
    record = json.loads(outcome.out)
    assert outcome.code == 1
    assert (record["clean"], record["repaired"]) == (False, True)
    assert record["differences"] == [{"slot": 7, "shards": ["s0", "s1"]}, {"slot": 9000, "shards": ["s0", "s1"]}]


def test_evictions_are_no_fault_and_named(run: Any, backend: Any) -> None:
    run("up", "features", "--copies", "2")
    backend.reports = [{"s0": report(8192, evicted=3), "s1": report(8192)}]
    outcome = run("verify", "features")
    assert outcome.code == 0
    assert "3 more slots differ where a full shard has evicted something" in outcome.err


def test_a_shard_that_does_not_answer_is_no_success(run: Any, backend: Any) -> None:
    run("up", "features", "--copies", "2")
    backend.reports = [{"s0": report(8192, unanswered=("s1",)), "s1": ShardUnavailableError("it is down")}]
    outcome = run("verify", "features")
    assert outcome.code == 1
    assert outcome.err == "warning: not compared: s0: no answer from s1\nwarning: not compared: s1: it is down\n"


def test_one_copy_has_nothing_to_compare(run: Any, backend: Any) -> None:
    run("up", "features")
    backend.reports = [{}]
    outcome = run("verify", "features")
    assert (outcome.code, outcome.out) == (0, "features: one copy of each slot, nothing to compare\n")


def test_where_owners_are_equal_both_of_a_pair_tell_the_same() -> None:
    seen = combine("quorum", DIFFERENT)
    assert seen.compared == 8192
    assert seen.differences == {(7, "s0", "s1"), (9000, "s0", "s1")}


def test_looking_stops_as_soon_as_nothing_differs() -> None:
    looks = [Comparison(10, frozenset({(1, "s0", "s1")})), Comparison(10)]
    outcome = verify_now(lambda: looks.pop(0), None, timeout_s=1.0, pause=lambda _: None)
    assert outcome.is_clean
    assert looks == []


def test_slots_are_written_as_ranges() -> None:
    assert ranges_text([3, 7, 8, 9, 11]) == "3, 7-9, 11"
    assert ranges_text(list(range(0, 40, 2))).endswith("22, and 8 more ranges")
    assert pair_rows({(1, "s0", "s1"), (2, "s0", "s1"), (5, "s1", "s2")}) == [
        ("s0, s1", "2", "1-2"), ("s1, s2", "1", "5")]  # fmt: skip
