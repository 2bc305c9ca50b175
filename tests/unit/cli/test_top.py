"""`top`: hot keys and functions, for people and for programs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from raycache.cli.top import calls_per_s, screen
from raycache.client.top import ClusterUse, HotKey
from raycache.usage.rows import FunctionUse

USE = ClusterUse(
    "features", (HotKey(b"user:1", "s0", 0.25, 0.01, 500.0), HotKey(b"\xff\n[b]", "s1", 0.1, 0.0, 20.0)),
    {"shop.price": FunctionUse(hits=900, loads=100, load_s=20.0, waits=4, wait_s=0.5, failures=2)}, 4000.0, 2000.0,
    ("s2",))  # fmt: skip


@pytest.fixture
def used(run: Any, backend: Any, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A cluster in use; the list has the counts that were asked for."""
    run("up", "features", "--shards", "3")
    asked: list[int] = []

    def top(count: int) -> ClusterUse:
        asked.append(count)
        return USE

    monkeypatch.setattr(backend.connect("features"), "top", top, raising=False)
    return asked


def test_for_people(run: Any, used: list[int]) -> None:
    done = run("top", "features", "--once", "--count", "5")
    assert (done.code, used) == (0, [5])
    lines = [line.rstrip() for line in done.out.splitlines()]
    assert lines[0] == "features: 2,000 commands/s, 4,000 of them sampled, no answer from s2"
    assert lines[3].split() == ["user:1", "s0", "25.0%", "1.0%", "500"]
    assert lines[4].startswith("\\xff\\n[b]")  # one line, and no markup
    assert " ".join(lines[7].split()) == "shop.price 900 100 90.0% 0.20 s 3 min 0 4 0.12 s 2"


def test_for_programs(run: Any, used: list[int]) -> None:
    record = json.loads(run("top", "features", "--json").out)
    assert used == [10]
    assert record["keys"][0] == {"key": "user:1", "shard": "s0", "share": 0.25, "error": 0.01, "per_s": 500.0}
    assert record["functions"]["shop.price"]["saved_s"] == pytest.approx(180.0)
    assert (record["name"], record["unreachable"], record["looks"]) == ("features", ["s2"], 4000.0)


def test_where_nobody_looks_at_a_terminal_it_prints_once(run: Any, used: list[int]) -> None:
    assert "shop.price" in run("top", "features").out
    assert used == [10]


@pytest.mark.parametrize("arguments", [("--count", "0"), ("--count", "129"), ("--interval", "0")])
def test_what_makes_no_sense(run: Any, used: list[int], arguments: tuple[str, ...]) -> None:
    assert run("top", "features", *arguments).code == 2


def test_a_cluster_that_does_not_run(run: Any) -> None:
    done = run("top", "nowhere")
    assert (done.code, done.out) == (1, "")
    assert "no cluster 'nowhere'" in done.err


def test_rates_are_taken_between_two_looks() -> None:
    before = {"f": FunctionUse(hits=10), "g": FunctionUse(hits=10)}
    now = {"f": FunctionUse(hits=25, loads=5), "g": FunctionUse(hits=1), "h": FunctionUse(loads=4)}
    assert calls_per_s(now, before, 2.0) == {"f": 10.0, "g": 0.0, "h": 2.0}
    assert calls_per_s(now, before, 0.0) == {}


def test_the_screen_shows_rates_where_they_are_known() -> None:
    from rich.console import Console

    console = Console(width=200)
    with console.capture() as captured:
        console.print(screen(USE, {"shop.price": 1234.0}))
    assert "1,234" in captured.get()
