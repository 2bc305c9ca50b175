"""A shard's snapshots: one every so often while it serves, and the last one back into it when it starts again.

What lives here: the pace, the decision whether a file may be loaded, and what is told of it. What does not: the file
(`files`, `format`). It belongs to the shard's loop; whatever touches the disk runs in a thread.

When a file is loaded. Never by another start of a cluster than that which wrote it: what a cluster held ends with it.
With copies (entries carry versions) whenever it is younger than tombstones are kept: what was
overwritten or deleted since is known by version to another copy, and repair brings it; an older file could bring back
what everybody has forgotten to have deleted. With one copy there is nobody to ask, so a file counts only if it was
written by the very process that served last, and for slots that the topology still names this shard for and that are
not on their way to it: then nobody else can have served them meanwhile. What was written after the snapshot is lost,
and what was deleted after it is back: a snapshot of one copy is as old as it is.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from raycache.clock import Clock
from raycache.replication.replicator import Replicator
from raycache.ring.slots import SLOT_COUNT, slot_of, slots_of_bitmap
from raycache.ring.topology import ShardInfo, Topology
from raycache.snapshot import files
from raycache.snapshot.format import BLOCK_BYTES, Head, SnapshotError, pack_records
from raycache.snapshot.gathering import walk
from raycache.store import WholeStore

log = logging.getLogger(__name__)

STEP_ENTRIES: Final = 200
"""Some 0.3 ms of the loop's time."""
PAUSE_S: Final = 0.002
"""Between two steps: a snapshot takes an eighth of the loop's time while it is written, a million entries 12 s."""
WATCH_S: Final = 1.0
"""How often it is looked whether slots have left, which makes a snapshot without versions worthless."""


class Host(Protocol):
    """The shard's core, as far as it is used here."""

    whole: WholeStore
    shard_id: str
    started_ms: int
    now_ms: int
    replicator: Replicator | None

    @property
    def topology(self) -> Topology | None:
        """The newest."""

    def set_topology(self, topology: Topology) -> bool:
        """Take it over if it is newer."""


