"""Counting functions: rows, sums, and the bounded table."""

from __future__ import annotations

import math
from typing import Any

import pytest

from raycache.usage.functions import MAX_FUNCTIONS, FunctionTable
from raycache.usage.rows import MAX_NAME, NAMES, FunctionUse

USE = FunctionUse(hits=90, loads=8, load_s=1.6, stale=10, waits=2, wait_s=0.3, failures=1, cache_errors=4)


def test_what_follows_from_the_counters() -> None:
    assert (USE.calls, USE.hit_ratio, USE.mean_load_s) == (110, pytest.approx(102 / 110), pytest.approx(0.2))
    assert USE.saved_s == pytest.approx(100 * 0.2)
    assert (FunctionUse().hit_ratio, FunctionUse(hits=5).saved_s, FunctionUse().mean_load_s) == (0.0, 0.0, 0.0)


def test_rows_travel_and_add_up() -> None:
    again = FunctionUse.of_row(USE.as_row())
    assert again == USE
    again.add(USE)
    assert again.since(USE) == USE
    assert again.hits == 180


def test_rows_of_other_versions_are_understood() -> None:
    assert FunctionUse.of_row([3, 1]) == FunctionUse(hits=3, loads=1)
    assert FunctionUse.of_row([*USE.as_row(), 17, "new"]) == USE


@pytest.mark.parametrize("row", [
    None, 5, "12345678", b"12345678", [-1], [True], [1.5], [1, 1, -0.1], [1, 1, math.nan], [1, 1, math.inf], [2**63],
    [None], ["1"]])
def test_what_is_no_row_is_refused(row: Any) -> None:
    with pytest.raises(ValueError, match=r"a row|a number"):
        FunctionUse.of_row(row)


def test_the_table_sums_and_forgets_whoever_was_heard_of_longest_ago() -> None:
    table = FunctionTable(size=2)
    for name in ("a", "b", "a", "c"):
        table.add(name, FunctionUse(hits=1))
    assert {name: use.hits for name, use in table.all().items()} == {"a": 2, "c": 1}
    assert len(table) == 2


def test_the_table_does_not_keep_what_it_is_given() -> None:
    table, given = FunctionTable(), FunctionUse(hits=1)
    table.add("a", given)
    table.add("a", given)
    assert given.hits == 1
    assert table.all()["a"].hits == 2


def test_names_and_numbers_are_bounded() -> None:
    table = FunctionTable()
    for number in range(MAX_FUNCTIONS + 10):
        table.add(f"{number}:" + "x" * 1000, USE)
    assert len(table) == MAX_FUNCTIONS
    assert max(map(len, table.all())) == MAX_NAME
    assert len(NAMES) == 8
