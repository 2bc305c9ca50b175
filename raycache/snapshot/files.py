"""Snapshot files on disk: appear whole or not at all, belong to their user alone, and are read with suspicion.

What lives here: opening, renaming, syncing, checking. What does not: bytes (`format`). Everything blocks: a shard calls
it in a thread.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from raycache.replication.mutation import Mutation
from raycache.snapshot.format import (
    Head,
    Sums,
    pack_head,
    read_blocks,
    read_head,
    seal_block,
    unpack_records,
)


class SnapshotFile:
    """A snapshot that is being written: into a file beside `path`, which takes its place at the end.

    Raises:
        OSError: from every method, as the disk has it.
    """

    def __init__(self, path: Path, head: Head) -> None:
        self._path = path
        self._beside = path.with_name(path.name + ".writing")
        self._sums = Sums()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        self._file = os.fdopen(descriptor, "wb")
        self._file.write(pack_head(head))

    def append(self, entries: int, parts: list[bytes]) -> None:
        """Write one block."""
        self._file.write(seal_block(entries, parts, self._sums))
        self._file.writelines(parts)

    def finish(self) -> tuple[int, int]:
        """Write the trailer and take the place of the last snapshot; return entries and bytes."""
        self._file.write(self._sums.trailer())
        self._file.flush()
        size = self._file.tell()
        os.fsync(self._file.fileno())
        self._file.close()
        os.replace(self._beside, self._path)
        _sync_folder(self._path.parent)
        return self._sums.entries, size

    def abandon(self) -> None:
        """Give it up; the last snapshot stays what it is."""
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self._beside.unlink()


def remove(path: Path) -> None:
    """Remove a snapshot, and what is left of one that was being written."""
    for one in (path, path.with_name(path.name + ".writing")):
        one.unlink(missing_ok=True)
    if path.parent.is_dir():
        _sync_folder(path.parent)


def check(path: Path) -> Head:
    """Read a whole snapshot and return its head.

    Raises:
        SnapshotError: it is torn or damaged.
        OSError: it is not there, or cannot be read.
    """
    with path.open("rb") as file:
        head = read_head(file)
        for _ in read_blocks(file):
            pass
    return head


def load(path: Path) -> Iterator[list[Mutation]]:
    """Yield the mutations of a snapshot that `check` has found whole, block by block. Raises as that does."""
    with path.open("rb") as file:
        read_head(file)
        yield from _unpacked(file)


def _unpacked(file: BinaryIO) -> Iterator[list[Mutation]]:
    for entries, payload in read_blocks(file):
        yield unpack_records(entries, payload)


def _sync_folder(folder: Path) -> None:
    """Make a rename last: until its folder is synced, a loss of power may undo it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