class SnapshotKeeper:
    """One shard's snapshots.

    Args:
        core: the shard's; it must have a replicator.
        folder: where the file is, on the disk of this machine.
        tombstone_ttl_s: for how long deletions are remembered.
        life: which start of the cluster this is.
    """

    def __init__(self, core: Host, cluster: str, folder: str, *, interval_s: float, tombstone_ttl_s: float,
                 clock: Clock, life: str = "") -> None:
        assert core.replicator is not None
        self._core = core
        self._copies = core.replicator.copies
        self._cluster = cluster
        self._life = life
        self.path = Path(folder).expanduser() / f"{cluster}-{core.shard_id}.snapshot"
        self._interval_s = interval_s
        self._most_age_ms = int(tombstone_ttl_s * 1000)
        self._clock = clock
        self._is_writing = asyncio.Lock()
        self._held = b""
        self._stats: dict[str, Any] = {"loaded": 0, "entries": 0, "bytes": 0, "seconds": 0.0, "written": 0,
                                       "began_ms": 0, "failure": ""}

    def stats(self) -> dict[str, Any]:
        """Return what became of the last snapshot and the last load."""
        return {f"snapshot_{name}": figure for name, figure in self._stats.items()}

    # Loading

    async def load(self, last: Topology | None) -> int:
        """Bring the last snapshot into the store, before the shard serves; return how many entries came.

        Never raises: a file that is torn, damaged, too old or somebody else's is reported and left alone. Afterwards
        the shard has a topology under which it serves nothing yet.

        Args:
            last: the topology that the cluster holds while this shard is starting, None if nobody can tell.
        """
        core = self._core
        core.set_topology(waiting_topology(self._cluster, core.shard_id))
        self._copies.arriving[:] = b"\x01" * SLOT_COUNT  # nor does it read to anybody until the router says more
        try:
            head = await asyncio.to_thread(files.check, self.path)
            self._check_use(head, last)
            self._stats["loaded"] = await self._load(self._wanted(last))
        except FileNotFoundError:
            log.info("shard %s: there is no snapshot at %s", self._core.shard_id, self.path)
        except (OSError, SnapshotError) as error:
            self._fail(f"the snapshot {self.path} was ignored: {error}")
        else:
            age_s = (self._clock.unix_ms() - head.began_ms) / 1000
            log.info("shard %s: %d entries from a snapshot that is %.0f s old", self._core.shard_id,
                     self._stats["loaded"], age_s)
        return int(self._stats["loaded"])

    def _check_use(self, head: Head, last: Topology | None) -> None:
        """Raise SnapshotError where this file must not be used, whole as it is."""
        core, is_versioned = self._core, self._copies.is_versioned
        if (head.cluster, head.shard_id) != (self._cluster, core.shard_id):
            raise SnapshotError(f"it is of shard {head.shard_id} of cluster {head.cluster}")
        if head.life != self._life:
            raise SnapshotError(f"it was left by an earlier cluster {head.cluster}, which has ended")
        if head.is_versioned != is_versioned:
            raise SnapshotError("it was written with another number of copies")
        age_ms = self._clock.unix_ms() - head.began_ms
        if is_versioned and not 0 <= age_ms < self._most_age_ms:
            raise SnapshotError(f"it is {age_ms / 1000:.0f} s old, and deletions are remembered for "
                                f"{self._most_age_ms / 1000:.0f} s")
        if not is_versioned and not self._served_last(head, last):
            raise SnapshotError("another process of this shard may have served since")

    def _served_last(self, head: Head, last: Topology | None) -> bool:
        if last is None or not last.epoch:
            return False
        return any(shard.id == head.shard_id and shard.incarnation == head.incarnation for shard in last.shards)

    def _wanted(self, last: Topology | None) -> bytearray:
        """Return for each slot whether its entries are to be loaded."""
        wanted = np.ones(SLOT_COUNT, dtype=np.uint8)
        if last is not None and last.epoch:
            wanted[:] = 0
            wanted[last.slots_owned(self._core.shard_id)] = 1
            for transfer in () if self._copies.is_versioned else last.transfers_to(self._core.shard_id):
                wanted[slots_of_bitmap(transfer.slots)] = 0
        return bytearray(wanted.tobytes())

    async def _load(self, wanted: bytearray) -> int:
        copies, blocks, loaded = self._copies, files.load(self.path), 0
        while (block := await asyncio.to_thread(next, blocks, None)) is not None:
            now_ms = self._core.now_ms = self._clock.unix_ms()
            for at in range(0, len(block), STEP_ENTRIES):
                for mutation in block[at : at + STEP_ENTRIES]:
                    if wanted[slot_of(mutation[0])] and not 0 < mutation[3] <= now_ms:
                        loaded += copies.merge(mutation) and mutation[4] is not None
                await asyncio.sleep(0)
        return loaded

    # Writing

    async def run(self) -> None:
        """Write a snapshot every so often, for ever. What goes wrong is told and tried again."""
        due_s = self._clock.monotonic_s() + self._interval_s
        while True:
            await asyncio.sleep(WATCH_S)
            await self._watch()
            if self._clock.monotonic_s() >= due_s:
                await self.write()
                due_s = self._clock.monotonic_s() + self._interval_s

    async def write(self) -> bool:
        """Write a snapshot now, in steps; return whether it is there."""
        async with self._is_writing:
            began_s = self._clock.monotonic_s()
            self._held = self._slots_held()
            head = self._head()
            try:
                file = await asyncio.to_thread(files.SnapshotFile, self.path, head)
                try:
                    await self._fill(file)
                    entries, size = await asyncio.to_thread(file.finish)
                except BaseException:
                    file.abandon()
                    raise
            except OSError as error:
                self._fail(f"no snapshot could be written to {self.path}: {error}")
                return False
            self._stats |= {"entries": entries, "bytes": size, "seconds": self._clock.monotonic_s() - began_s,
                            "written": self._stats["written"] + 1, "began_ms": head.began_ms, "failure": ""}
            return True

    def _head(self) -> Head:
        core = self._core
        topology = core.topology
        return Head(cluster=self._cluster, shard_id=core.shard_id, incarnation=core.started_ms,
                    epoch=topology.epoch if topology is not None else 0, began_ms=self._clock.unix_ms(),
                    is_versioned=self._copies.is_versioned, life=self._life)

    async def _fill(self, file: files.SnapshotFile) -> None:
        parts: list[bytes] = []
        count = size = 0
        for some in walk(self._core.whole, self._copies, self._clock.unix_ms(), STEP_ENTRIES):
            records = pack_records(some)
            parts += records
            count += len(some)
            size += sum(map(len, records))
            if size >= BLOCK_BYTES:
                await asyncio.to_thread(file.append, count, parts)
                parts, count, size = [], 0, 0
            await asyncio.sleep(PAUSE_S)
        if count:
            await asyncio.to_thread(file.append, count, parts)

    async def _watch(self) -> None:
        """Without versions a snapshot is worthless once a slot in it has left: it may come back with other entries."""
        if self._copies.is_versioned or not self._held:
            return
        held = self._slots_held()
        if any(before and not now for before, now in zip(self._held, held, strict=True)):
            self._held = b""
            try:
                await asyncio.to_thread(files.remove, self.path)
            except OSError as error:
                self._fail(f"the snapshot {self.path} is out of date and cannot be removed: {error}")

    def _slots_held(self) -> bytes:
        return bytes(self._copies.holds)

    def _fail(self, text: str) -> None:
        self._stats["failure"] = text
        log.warning("shard %s: %s", self._core.shard_id, text)


def waiting_topology(cluster: str, shard_id: str) -> Topology:
    """Return the topology of a shard that holds everything and serves nothing, until the router says more.

    Under the empty one whatever is loaded would count as left over from slots that went elsewhere.
    """
    me = ShardInfo(shard_id, "", 0, "", "", "", "starting", 0, 0)
    owners = np.full((SLOT_COUNT, 2), -1, dtype=np.int16)
    owners[:, 1] = 0
    return Topology(cluster, 0, (me,), owners)


