"""`ring`: shares now, and what a change would move."""

from __future__ import annotations

import json
from typing import Any

import pytest

SLOTS = 16384


@pytest.mark.parametrize("shards", [2, 3, 7])
def test_shares_and_moves_add_up(run: Any, shards: int) -> None:
    run("up", "features", "--shards", str(shards), "--memory", "1GiB")
    record = json.loads(run("ring", "features", "--json").out)
    assert sum(shard["slots"] for shard in record["shards"]) == SLOTS
    assert sum(shard["share"] for shard in record["shards"]) == pytest.approx(1)
    for shard in record["shards"]:
        removal = shard["removing_it"]
        assert removal["moved"] >= shard["slots"]
        assert shard["id"] not in removal["shares_after"]
        assert sum(removal["shares_after"].values()) == SLOTS


@pytest.mark.parametrize("shards", [1, 3])
def test_one_more_shard_takes_its_share_and_no_more(run: Any, shards: int) -> None:
    run("up", "features", "--shards", str(shards))
    added = json.loads(run("ring", "features", "--json").out)["adding_one"]
    new = f"s{shards}"
    assert {move["to"] for move in added["moves"]} == {new}
    assert added["moved"] == added["shares_after"][new] <= 1.05 * SLOTS / (shards + 1)


def test_the_only_shard_cannot_be_removed(run: Any) -> None:
    run("up", "features", "--shards", "1")
    assert json.loads(run("ring", "features", "--json").out)["shards"][0]["removing_it"] is None
    assert "everything" in run("ring", "features").out


def test_for_people(run: Any) -> None:
    run("up", "features", "--shards", "3")
    lines = run("ring", "features").out.splitlines()
    assert lines[0] == "features: epoch 7, 16,384 slots on 3 shards"
    assert lines[2].startswith("s0")
    assert "5,461 (33.3%)" in lines[2] or "5,462 (33.3%)" in lines[2]
    assert lines[5].startswith("adding one shard moves 4,096 (25.0%) slots: ")
