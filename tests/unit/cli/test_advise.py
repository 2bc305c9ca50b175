"""`advise` and `policy`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from raycache.client.curve import ClusterCurve, ShardCurve
from raycache.curves.points import FACTORS

RATIOS = tuple(min(0.1 + 0.02 * place, 0.6) for place in range(len(FACTORS)))
SHARD = ShardCurve("s0", "auto", "arc", 64 << 20, 300, 700, 5000.0, 800, 0.25, RATIOS)
CURVE = ClusterCurve("features", (SHARD,), ("s1",))


@pytest.fixture
def curve(run: Any, backend: Any, monkeypatch: pytest.MonkeyPatch) -> list[ClusterCurve]:
    """A cluster with a curve; the list has the one that is answered next."""
    run("up", "features", "--shards", "2")
    given = [CURVE]
    monkeypatch.setattr(backend.connect("features"), "miss_ratio_curve", lambda: given[0], raising=False)
    return given


def test_for_people(run: Any, curve: list[ClusterCurve]) -> None:
    done = run("advise", "features")
    assert done.code == 0
    lines = [line.rstrip() for line in done.out.splitlines()]
    assert lines[0] == "features: 64.0 MiB for entries; no answer from s1"
    assert [" ".join(line.split()) for line in lines[3:7]] == [
        "32.0 MiB 0.5x 34.0% +14%", "64.0 MiB 1x 42.0%", "128.0 MiB 2x 50.0% -14%", "256.0 MiB 4x 58.0% -28%",
    ]
    assert lines[7] == "measured: 30.0%, under auto"
    assert lines[8] == "from 800 keys, 25% of all"
    assert sum(line.count("*") for line in lines) == len(FACTORS)
    assert lines[-1].split() == ["0.0625x", "0.25x", "1x", "4x", "16x"]


def test_for_programs(run: Any, curve: list[ClusterCurve]) -> None:
    record = json.loads(run("advise", "features", "--json").out)
    assert record["advice"]["2x"] == pytest.approx(0.5)
    assert (record["measured"], record["unreachable"], record["sampled_keys"]) == (0.3, ["s1"], 800)
    assert len(record["points"]) == len(FACTORS)


def test_a_small_sample_is_said(run: Any, curve: list[ClusterCurve]) -> None:
    few = ShardCurve("s0", "lru", "lru", 64 << 20, 1, 1, 10.0, 20, 0.001, RATIOS)
    curve[0] = ClusterCurve("features", (few,))
    assert "from 20 keys, 0.1% of all: too few to rely on" in run("advise", "features").out


def test_before_the_first_look_up(run: Any, curve: list[ClusterCurve]) -> None:
    curve[0] = ClusterCurve("features", ())
    assert "there is no curve" in run("advise", "features").out


@pytest.mark.parametrize(("suffix", "start"), [("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_the_plot(run: Any, curve: list[ClusterCurve], tmp_path: Path, suffix: str, start: bytes) -> None:
    path = tmp_path / f"curve.{suffix}"
    assert run("advise", "features", "--plot", str(path)).code == 0
    assert path.read_bytes().startswith(start)


def test_a_plot_that_cannot_be_written(
    run: Any, curve: list[ClusterCurve], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run("advise", "features", "--plot", str(tmp_path / "curve.odd"))
    assert (done.code, "cannot be written" in done.err) == (1, True)
    done = run("advise", "features", "--plot", str(tmp_path / "none" / "curve.svg"))
    assert (done.code, "cannot be written" in done.err) == (1, True)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    done = run("advise", "features", "--plot", str(tmp_path / "curve.svg"))
    assert (done.code, "pip install 'raycache[plots]'" in done.err) == (1, True)


def test_the_policy_is_changed_on_all_shards(run: Any, backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run("up", "features", "--shards", "2")
    asked: list[str] = []
    monkeypatch.setattr(backend.connect("features"), "set_policy", lambda name: asked.append(name) or ["s0", "s1"],
                        raising=False)  # fmt: skip
    assert run("policy", "features", "arc").out == "features: 2 shards serve under arc\n"
    assert asked == ["arc"]
    assert run("policy", "features", "best").code == 2


def test_under_which_policy_it_serves_and_why(run: Any, backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run("up", "features", "--shards", "2")
    shards = [SimpleNamespace(shard_id="s0", policy="lru", policy_changes=0, policy_reason=""),
              SimpleNamespace(shard_id="s1", policy="auto", policy_changes=2, policy_reason="arc: 3.1 points ...")]
    monkeypatch.setattr(backend.connect("features"), "stats", lambda: SimpleNamespace(shards=shards), raising=False)
    assert run("policy", "features").out.splitlines() == [
        "s0: lru", "s1: auto, changed 2 times, serves under arc: 3.1 points ...",
    ]  # fmt: skip
