"""`upgrade`: what it asks for, in which order, and what it says at the end."""

from __future__ import annotations

import json
from typing import Any

from raycache.errors import ChangeUnderWayError


def test_shards_then_the_router_and_what_that_cost(run: Any, backend: Any) -> None:
    run("up", "features", "--shards", "2")
    outcome = run("upgrade", "features")
    assert outcome.code == 0
    assert backend.wishes == [("upgrade", "features"), ("restart router", "features")]
    first, header, s0, _, gateways = outcome.out.splitlines()
    assert first == "upgrade of 2 shards: 4,096 slots moved, 250,000 entries, 25.0 MiB in 8.2 s, 0 misses caused"
    assert header.split("  ")[0] == "shard"
    assert s0.split() == ["s0", "10.0.0.1", "0.1.0", "0.2.0", "3.0", "s"]
    assert "`raycache upgrade features --gateways` replaces them, too" in gateways


def test_the_gateways_only_where_that_is_asked_for(run: Any, backend: Any) -> None:
    run("up", "features")
    record = json.loads(run("upgrade", "features", "--gateways", "--json").out)
    assert backend.wishes[-1] == ("restart gateways", "features")
    assert record["gateways_restarted"] == 1
    assert record["versions_before"] == {"s0": "0.1.0", "s1": "0.1.0", "s2": "0.1.0"}
    assert {shard["version"] for shard in record["shards"]} == {"0.2.0"}
    assert record["change"]["misses"] == 0
    assert "replaces them, too" not in run("upgrade", "features", "--gateways").out


def test_who_does_not_wait_restarts_nothing_yet(run: Any, backend: Any) -> None:
    run("up", "features")
    outcome = run("upgrade", "features", "--no-wait")
    assert outcome.out == "features: nothing to do\n"
    assert backend.wishes == [("upgrade", "features")]


def test_another_change_is_one_line(run: Any, backend: Any) -> None:
    run("up", "features")
    backend.failure = ChangeUnderWayError("drain s1 is under way since 2 s: wait until it is complete, or cancel it")
    outcome = run("upgrade", "features")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == "raycache: drain s1 is under way since 2 s: wait until it is complete, or cancel it\n"
