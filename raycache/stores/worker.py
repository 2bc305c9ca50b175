"""The writer of a store at work: a thread around its core.

What lives here: asking shards, calling the store, waiting. What does not: what comes next (`writer`), what starts it
(`raycache.actors.store` in Ray, `raycache.testing.local` without).
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Final

from raycache.client.dispatcher import Dispatcher
from raycache.client.info import ConnectionInfo
from raycache.client.retry import RETRIED, NoOwner
from raycache.client.settings import ClientSettings
from raycache.codec import decode_payload
from raycache.errors import RayCacheError, StoreRefusedError, WriterReplacedError
from raycache.stores import wire
from raycache.stores.config import Attachment
from raycache.stores.protocol import BackingStore, Deletion, Write
from raycache.stores.writer import Bury, Pause, Pull, Remove, Store, Waiting, Writer, WriterSettings

log = logging.getLogger(__name__)

TIMEOUT_S: Final = 5.0
LOOK_S: Final = 1.0
"""How often a newer topology is looked for: a shard that nobody knows of is asked for nothing."""
_REFUSALS: Final = (StoreRefusedError, ValueError, TypeError, OverflowError)
_GONE: Final = "this writer has been replaced"


class WriterThread:
    """Writes what waits in a cluster's shards to one store, until it is closed.

    Args:
        info: how to reach the cluster.
        refresh_info: asks whoever knows when no shard of `info` answers.
        store: the store itself, where it has been opened already.
        number: larger than that of every writer of this store before, so that those are not answered any more; None:
            unix milliseconds.
    """

    def __init__(self, info: ConnectionInfo, attachment: Attachment, settings: WriterSettings | None = None, *,
                 refresh_info: Callable[[], ConnectionInfo] | None = None, store: BackingStore | None = None,
                 number: int | None = None) -> None:
        self.attachment = attachment
        self.number = time.time_ns() // 1_000_000 if number is None else number
        self._dispatcher = Dispatcher(info, ClientSettings(TIMEOUT_S), refresh_info)
        self._store = store
        self._settings = settings or WriterSettings()
        self._writer = Writer(self._settings, random.Random())
        self._ended = threading.Event()
        self._wake = threading.Event()
        self._is_closing = self._is_drained = False
        self._looked_s = float("-inf")
        self._told = ""
        self.failure = ""
        """Why it has ended by itself, "" if it has not."""
        self._thread = threading.Thread(target=self._run, name=f"raycache-writer-{attachment.name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def status(self) -> dict[str, Any]:
        """Return what it has done, of plain types and without passwords."""
        return {**asdict(self._writer.figures), "number": self.number, "is_alive": self._thread.is_alive(),
                "failure": self.failure, "store": self.attachment.shown}

    def drain(self, timeout_s: float) -> bool:
        """Let the shards take no more for this store, and return whether all that waited was written in time, or
        buried."""
        self._is_closing, self._is_drained = True, False
        self._wake.set()
        end_s = time.monotonic() + timeout_s
        while not self._is_drained and time.monotonic() < end_s and self._thread.is_alive():
            time.sleep(0.01)
        return self._is_drained

    def reopen(self) -> None:
        """Take writes again after `drain`."""
        self._is_closing = False

    def close(self) -> None:
        """End it, wherever it is: what it has not finished waits in the shards. Idempotent."""
        self._ended.set()
        self._wake.set()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(2 * TIMEOUT_S)
        self._dispatcher.close()
        if self._store is not None and hasattr(self._store, "close"):
            self._store.close()

    # The thread

    def _run(self) -> None:
        writer = self._writer
        while not self._ended.is_set():
            try:
                self._do(writer)
            except WriterReplacedError as error:
                self.failure = f"{_GONE}: {error}"
                log.warning("the writer of store %s ends: %s", self.attachment.name, self.failure)
                return
            except (RayCacheError, *RETRIED) as error:
                if self._ended.is_set():
                    return
                log.info("store %s: the cache cannot be asked: %s", self.attachment.name, error)
                writer.cache_failed(str(error), time.monotonic())
            except Exception as error:
                log.exception("the writer of store %s has failed and goes on", self.attachment.name)
                writer.cache_failed(f"internal error: {type(error).__name__}", time.monotonic())

    def _do(self, writer: Writer) -> None:
        step = writer.next_step(time.monotonic())
        match step:
            case Pause(seconds):
                self._wake.wait(seconds)
                self._wake.clear()
            case Pull(count):
                is_closing = self._is_closing
                records, is_complete = self._pull(count, is_closing=is_closing)
                if is_closing and is_complete and not records:
                    # A slot may have come meanwhile to a shard that was asked before: it would have to move twice.
                    records, is_complete = self._pull(count, is_closing=is_closing)
                writer.pulled(records, time.monotonic(), is_complete=is_complete)
                self._is_drained = is_closing and self._is_closing and writer.is_drained
            case Store(batch):
                self._write(writer, batch)
            case Remove(batch):
                self._dispatcher.run_batch(wire.DequeueMany(self.attachment.name, self.number, batch))
                writer.removed(time.monotonic())
            case Bury(one, reason):
                self._dispatcher.run_batch(wire.BuryOne(self.attachment.name, self.number, one, reason))
                writer.removed(time.monotonic())
                log.warning("store %s: a write is a dead letter: %s", self.attachment.name, reason)

    def _pull(self, count: int, *, is_closing: bool) -> tuple[list[Waiting], bool]:
        """Return the oldest of every shard, and whether all have answered."""
        dispatcher = self._dispatcher
        now_s = time.monotonic()
        if is_closing or now_s - self._looked_s >= LOOK_S:
            self._looked_s = now_s
            dispatcher.look_around(NoOwner("it is looked for new shards every so often"))
        routes = dispatcher.routes()
        found: list[Waiting] = []
        is_complete = True
        question = wire.queued(self.attachment.name, self.number, count, is_closing=is_closing)
        for shard_id in routes.shard_ids:
            answered, silent = dispatcher.ask_each([shard_id], question)
            is_complete = is_complete and not silent and bool(answered)
            for records in answered:
                found += records
        # While slots move, two shards may hand out the same: the newest is meant.
        newest = {one.record: one for one in sorted(found, key=lambda one: one.version)}
        return sorted(newest.values(), key=lambda one: one.queued_ms), is_complete

    def _write(self, writer: Writer, batch: Sequence[Waiting]) -> None:
        try:
            writes, deletions = _changes(batch)
            store = self._opened()
            if writes:
                store.store_many(writes)
            if deletions:
                store.delete_many(deletions)
        except _REFUSALS as error:
            writer.refused(self.attachment.clean(error), time.monotonic())
        except Exception as error:
            reason = self.attachment.clean(error)
            if reason != self._told:  # once for each outage
                log.warning("store %s cannot be written to, and is tried again: %s", self.attachment.name, reason)
            self._told = reason
            writer.unavailable(reason, time.monotonic())
        else:
            self._told = ""
            writer.stored(time.monotonic())

    def _opened(self) -> BackingStore:
        if self._store is None:
            try:
                self._store = self.attachment.open()
            except ValueError as error:  # no write is at fault: somebody has to mend the settings
                raise ConnectionError(str(error)) from error
        return self._store


def _changes(batch: Sequence[Waiting]) -> tuple[list[Write], list[Deletion]]:
    """Return what the store is to do.

    Raises:
        ValueError: a key is no text, or a value cannot be decoded.
    """
    writes, deletions = [], []
    for one in batch:
        key = one.key.decode()  # UnicodeDecodeError is a ValueError
        if one.payload is None:
            deletions.append(Deletion(key, one.version))
            continue
        try:
            writes.append(Write(key, decode_payload(one.payload), one.version))
        except RayCacheError as error:
            raise ValueError(f"the value of {key!r} cannot be decoded: {error}") from error
    return writes, deletions
