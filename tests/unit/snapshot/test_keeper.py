"""Snapshots of a real store into real files, and which of them may be loaded by whom."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raycache.config import ClusterConfig
from raycache.ring.slots import SLOT_COUNT, bitmap_of, slot_of
from raycache.ring.topology import ShardInfo, Topology, Transfer
from raycache.shard.build import build_server
from raycache.shard.core import ShardCore
from raycache.snapshot import files, keeper
from raycache.snapshot.keeper import SnapshotKeeper
from raycache.testing import FakeClock

START_MS = 1_700_000_000_000


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "PAUSE_S", 0)


@pytest.fixture
def clock() -> Iterator[FakeClock]:
    return FakeClock(unix_ms=START_MS)  # type: ignore[return-value]


def info(shard_id: str, incarnation: int) -> ShardInfo:
    return ShardInfo(shard_id, "h", 1, "n", "m", "", "up", 1, incarnation)


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


class Process:
    """One life of shard s0: a core that serves nothing yet, and its keeper."""

    def __init__(self, folder: Path, clock: FakeClock, copies: int = 2, cluster: str = "c",
                 life: str = "first") -> None:
        config = ClusterConfig(name=cluster, copies=copies)
        self.clock = clock
        self.core: ShardCore = build_server(config, "s0", secret=None, require_auth=False, clock=clock).core
        self.copies = copies
        self.keeper = SnapshotKeeper(self.core, cluster, str(folder), interval_s=60.0, tombstone_ttl_s=600.0,
                                     clock=clock, life=life)
        self.session = self.core.open_session("test:0")

    def topology(self, epoch: int = 1, *, elsewhere: set[int] | None = None, **changes: Any) -> Topology:
        """Shard s0 is primary of all slots but those `elsewhere`."""
        owners = np.zeros((SLOT_COUNT, self.copies), dtype=np.int16)
        owners[:, 1:] = 1
        for slot in elsewhere or ():
            owners[slot] = 1 if self.copies == 1 else (1, -1)
        return Topology("c", epoch, (info("s0", self.core.started_ms), info("s1", 1)), owners, **changes)

    def serve(self, epoch: int = 1, **changes: Any) -> Topology:
        table = self.topology(epoch, **changes)
        self.core.set_topology(table)
        if (replicator := self.core.replicator) is not None:
            replicator.lease_until_s = float("inf")
            replicator.on_change()
        return table

    def run(self, line: str) -> Any:
        self.core.now_ms = self.clock.unix_ms()
        reply = self.core.execute(self.session, line.encode().split())
        assert isinstance(reply, bytes)
        return reply

    def value(self, key: str) -> bytes | None:
        entry = self.core.store.peek(key.encode(), self.clock.unix_ms())
        return entry.value if entry is not None else None


def restarted(old: Process, folder: Path, seconds: float = 5, **changes: Any) -> Process:
    old.clock.advance(seconds)
    return Process(folder, old.clock, **{"copies": old.copies, **changes})


async def filled(folder: Path, clock: FakeClock, copies: int = 2, entries: int = 500) -> Process:
    process = Process(folder, clock, copies)
    process.serve()
    for number in range(entries):
        process.run(f"SET k{number} v{number}")
    process.run("SET brief x PX 3000")
    process.run("SET long x PX 3000000")
    process.run("DEL k1")
    assert await process.keeper.write()
    return process


@pytest.mark.parametrize("copies", [1, 2])
async def test_a_restarted_shard_has_its_entries_again_with_versions_and_expiries(
    tmp_path: Path, clock: FakeClock, copies: int
) -> None:
    old = await filled(tmp_path, clock, copies)
    last = old.core.topology
    new = restarted(old, tmp_path)
    assert await new.keeper.load(last) == 500  # 499 and the one that expires late
    assert [new.value("k0"), new.value("k499"), new.value("k1"), new.value("brief")] == [b"v0", b"v499", None, None]
    late = new.core.store.peek(b"long", clock.unix_ms())
    assert late is not None
    assert late.expires_ms == START_MS + 3_000_000
    if copies > 1:
        before, after = (one.core.store.peek(b"k0", clock.unix_ms()) for one in (old, new))
        assert before is not None
        assert after is not None
        assert after.version == before.version > 0
        assert new.core.replicator is not None
        assert b"k1" in new.core.replicator.copies.tombstones


@pytest.mark.parametrize("copies", [1, 2])
async def test_a_cluster_started_anew_under_its_name_brings_nothing_back(tmp_path: Path, clock: FakeClock, copies: int,
                                                                         caplog: Any) -> None:
    old = await filled(tmp_path, clock, copies)
    new = restarted(old, tmp_path, life="second")
    assert await new.keeper.load(None) == 0
    new.serve()
    assert new.run("GET k0") == b"$-1\r\n"
    assert "left by an earlier cluster c, which has ended" in caplog.text
    assert names_in(tmp_path) == ["c-s0.snapshot"]


@pytest.mark.parametrize("copies", [1, 2])
async def test_until_the_router_says_more_it_serves_nothing_and_then_what_is_its_own(
    tmp_path: Path, clock: FakeClock, copies: int
) -> None:
    old = await filled(tmp_path, clock, copies)
    new = restarted(old, tmp_path)
    await new.keeper.load(old.core.topology)
    assert new.run("GET k0").startswith(b"-CLUSTERDOWN")
    new.run("READONLY")
    assert new.run("GET k0").startswith(b"-CLUSTERDOWN"), "not even to those who take what is old"
    gone = slot_of(b"k7")
    new.serve(2, elsewhere={gone})
    assert new.run("GET k0") == b"$2\r\nv0\r\n"
    assert new.run("GET k7").startswith(b"-MOVED")
    while new.core.step(clock.unix_ms()):
        pass
    assert new.value("k7") is None
    assert new.value("k0") == b"v0"


async def test_what_is_newer_is_not_overwritten(tmp_path: Path, clock: FakeClock) -> None:
    old = await filled(tmp_path, clock)
    new = restarted(old, tmp_path)
    assert new.core.replicator is not None
    copies = new.core.replicator.copies
    new.core.set_topology(keeper.waiting_topology("c", "s0"))
    copies.merge((b"k0", 2**62, 0, 0, b"newer"))
    await new.keeper.load(old.core.topology)
    assert new.value("k0") == b"newer"


async def test_writing_goes_on_while_entries_come_and_go(tmp_path: Path, clock: FakeClock,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "BLOCK_BYTES", 512)
    old = await filled(tmp_path, clock, entries=2_000)
    writing = asyncio.ensure_future(old.keeper.write())
    number = 0
    while not writing.done():
        old.run(f"SET k{number % 2_000} changed")
        old.run(f"SET new{number} x")
        old.run(f"DEL k{1_999 - number % 1_000}")
        number += 1
        await asyncio.sleep(0)
    assert number > 5
    assert await writing
    new = restarted(old, tmp_path)
    await new.keeper.load(old.core.topology)
    for key in range(number, 999):
        assert new.value(f"k{key}") in ((b"v%d" % key, b"changed") if key != 1 else (None,)), key


@pytest.mark.parametrize("damage", ["torn", "bit", "empty", "other"])
async def test_a_damaged_file_is_reported_and_nothing_of_it_is_loaded(
    tmp_path: Path, clock: FakeClock, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    old = await filled(tmp_path, clock)
    data = bytearray(old.keeper.path.read_bytes())
    if damage == "bit":
        data[-40] ^= 4
    changed = {"torn": data[:-1], "bit": data, "empty": b"", "other": b"something else entirely"}[damage]
    old.keeper.path.write_bytes(changed)
    new = restarted(old, tmp_path)
    with caplog.at_level(logging.WARNING):
        assert await new.keeper.load(old.core.topology) == 0
    assert len(new.core.store) == 0
    assert "was ignored" in caplog.text
    assert "was ignored" in new.keeper.stats()["snapshot_failure"]
    new.serve(2)
    assert new.run("GET k0") == b"$-1\r\n"


async def test_without_a_file_it_starts_empty_and_says_nothing(tmp_path: Path, clock: FakeClock) -> None:
    new = Process(tmp_path, clock)
    assert await new.keeper.load(None) == 0
    assert new.keeper.stats()["snapshot_failure"] == ""
    new.serve()
    assert new.run("SET a 1") == b"+OK\r\n"


async def test_a_file_older_than_the_memory_of_deletions_is_not_loaded(tmp_path: Path, clock: FakeClock) -> None:
    old = await filled(tmp_path, clock)
    new = restarted(old, tmp_path, 601)
    assert await new.keeper.load(old.core.topology) == 0
    assert "601 s old" in new.keeper.stats()["snapshot_failure"]


async def test_a_clock_that_went_back_makes_a_file_suspect(tmp_path: Path, clock: FakeClock) -> None:
    old = await filled(tmp_path, clock)
    new = Process(tmp_path, FakeClock(unix_ms=START_MS - 10_000))
    assert await new.keeper.load(old.core.topology) == 0


async def test_another_shards_file_is_not_loaded(tmp_path: Path, clock: FakeClock) -> None:
    old = await filled(tmp_path, clock)
    other = Process(tmp_path, clock, cluster="d")
    old.keeper.path.rename(other.keeper.path)
    assert await other.keeper.load(None) == 0
    assert "of shard s0 of cluster c" in other.keeper.stats()["snapshot_failure"]


async def test_another_number_of_copies_makes_a_file_useless(tmp_path: Path, clock: FakeClock) -> None:
    old = await filled(tmp_path, clock, copies=1)
    new = restarted(old, tmp_path, copies=2)
    assert await new.keeper.load(new.topology()) == 0


# One copy: nobody else can have served meanwhile


async def test_one_copy_is_not_loaded_when_nobody_can_tell_who_served(tmp_path: Path, clock: FakeClock) -> None:
    old = await filled(tmp_path, clock, copies=1)
    for last in (None, Topology.empty("c")):
        assert await restarted(old, tmp_path, 1).keeper.load(last) == 0


async def test_one_copy_is_not_loaded_when_another_process_of_the_shard_served_since(
    tmp_path: Path, clock: FakeClock
) -> None:
    old = await filled(tmp_path, clock, copies=1)
    between = restarted(old, tmp_path)
    new = restarted(between, tmp_path)
    assert await new.keeper.load(between.topology()) == 0


async def test_one_copy_is_loaded_only_for_slots_that_nobody_else_has_served(tmp_path: Path, clock: FakeClock) -> None:
    old = await filled(tmp_path, clock, copies=1)
    gone, arriving = slot_of(b"k7"), slot_of(b"k9")
    transfer = Transfer("t", "s1", "s0", bitmap_of([arriving]))
    last = old.topology(3, elsewhere={gone}, transfers=(transfer,))
    new = restarted(old, tmp_path)
    assert await new.keeper.load(last) == 498
    assert [new.value("k0"), new.value("k7"), new.value("k9")] == [b"v0", None, None]


async def test_one_copys_snapshot_goes_when_a_slot_in_it_goes(tmp_path: Path, clock: FakeClock) -> None:
    old = await filled(tmp_path, clock, copies=1)
    old.serve(2)
    await old.keeper._watch()
    assert old.keeper.path.exists()
    old.serve(3, elsewhere={slot_of(b"k7")})
    await old.keeper._watch()
    assert not old.keeper.path.exists()
    assert await old.keeper.write()
    await old.keeper._watch()
    assert old.keeper.path.exists()


# Files


async def test_a_disk_that_refuses_is_reported_and_the_last_snapshot_stays(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = await filled(tmp_path, clock)
    before = old.keeper.path.read_bytes()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.SnapshotFile, "append", full)
    assert not await old.keeper.write()
    assert "No space left" in old.keeper.stats()["snapshot_failure"]
    assert names_in(tmp_path) == ["c-s0.snapshot"]
    assert old.keeper.path.read_bytes() == before


async def test_files_belong_to_their_user_alone(tmp_path: Path, clock: FakeClock) -> None:
    folder = tmp_path / "new" / "folder"
    old = await filled(folder, clock)
    assert old.keeper.path.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


async def test_what_a_crash_left_half_written_does_no_harm(tmp_path: Path, clock: FakeClock) -> None:
    old = await filled(tmp_path, clock)
    (tmp_path / "c-s0.snapshot.writing").write_bytes(b"RCSNAP torn")
    new = restarted(old, tmp_path)
    assert await new.keeper.load(old.core.topology) == 500
    assert await new.keeper.write()
    assert names_in(tmp_path) == ["c-s0.snapshot"]
