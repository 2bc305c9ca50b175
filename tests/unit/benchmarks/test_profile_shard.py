"""The profile runs the commands it says, on the shard's own hot path. How long they take is not looked at."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from benchmarks import profile_shard
from benchmarks.profile_shard import CASES, NOW_MS, Case
from raycache.shard.core import ShardCore
from raycache.store import Store, make_policy

GET, SET, EVICT = CASES


def core_with(capacity_bytes: int) -> ShardCore:
    core = ShardCore(store=Store(capacity_bytes=capacity_bytes, policy=make_policy("lru")), started_ms=NOW_MS)
    core.now_ms = NOW_MS
    return core


def commands(case: Case, count: int) -> list[list[bytes]]:
    return [case.argv(b"k%d" % number) for number in range(count)]


def test_frames_are_what_clients_send() -> None:
    assert profile_shard.frame([b"GET", b"k1"]) == b"*2\r\n$3\r\nGET\r\n$2\r\nk1\r\n"


@pytest.mark.parametrize(("batch", "reads"), [(1, 20), (16, 2)])
def test_batches_hold_every_command_once(batch: int, reads: int) -> None:
    asked = commands(GET, 20)
    found = profile_shard.reads_of(asked, batch)
    assert len(found) == reads
    assert b"".join(found) == b"".join(map(profile_shard.frame, asked))


@pytest.mark.parametrize("batch", [1, 16])
def test_a_turn_executes_every_command_and_gets_hit(batch: int) -> None:
    core = core_with(profile_shard.ROOMY_BYTES)
    profile_shard.turn_ns(core, commands(SET, 20), batch)
    profile_shard.turn_ns(core, commands(GET, 20), batch)
    assert (len(core.store), core.store.stats.hits, core.store.stats.misses) == (20, 20, 0)
    assert core.commands == 40
    assert core.errors == 0
    assert not core.sessions


def test_the_store_is_asked_alone() -> None:
    store = core_with(profile_shard.ROOMY_BYTES).store
    profile_shard.store_ns(store, commands(SET, 20))
    profile_shard.store_ns(store, commands(GET, 20))
    assert (store.stats.inserts, store.stats.hits) == (20, 20)


def test_the_evicting_case_evicts() -> None:
    core = core_with(1 << 20)
    profile_shard.turn_ns(core, commands(EVICT, 10_000), 16)
    assert core.store.stats.evicted > 0


def test_every_case_is_measured_in_every_layer() -> None:
    for case in CASES:
        layers = profile_shard.measure(case, "lru", keys=10, count=20, rounds=1)
        assert list(layers) == ["turn of 1", "turn of 16", "of which parsing", "of which store"]
        assert min(layers.values()) > 0


def test_the_table_names_cases_and_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile_shard.gc, "disable", lambda: None)
    result = CliRunner().invoke(
        profile_shard.main, ["--policy", "fifo", "--keys", "10", "--count", "20", "--rounds", "1"]
    )
    assert result.exit_code == 0, result.output
    assert all(word in result.output for word in ("fifo", "GET hit", "SET replace", "SET evicting"))
