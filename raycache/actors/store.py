"""The actor of one attached store: it knows how the store is attached and, with write-behind, is its writer.

What lives here: Ray's view of a `WriterThread`. What does not: writing (`raycache.stores`). It holds nothing that its
end could lose: what waits is in the shards, and Ray starts it again.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import Any, Final

from raycache.actors.launch import look_up
from raycache.stores.config import Attachment
from raycache.stores.worker import WriterThread
from raycache.stores.writer import WriterSettings

log = logging.getLogger(__name__)

_RETRY_S: Final = 0.5


class StoreActor:
    """One store of one cluster. Its methods run in threads of their own."""

    def __init__(self, cluster: str, attachment: Attachment, settings: WriterSettings) -> None:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
        self._cluster = cluster
        self._attachment = attachment
        self._settings = settings
        self._number = time.time_ns() // 1_000_000
        self._writer: WriterThread | None = None
        self._failure = ""
        if attachment.write == "behind":
            threading.Thread(target=self._boot, name="raycache-store-boot", daemon=True).start()

    def _boot(self) -> None:
        """Start the writer as soon as the cluster can be found: its router may be starting again, too."""
        try:
            self._attachment.open()
        except ValueError as error:
            self._failure = self._attachment.clean(error)
            log.error("store %s cannot be opened: %s", self._attachment.name, self._failure)
        while self._writer is None:
            try:
                info = look_up(self._cluster)
                writer = WriterThread(info, self._attachment, self._settings, number=self._number,
                                      refresh_info=lambda: look_up(self._cluster))
                writer.start()
                self._writer = writer
            except Exception as error:
                log.warning("cluster %s cannot be found yet: %s", self._cluster, error)
                time.sleep(_RETRY_S)

    def describe(self) -> tuple[Attachment, WriterSettings]:
        """Return how the store is attached."""
        return self._attachment, self._settings

    def status(self) -> dict[str, Any]:
        """Return what an operator may see: no passwords."""
        attachment, writer = self._attachment, self._writer
        table = attachment.config.table if attachment.config is not None and not attachment.config.is_class else ""
        known = {"name": attachment.name, "store": attachment.shown, "table": table, "write": attachment.write,
                 "read": attachment.read, "pid": os.getpid()}
        if attachment.write != "behind":
            return known
        figures = writer.status() if writer is not None else {"state": "starting", "failure": ""}
        return known | figures | {"failure": self._failure or figures["failure"]}

    def drain(self, timeout_s: float) -> bool:
        """Take no more writes; return whether all that waited is in the database in time. See `WriterThread.drain`."""
        end_s = time.monotonic() + timeout_s
        while self._writer is None and self._attachment.write == "behind" and time.monotonic() < end_s:
            time.sleep(0.02)
        if self._writer is None:
            return self._attachment.write != "behind"
        return self._writer.drain(max(0.0, end_s - time.monotonic()))

    def reopen(self) -> None:
        """Take writes again after `drain`."""
        if self._writer is not None:
            self._writer.reopen()
