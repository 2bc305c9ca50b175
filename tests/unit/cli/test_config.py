"""`config`, and `up` with a file: what counts, what is waited for, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from raycache import configfile
from raycache.cli.config import planned
from raycache.config import MIB
from raycache.errors import RayCacheError

FILE = "name: orders\nshards: 2\nmemory: 64MiB\npolicy: lfu\nmax_load: 0.25\ntimeout_s: 30\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "raycache.yaml"
    path.write_text(FILE)
    return path


def test_a_file_is_printed_and_is_good(run: Any, tmp_path: Path) -> None:
    printed = run("config", "orders").out
    assert printed == configfile.written("orders")
    path = tmp_path / "r.yaml"
    path.write_text(printed)
    assert run("config", "--check", str(path)).out == (
        f"{path} is good: orders, 3 shards of 256.0 MiB, policy lru\n")


def test_a_wrong_file_is_one_line(run: Any, tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("name: a\nshard: 3\n")
    for command in (("config", "--check", str(path)), ("up", "--config", str(path))):
        outcome = run(*command)
        assert (outcome.code, outcome.out) == (1, "")
        assert outcome.err == f"raycache: {path}:2: there is no setting 'shard'; did you mean 'shards'?\n"


def test_up_takes_everything_from_the_file(run: Any, backend: Any, file: Path) -> None:
    outcome = run("up", "--config", str(file))
    assert outcome.code == 0, outcome.err
    config = backend.started_with["config"]
    assert (config.name, config.shards, config.policy, config.max_load) == ("orders", 2, "lfu", 0.25)
    assert config.memory_per_shard_bytes == 32 * MIB
    assert backend.started_with["timeout_s"] == 30.0
    again = run("up", "--config", str(file))
    assert "orders runs already: attached\n" in again.err


def test_what_the_command_line_says_counts_more(run: Any, backend: Any, file: Path) -> None:
    run("up", "sessions", "--config", str(file), "--shards", "4", "--policy", "lru")
    config = backend.started_with["config"]
    assert (config.name, config.shards, config.policy, config.max_load) == ("sessions", 4, "lru", 0.25)
    file.write_text("name: a\nmemory_per_shard: 8MiB\n")
    run("up", "--config", str(file), "--memory", "48MiB")
    assert backend.started_with["config"].memory_per_shard_bytes == 16 * MIB
    outcome = run("up", "--config", str(file), "--copies", "5", "--read-quorum", "5", "--replication", "quorum",
                  "--port", "65535")  # fmt: skip
    assert (outcome.code, "port must be 0 or leave room" in outcome.err) == (1, True)


def test_somebody_must_say_the_name(run: Any, file: Path) -> None:
    assert "say the NAME of the cluster, or --config FILE" in run("up").err
    file.write_text("shards: 1\n")
    outcome = run("up", "--config", str(file))
    assert (outcome.code, "does not say the cluster's name" in outcome.err) == (1, True)
    assert run("up", "here", "--config", str(file)).code == 0


def test_one_shard_for_each_core_once_the_nodes_are_there(run: Any, backend: Any, file: Path) -> None:
    file.write_text("name: a\nshards: auto\nmemory_per_shard: 8MiB\ncpus_per_shard: 1\n")
    backend.budgets = [(2, 6)]
    assert "as many shards as there are cores for, each of 8.0 MiB" in run("config", "--check", str(file)).out
    run("up", "--config", str(file))
    config = backend.started_with["config"]
    assert (config.shards, config.memory_per_shard_bytes, config.cpus_per_shard) == (6, 8 * MIB, 1.0)
    backend.budgets = [(1, 0)]
    assert "no Ray node has cores for a shard" in run("up", "b", "--config", str(file)).err


def test_nodes_are_waited_for_as_long_as_the_file_says(backend: Any) -> None:
    settings = {"name": "a", "shards": "auto", "nodes": 3, "timeout_s": 60.0}
    backend.budgets, waited = [(0, 0), (1, 2), (3, 6)], []
    assert planned(backend, settings, pause=waited.append, clock=lambda: 0.0).shards == 6
    assert len(waited) == 2
    times = iter([0.0, 10.0, 61.0])
    backend.budgets = [(2, 4)]
    with pytest.raises(RayCacheError, match="2 Ray nodes take shards after 60 s, not 3"):
        planned(backend, settings, pause=waited.append, clock=lambda: next(times))
