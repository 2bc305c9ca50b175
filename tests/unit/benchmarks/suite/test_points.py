"""One thing changes at a time."""

from __future__ import annotations

import itertools
from dataclasses import asdict

import pytest

from benchmarks.suite.points import BASE, COPIES, MIB, QUICK_BASE, SHARDS, Point, Task, around, closed_and_open, scaling


def changed(task: Task, base: Point) -> set[str]:
    return {name for name, value in asdict(task.point).items() if value != getattr(base, name)}


@pytest.mark.parametrize("quick", [False, True])
def test_a_task_differs_from_the_base_in_its_dimension_alone(quick: bool) -> None:
    base = QUICK_BASE if quick else BASE
    for task in closed_and_open(quick):
        also = {"connections"} if task.dimension == "rate" else set()
        assert changed(task, base) - also == ({task.dimension} - {"base"}), str(task)


def test_a_whole_run_has_what_was_asked_for() -> None:
    found: dict[str, set[object]] = {}
    for task in closed_and_open(quick=False) + scaling(quick=False):
        for name, value in task.point.as_json().items():
            found.setdefault(name, set()).add(value)
    assert {1, 64} <= found["connections"]
    assert {16, 64 * MIB} <= found["value_bytes"]
    assert found["keys"] == {"uniform", "zipf"}
    assert found["read_percent"] == {50, 95, 100}
    assert {1_000, 4_000_000} <= found["entries"]
    assert {1, 8} <= found["shards"]
    assert found["copies"] == {1, 2, 3}
    assert 0 in found["rate"]
    assert len(found["rate"]) > 3


def test_servers_are_filled_anew_only_when_what_they_hold_changes() -> None:
    fills = [task.point.fill for task in closed_and_open(quick=False)]
    changes = sum(one != other for one, other in itertools.pairwise(fills))
    assert changes == len(set(fills)) - 1


def test_large_values_have_fewer_keys_but_never_none() -> None:
    assert Point(value_bytes=100).held == BASE.entries
    assert Point(value_bytes=4 * MIB).held == 64
    assert Point(value_bytes=64 * MIB).held == 4
    assert Point(value_bytes=1024 * MIB).held == 4


def test_tasks_on_the_same_servers_stand_together() -> None:
    wishes = [(task.point.shards, task.point.copies) for task in scaling(quick=False)]
    assert wishes == [(1, 1), *((number, 1) for number in SHARDS), *((3, number) for number in COPIES)]


def test_tasks_say_what_they_are() -> None:
    tasks = around(BASE, {"connections": (1,)})
    assert [str(task) for task in tasks] == ["base", "connections 1"]
    assert [task.value for task in tasks] == [None, 1]
