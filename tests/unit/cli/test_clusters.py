"""`up`, `down`, `status` against a stand-in."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from raycache.cluster_status import Event, Lag, LossWindow, TransferStatus


def test_up_starts_prints_addresses_and_passes_every_setting(run: Any, backend: Any) -> None:
    outcome = run("up", "features", "--shards", "4", "--memory", "2GiB", "--policy", "lfu", "--max-entries", "1000",
                  "--port", "7000", "--gateway-port", "6400", "--bind", "127.0.0.1", "--cpus-per-shard", "0.5",
                  "--refuse-split-transactions", "--timeout", "30", "--copies", "3", "--replication", "quorum",
                  "--read-quorum", "1", "--write-quorum", "2", "--allow-stale", "--allow-pickle",
                  "--snapshot-dir", "/snapshots", "--queue-memory", "64MiB", "--metrics-port", "9400",
                  "--measure-every", "8", "--log-format", "json", "--tracing", "my.traces:set_up")  # fmt: skip
    assert (outcome.code, outcome.err) == (0, "")
    assert "features: serving, 4 shards of 512.0 MiB, 3 copies (quorum), policy lfu" in outcome.out
    assert "10.0.0.1:7003" in outcome.out
    assert "gateways: 10.0.0.1:6400" in outcome.out
    assert backend.started_with == {
        "shards": 4, "memory": "2GiB", "policy": "lfu", "max_entries": 1000, "port": 7000, "gateway_port": 6400,
        "bind": "127.0.0.1", "cpus_per_shard": 0.5, "split_transactions": False, "timeout_s": 30.0, "copies": 3,
        "replication": "quorum", "read_quorum": 1, "write_quorum": 2, "allow_stale": True, "snapshot_dir": "/snapshots",
        "queue_memory": "64MiB", "object_memory": None, "users": (), "tls": None, "metrics_port": 9400,
        "measure_every": 8, "log_format": "json", "tracing": "my.traces:set_up", "allow_pickle": True,
    }  # fmt: skip


def test_up_starts_ray_where_none_runs_and_says_so(run: Any, backend: Any) -> None:
    backend.ray_runs = False
    outcome = run("up", "features")
    assert outcome.code == 0
    assert backend.ray_runs
    assert "Ray was started too" in outcome.err


def test_up_twice_attaches_and_says_so(run: Any) -> None:
    assert "attached" not in run("up", "features").err
    again = run("up", "features")
    assert (again.code, again.err) == (0, "features runs already: attached\n")
    assert "features: serving" in again.out


def test_up_with_other_settings_says_what_stays(run: Any) -> None:
    run("up", "features", "--shards", "3", "--memory", "30MiB")
    again = run("up", "features", "--shards", "5", "--memory", "30MiB", "--policy", "ttl")
    assert "it keeps 3 shards (`raycache scale` changes that), policy lru, its memory per shard" in again.err
    again = run("up", "features", "--shards", "3", "--memory", "30MiB", "--gateway-port", "9", "--port", "19")
    assert "attached; it keeps its gateway's port, its shards' ports\n" in again.err
    again = run("up", "features", "--shards", "3", "--memory", "30MiB", "--gateway-port", "6400", "--port", "7000")
    assert again.err == "features runs already: attached\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["features", "--memory", "lots"], "is not a size"),
        (["features", "--memory", "2MiB"], "too small"),
        (["no name"], "is no cluster name"),
        (["features", "--port", "65535"], "leave room for 3"),
        (["features", "--max-entries", "2"], "--max-entries must be at least 3"),
        (["features", "--copies", "3", "--replication", "quorum", "--read-quorum", "1"], "need not overlap"),
        (["features", "--copies", "3", "--read-quorum", "2"], "read_quorum=2 means nothing with replication"),
    ],
)
def test_up_refuses_before_it_starts_ray(run: Any, backend: Any, arguments: list[str], words: str) -> None:
    backend.ray_runs = False
    outcome = run("up", *arguments)
    assert outcome.code == 1
    assert words in outcome.err
    assert outcome.err.count("\n") == 1
    assert not backend.ray_runs


def test_up_with_other_copies_says_what_stays(run: Any) -> None:
    run("up", "features", "--copies", "2")
    assert "it keeps 2 copies of each slot" in run("up", "features").err
    again = run("up", "features", "--copies", "2", "--replication", "multi-primary")
    assert "it keeps replication primary-replica" in again.err


def test_up_for_programs(run: Any) -> None:
    record = json.loads(run("up", "features", "--json").out)
    assert record["serving"] is True
    assert record["attached"] is False
    assert record["gateways"] == ["10.0.0.1:6400"]
    assert [shard["address"] for shard in record["shards"]] == ["10.0.0.1:7000", "10.0.0.1:7001", "10.0.0.1:7002"]
    again = run("up", "features", "--json")
    assert json.loads(again.out)["attached"] is True
    assert "swordfish" not in again.out


def test_down_stops(run: Any, backend: Any) -> None:
    run("up", "features")
    outcome = run("down", "features")
    assert (outcome.code, outcome.out) == (0, "features stopped\n")
    assert backend.running == {}


def test_down_twice_lists_what_runs(run: Any) -> None:
    for name in ("features", "sessions", "other"):
        run("up", name)
    run("down", "features")
    outcome = run("down", "features")
    assert outcome.code == 1
    assert outcome.err == "raycache: nothing to stop: no cluster 'features' runs; these do: other, sessions\n"


@pytest.mark.parametrize("ray_runs", [True, False])
def test_down_if_running_is_content(run: Any, backend: Any, ray_runs: bool) -> None:
    backend.ray_runs = ray_runs
    outcome = run("down", "features", "--if-running")
    assert (outcome.code, outcome.out) == (0, "")
    assert "nothing to stop" in outcome.err


def test_an_unknown_name_lists_those_that_run(run: Any) -> None:
    run("up", "features")
    for arguments in (
        ("status", "feature"), ("scale", "feature", "2"), ("drain", "feature", "s0"), ("cancel", "feature"),
        ("verify", "feature"), ("get", "feature", "k"), ("ring", "feature"),
    ):  # fmt: skip
        outcome = run(*arguments)
        assert (outcome.code, outcome.out) == (1, "")
        assert "these run: features" in outcome.err


def test_commands_but_up_start_no_ray(run: Any, backend: Any) -> None:
    backend.ray_runs = False
    for arguments in (
        ("status",), ("down", "x"), ("scale", "x", "2"), ("drain", "x", "s0"), ("cancel", "x"), ("verify", "x"),
        ("get", "x", "k"), ("ring", "x"),
    ):  # fmt: skip
        outcome = run(*arguments)
        assert outcome.code == 1
        assert "no Ray runs here" in outcome.err
    assert not backend.ray_runs


def test_status_is_a_table_with_a_line_a_shard(run: Any) -> None:
    run("up", "features")
    lines = run("status", "features").out.splitlines()
    shown = [" ".join(line.split()) for line in lines]
    assert shown[1] == "shard state machine address slots entries used of hit ratio ops/s restarts"
    assert shown[2] == "s0 up 10.0.0.1 10.0.0.1:7000 5,461 1,000 2.0 KiB 1.0 MiB - 1,234 0"
    assert "75.0%" in lines[3]
    assert len(lines) == 6


def test_status_says_warnings_apart_and_that_it_does_not_serve(run: Any, backend: Any) -> None:
    run("up", "features")
    status = backend.running["features"]
    down = replace(status.shards[0], state="down")
    backend.running["features"] = replace(
        status, shards=(down, *status.shards[1:]), warnings=("Ray was started without X=0: slow",), requires_auth=True
    )
    outcome = run("status", "features")
    assert "NOT SERVING" in outcome.out
    assert "demand AUTH" in outcome.out
    assert outcome.err == "warning: Ray was started without X=0: slow\n"


def test_status_with_copies_shows_roles_lag_loss_window_transfers_and_events(run: Any, backend: Any) -> None:
    run("up", "features", "--copies", "2")
    status = backend.running["features"]
    first = replace(status.shards[0], replica_slots=5462, loss=LossWindow(12, 2048, 0.004), lag=Lag(),
                    has_lease=False, is_draining=True)  # fmt: skip
    second = replace(status.shards[1], lag=Lag(3, 512, 1.25, dropped=7))
    backend.running["features"] = replace(
        status, shards=(first, second, status.shards[2]),
        transfers=(TransferStatus("t1", "s0", "s2", 100, "streaming", 5000, 1 << 20, 2, 3.5),
                   TransferStatus("t2", "s1", "s2", 50)),
        events=(Event(1.0, "transfer", "100 slots"), *(Event(10.0 * n, "lost", f"event {n}") for n in range(1, 8))),
    )  # fmt: skip
    shown = [" ".join(line.split()) for line in run("status", "features").out.splitlines()]
    assert shown[0] == "features: serving, 3 shards of 256.0 MiB, 2 copies (primary-replica), policy lru, epoch 7"
    assert shown[1] == ("shard state machine address primary replica entries used of hit ratio ops/s lag loss window "
                        "restarts")  # fmt: skip
    assert shown[2] == ("s0 up, no lease, draining 10.0.0.1 10.0.0.1:7000 5,461 5,462 1,000 2.0 KiB 1.0 MiB - 1,234 0 "
                        "12 (2.0 KiB, 4 ms) 0")  # fmt: skip
    assert " 3 (512 B, 1.2 s), 7 given up 0 0" in shown[3]
    assert shown[6] == "moving: s0 -> s2, 100 slots: streaming, 5,000 entries, 1.0 MiB in 3.5 s, 2 misses"
    assert shown[7] == "moving: s1 -> s2, 50 slots: not begun"
    assert shown[8:] == [f"{10 * number}.0 s ago: event {number}" for number in range(1, 6)]


def test_status_with_copies_for_programs(run: Any, backend: Any) -> None:
    run("up", "features", "--copies", "2")
    status = backend.running["features"]
    shards = tuple(replace(shard, loss=LossWindow(2, 100, 0.5 + number)) for number, shard in enumerate(status.shards))
    backend.running["features"] = replace(status, shards=shards)
    record = json.loads(run("status", "features", "--json").out)
    assert record["loss"] == {"mutations": 6, "bytes": 300, "age_s": 2.5}
    assert record["shards"][0]["lag"] == {"mutations": 0, "bytes": 0, "age_s": 0.0, "dropped": 0}
    assert (record["copies"], record["replication"]) == (2, "primary-replica")


def test_the_secret_shows_only_when_asked_for(run: Any) -> None:
    run("up", "features")
    assert "swordfish" not in run("status", "features").out
    assert "swordfish" not in run("status", "features", "--json").out
    assert run("status", "features", "--secret").out == "swordfish\n"
    assert json.loads(run("status", "features", "--secret", "--json").out)["secret"] == "swordfish"


def test_status_without_a_name_shows_all(run: Any) -> None:
    assert "raycache up NAME" in run("status").out
    assert json.loads(run("status", "--json").out) == []
    run("up", "features")
    run("up", "sessions")
    outcome = run("status")
    assert "features: serving" in outcome.out
    assert "sessions: serving" in outcome.out
    assert [record["name"] for record in json.loads(run("status", "--json").out)] == ["features", "sessions"]
    assert run("status", "--secret").code == 2


def test_status_for_programs_has_the_derived_figures(run: Any) -> None:
    run("up", "features")
    record = json.loads(run("status", "features", "--json").out)
    assert record["entries"] == 3003
    assert record["hit_ratio"] == 0.75
    assert [shard["hit_ratio"] for shard in record["shards"]] == [0.0, 0.75, 0.75]
