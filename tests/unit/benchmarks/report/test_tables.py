"""Tables: what stands in which cell."""

from __future__ import annotations

import pytest

from benchmarks.report import tables
from benchmarks.report.reading import Run
from tests.unit.benchmarks.report.made_up import raw


@pytest.fixture
def run() -> Run:
    return Run(raw())


def rows(text: str) -> dict[str, list[str]]:
    """Return a table's cells by the first one of each row, the head under "head"."""
    lines = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in text.strip().splitlines()]
    assert set(lines[1][0]) == {"-"}
    assert len({len(line) for line in lines}) == 1, "every row has as many cells"
    return {"head": lines[0]} | {line[0]: line[1:] for line in lines[2:]}


def test_a_table_without_rows_is_nothing() -> None:
    assert tables.table(("a", "b"), []) == ""


def test_figures_with_a_goal(run: Run) -> None:
    found = rows(tables.figures(run))
    assert found["a goal"] == ["<= 0.85 x", "0.8 x", "0.7 to 0.9", "met"]
    assert found["another"] == ["<= 5 ms", "not measurable", "–", "not met"]
    assert tables.figures(Run(raw() | {"plan": {"quick": True}})) == "", "a quick run is not for figures"


def test_the_base_compares_round_by_round(run: Run) -> None:
    found = rows(tables.base(run))
    assert found["Redis"] == ["1,000 (900 to 1,200)", "150", "199", "199.9", "2 (2 to 2)"]
    assert found["raycache"][-1] == "–"
    assert "redis-benchmark on Redis" not in found


def test_redis_benchmark_has_a_table_of_its_own(run: Run) -> None:
    assert rows(tables.tool(run))["Redis"] == ["5,000 (5,000 to 5,000)", "20", "5,000 (5,000 to 5,000)", "20"]


def test_a_dimension_has_the_base_among_its_values(run: Run) -> None:
    found = rows(tables.along(run, "connections", tables.rps))
    assert found["head"] == ["side", "1", "8"]
    assert found["raycache"] == ["1,000", "2,000"]
    assert rows(tables.along(run, "keys", tables.rps))["Redis"] == ["1,000", "–"]
    assert rows(tables.along(run, "connections", tables.rps, tools=True))["Redis"] == ["5,000", "5,000"]


def test_shards_are_compared_with_the_base_of_their_own_question(run: Run) -> None:
    assert rows(tables.along(run, "shards", tables.rps))["raycache"] == ["1,000", "1,500"]


def test_sizes_are_read_by_people(run: Run) -> None:
    found = rows(tables.along(run, "value_bytes", tables.megabytes))
    assert found["head"] == ["side", "100 B", "1 MiB"]
    assert found["raycache"] == ["0.2", "52.4"]


def test_an_open_loop_says_what_it_could_not_keep(run: Run) -> None:
    found = rows(tables.along(run, "rate", tables.open_latency))
    assert found["Redis"] == ["0.15 / 0.199", "0.15 / 0.199, not kept (700/s)"]
    assert found["raycache"][1] == "–", "a side is not asked at higher rates than it kept"


def test_what_coordinated_omission_would_hide(run: Run) -> None:
    assert rows(tables.hidden(run))["Redis, 1,000/s"] == ["0.199", "2.5"]


def test_pauses_are_of_100_000_probes(run: Run) -> None:
    found = rows(tables.pauses(run))
    assert found["head"][1:4] == [">= 1 ms", ">= 2 ms", ">= 5 ms"]
    assert found["raycache"][:3] == ["1,100", "1,100", "100"]
    assert found["raycache"][-2:] == ["120", "3,999"]


def test_memory_has_both_accounts(run: Run) -> None:
    found = rows(tables.memory(run))
    assert found["raycache"] == ["180.2", "150"]
    assert found["Redis, with lifetimes"] == ["90.4", "–"]


def test_the_best_policy_is_bold_and_never_the_optimum(run: Run) -> None:
    found = rows(tables.hits(run, "zipf"))
    assert found["offline optimum"] == ["0.800", "–"]
    assert found["lfu"] == ["**0.600**", "–"]
    assert found["lru"] == ["0.500", "**0.700**"]


@pytest.mark.parametrize(
    ("number", "text"), [(16, "16 B"), (64 << 10, "64 KiB"), (64 << 20, "64 MiB"), (3 << 30, "3 GiB")]
)
def test_bytes(number: int, text: str) -> None:
    assert tables.size(number) == text
