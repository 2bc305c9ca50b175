"""What the page is told: topology and statistics in, JSON out."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest

from raycache.actors.described import status_of
from raycache.client.top import ClusterUse, HotKey
from raycache.ring.placement import PlacedShard, build_table
from raycache.ring.topology import ShardInfo, Topology
from raycache.usage.rows import FunctionUse
from serve_app.page.feed import Memory, latency, ring_of, tick_of

NOW_S = 1_700_000_000.0


def topology(shards: int = 3, copies: int = 1) -> Topology:
    infos = tuple(ShardInfo(f"s{at}", "h", 7000 + at, f"n{at}", f"m{at % 2}", f"z{at % 2}", "up", 1 << 20, 1)
                  for at in range(shards))
    table = build_table([PlacedShard(one.id, one.machine, one.zone, one.weight) for one in infos], copies=copies,
                        vnodes_per_shard=8, max_load=1.25, previous=None)
    return Topology("features", 5, infos, table)


def stats(hits: int = 0, misses: int = 0, **more: Any) -> dict[str, Any]:
    return {"entries": 10, "used_bytes": 1000, "capacity_bytes": 4000, "hits": hits, "misses": misses,
            "commands_per_s": 50.0, "rejected": 0, **more}


class World:
    """A cluster as the router and the shards describe it, tick by tick."""

    def __init__(self, **shape: Any) -> None:
        self.topology = topology(**shape)
        self.memory = Memory()
        self.events: list[dict[str, Any]] = []
        self.warnings: list[str] = []
        self.change: dict[str, Any] = {"change": None}
        self.use = ClusterUse("features", (), {}, 0.0, 0.0)

    def tick(self, given: dict[str, dict[str, Any]], now_s: float = NOW_S) -> dict[str, Any]:
        described = {"restarts": {"s1": 2}, "policy": "lru", "memory_per_shard_bytes": 4000, "warnings": self.warnings,
                     "requires_auth": False, "secret": "hush", "events": self.events}
        status = status_of("features", described, self.topology, given)
        found = tick_of(status, self.topology, given, self.use, self.change, self.memory, now_s)
        assert "hush" not in json.dumps(found)
        return found


def every(**figures: Any) -> dict[str, dict[str, Any]]:
    return {f"s{at}": stats(**figures) for at in range(3)}


def test_the_ring_has_every_slot_once_and_in_order() -> None:
    table = topology()
    ring = json.loads(json.dumps(ring_of(table)))
    assert sum(length for length, _ in ring["runs"]) == ring["slots"] == 16384
    drawn = np.repeat([index for _, index in ring["runs"]], [length for length, _ in ring["runs"]])
    assert (drawn == table.owners[:, 0]).all()
    assert all(a[1] != b[1] for a, b in zip(ring["runs"], ring["runs"][1:], strict=False))
    assert [(one["id"], one["machine"], one["zone"]) for one in ring["shards"]] == [
        ("s0", "m0", "z0"), ("s1", "m1", "z1"), ("s2", "m0", "z0")]
    assert sum(one["slots"] for one in ring["shards"]) == 16384


def test_slots_of_nobody_are_drawn_too() -> None:
    ring = ring_of(Topology.empty("features"))
    assert (ring["runs"], ring["shards"]) == ([[16384, -1]], [])


def test_sixteen_shards_are_a_small_document() -> None:
    assert len(json.dumps(ring_of(topology(16)))) < 20_000
    world = World(shards=16)
    given = {f"s{at}": stats(hits=10**9, misses=10**9) for at in range(16)}
    assert len(json.dumps(world.tick(given))) < 16_000


def test_a_shard_row_joins_topology_and_figures() -> None:
    row = World().tick(every(hits=30, misses=10))["shards"][1]
    assert {name: row[name] for name in ("id", "state", "answers", "machine", "zone", "address", "ops", "hit_ratio",
                                         "restarts", "used_bytes", "capacity_bytes", "entries")} == {
        "id": "s1", "state": "up", "answers": True, "machine": "m1", "zone": "z1", "address": "h:7001", "ops": 50.0,
        "hit_ratio": 0.75, "restarts": 2, "used_bytes": 1000, "capacity_bytes": 4000, "entries": 10}


def test_the_hit_ratio_of_now_is_that_between_two_ticks() -> None:
    world = World()
    assert world.tick(every(hits=100, misses=0))["totals"]["hit_ratio_now"] is None
    found = world.tick(every(hits=101, misses=3), NOW_S + 1)
    assert (found["shards"][0]["hit_ratio_now"], found["totals"]["hit_ratio_now"]) == (0.25, 0.25)
    assert found["totals"]["hit_ratio"] == pytest.approx(101 / 104)
    assert world.tick(every(hits=101, misses=3), NOW_S + 2)["totals"]["hit_ratio_now"] is None  # nobody read
    assert world.tick(every(hits=5, misses=0), NOW_S + 3)["shards"][0]["hit_ratio_now"] is None  # a new process
    assert world.tick(every(hits=9, misses=0), NOW_S + 30)["shards"][0]["hit_ratio_now"] is None  # too long ago


def test_a_shard_that_does_not_answer_is_there_and_says_so() -> None:
    given = every()
    del given["s2"]
    rows = World().tick(given)["shards"]
    assert [(row["id"], row["answers"]) for row in rows] == [("s0", True), ("s1", True), ("s2", False)]


def test_latency_is_that_of_single_reads_where_there_are_any() -> None:
    classes = {"read": {"p50_us": 40.0, "p99_us": 90.0, "count": 3}, "write": {"p50_us": 70, "p99_us": 300, "count": 9}}
    assert latency({"latency": classes}) == (40.0, 90.0)
    assert latency({"latency": classes | {"read": {"p50_us": 0, "p99_us": 0, "count": 0}}}) == (70, 300)
    assert latency({"latency": {}}) == latency({}) == (None, None)
    world = World()
    given = every(latency=classes) | {"s1": stats(latency={"read": {"p50_us": 50.0, "p99_us": 80.0, "count": 1}})}
    totals = world.tick(given)["totals"]
    assert (totals["p50_us"], totals["p99_us"]) == (50.0, 90.0)


def test_lag_and_loss_window_come_from_the_others_accounts() -> None:
    world = World(copies=2)
    given = every()
    peer = {"lag_mutations": 4, "lag_bytes": 400, "lag_s": 0.5, "hints_dropped": 0}
    given["s0"]["replication"] = {"peers": {"s1": peer}, "loss_window": {"mutations": 4, "bytes": 400, "age_s": 0.5},
                                  "has_lease": True}
    found = world.tick(given)
    assert found["shards"][1]["lag"] == {"mutations": 4, "bytes": 400, "age_s": 0.5, "dropped": 0}
    assert found["shards"][0]["loss"] == {"mutations": 4, "bytes": 400, "age_s": 0.5}
    assert (found["totals"]["lag_s"], found["totals"]["loss"]["mutations"], found["copies"]) == (0.5, 4, 2)


def test_refusals_become_events_when_they_happen() -> None:
    world = World()
    assert world.tick(every(rejected=7))["events"] == []
    found = world.tick(every(rejected=7) | {"s1": stats(rejected=19)}, NOW_S + 1)
    assert [(one["kind"], one["text"], one["at"]) for one in found["events"]] == [
        ("refused", "s1 refused 12 writes for want of space", NOW_S + 1)]
    assert len(world.tick(every(rejected=7) | {"s1": stats(rejected=19)}, NOW_S + 2)["events"]) == 1


def test_the_routers_events_keep_their_numbers_from_tick_to_tick() -> None:
    world = World()
    world.events = [{"age_s": 1.0, "kind": "failover", "text": "s1 leads 5 slots of s0"},
                    {"age_s": 2.0, "kind": "lost", "text": "s0: its process ended"}]
    first = world.tick(every())["events"]
    assert [(one["id"], one["kind"]) for one in first] == [(2, "failover"), (1, "lost")]
    world.events = [{**one, "age_s": one["age_s"] + 1.04} for one in world.events]
    world.events.insert(0, {"age_s": 0.1, "kind": "lost", "text": "s0: its process ended"})  # once more
    again = world.tick(every(), NOW_S + 1)["events"]
    assert [one["id"] for one in again] == [3, 2, 1]
    assert again[1:] == first


def test_keys_are_text_and_their_bytes_beside_it() -> None:
    world = World()
    key = b"\xff<b>\n"
    world.use = ClusterUse("features", (HotKey(key, "s0", 0.5, 0.0, 100.0),), {"m.f<i>": FunctionUse(hits=3, loads=1)},
                           4.0, 200.0)
    found = world.tick(every())
    assert found["hot"][0]["key"] == "\\xff<b>\\n"
    assert base64.urlsafe_b64decode(found["hot"][0]["key64"]) == key
    assert (found["functions"][0]["name"], found["functions"][0]["calls"]) == ("m.f<i>", 4)


def test_a_change_under_way_says_how_far_it_is() -> None:
    world = World()
    assert world.tick(every())["change"] is None
    world.change = {"change": {"text": "scale to 4"}, "slots_done": 100, "slots_total": 400}
    assert world.tick(every())["change"] == {"text": "scale to 4", "slots_done": 100, "slots_total": 400}
