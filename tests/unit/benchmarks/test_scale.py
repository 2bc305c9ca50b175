"""The parts of large clusters, small: each measures something real, and a lost node is replaced."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.harness import run as harness_run
from benchmarks.scale import __main__ as bench
from benchmarks.scale import pieces
from benchmarks.scale.failover import TooSlowError, fail_over

FACTS = {"cpu": "C", "cores": 2, "memory": "1 kB", "kernel": "6", "python": "3", "versions": {"ray": "2"},
         "commit": "abc", "uncommitted_changes": False, "load_average": [0.0, 0.0, 0.0]}  # fmt: skip


def test_a_topology_grows_by_its_nodes_and_keeps_copies_apart() -> None:
    five, six = pieces.topology_of(5), pieces.topology_of(6)
    assert len({shard.machine for shard in six.shards}) == len(six.gateways) == 6
    assert (six.owners[:, 0] != six.owners[:, 1]).all()
    assert 100 < len(six.to_bytes()) - len(five.to_bytes()) < 500


def test_a_heartbeat_is_sent_to_every_peer_and_answered() -> None:
    spent_us, peers = pieces.heartbeat_us(4)
    assert peers == 3
    assert spent_us > 0


def test_a_push_reaches_everybody() -> None:
    assert pieces.push_ms(b"x" * 70_000, 9) > 0


def test_a_lost_node_is_replaced_sooner_if_its_end_is_seen() -> None:
    lost = fail_over(4, seed=1, budget_s=60)
    assert 0 < lost.after_reset_s < 0.9 < lost.after_silence_s < 5
    assert lost.deciding_s > 0


def test_a_simulation_that_takes_too_long_is_given_up() -> None:
    with pytest.raises(TooSlowError):
        fail_over(4, seed=1, budget_s=0.0)


def test_the_table_has_a_column_for_each_size(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bench, "NODES", (2, 3, 1000))
    monkeypatch.setattr(bench, "OUT", tmp_path)
    monkeypatch.setattr(harness_run.machine, "describe", lambda: FACTS)
    monkeypatch.setattr(harness_run.machine, "busy_cores", lambda: 0.1)
    monkeypatch.setattr(harness_run.signal, "signal", lambda number, handler: None)
    result = CliRunner().invoke(bench.main, ["--quick", "--budget", "1"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert "| 2 nodes | 3 nodes |" in result.output
    sizes = json.loads((tmp_path / "bench-scale-partial.json").read_text())["sizes"]
    assert [one["nodes"] for one in sizes] == [2, 3]
    assert all(one["topology_bytes"] > one["topology_bytes_one_copy"] > 32_000 for one in sizes)
