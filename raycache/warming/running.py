"""One warming from beginning to end: batches, retries, stopping, resuming.

What lives here: the loop around a filler, in the caller's thread. What does not: the pace (`pace`), what a batch does
(`filling`), files (`files`), showing it (`raycache.cli`).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from raycache.errors import RayCacheError
from raycache.warming.controller import Observations
from raycache.warming.files import Position, ProgressFile, fingerprint
from raycache.warming.filling import Filler, LoadError
from raycache.warming.pace import Pace, WarmSettings
from raycache.warming.probing import Probe, Prober
from raycache.warming.report import RateHistory, WarmReport

SAVE_EVERY_S: Final = 1.0
_LOOK_S: Final = 0.25
"""While it waits for long, the probe is listened to so often."""

Watcher = Callable[[WarmReport, float], None]
"""Told of each batch: the report so far, and the rate aimed at in keys a second."""


class Warmer:
    """Fills a cluster with `keys`, the first ones first, no faster than `settings` allow.

    Args:
        filler: brings one batch into the cluster.
        keys: what to bring.
        settings: how gently.
        probe: something typical of the database's other clients; how long it takes is held to the bound as well.
        progress: where to remember how far it is; a run with the same keys goes on from there, and a run that is done
            removes it.
        cluster: for the progress file: which cluster is filled.
        watcher: told of each batch.
        stop: set it to end the run, as `stop` does.
        clock: monotonic seconds.
    """

    def __init__(self, filler: Filler, keys: Sequence[bytes], settings: WarmSettings, *, probe: Probe | None = None,
                 progress: ProgressFile | None = None, cluster: str = "", watcher: Watcher | None = None,
                 stop: threading.Event | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._filler = filler
        self._keys = keys
        self._settings = settings
        self._probe = probe
        self._progress = progress
        self._cluster = cluster
        self._watcher = watcher
        self._clock = clock
        self._pace = Pace(settings)
        self._stopped = stop or threading.Event()
        self.report = WarmReport(total=len(keys))
        """What has been done so far; also what `run` returns."""
        self._again: deque[tuple[bytes, int]] = deque()  # keys whose load failed, and how often
        self._list = ""  # the fingerprint of `keys`
        self._next = 0
        self._failures = 0
        self._began_s = 0.0
        self._saved_s = 0.0
        self._history = RateHistory(self.report)

    def stop(self) -> None:
        """End after the batch that is under way; what is done is remembered. Any thread, and signal handlers, too."""
        self._stopped.set()

    def run(self) -> WarmReport:
        """Do it; return the report. Once for each object.

        Raises:
            ValueError: the progress file is none.
            OSError: it cannot be read or written.
        """
        if self._progress is not None:
            self._list = fingerprint(self._keys)
            self._resume(self._progress)
        self._began_s = self._saved_s = self._clock()
        report = self.report
        try:
            with Prober(self._probe, self._settings.probe_every_s) as prober:
                while (self._again or self._next < len(self._keys)) and not self._stopped.is_set():
                    self._wait(prober)
                    if self._stopped.is_set():
                        break
                    self._do_batch(prober)
                    if self._failures >= self._settings.give_up_after:
                        report.end = "gave up"
                        break
        finally:
            if report.end == "done" and report.position < report.total:
                report.end = "stopped"
            self._note(is_last=True)
        return report

    def _resume(self, progress: ProgressFile) -> None:
        if (found := progress.read()) is not None:
            same = found.cluster == self._cluster and found.keys == self._list
            self._next = self.report.resumed_at = min(found.done, len(self._keys)) if same else 0

    def _wait(self, prober: Prober) -> None:
        while (wait_s := self._pace.wait_s(self._clock())) > 0 and not self._stopped.wait(min(wait_s, _LOOK_S)):
            if wait_s > _LOOK_S:
                self._pace.observe(self._clock(), prober.take())

    def _take(self) -> tuple[list[bytes], int]:
        """Return the keys to load now, and how often they have been tried."""
        size = self._pace.batch_size()
        if self._again:
            attempts = self._again[0][1]
            if attempts == self._settings.attempts - 1:
                size = 1  # by itself, for the last time
            keys: list[bytes] = []
            while self._again and len(keys) < size and self._again[0][1] == attempts:
                keys.append(self._again.popleft()[0])
            return keys, attempts
        keys = list(self._keys[self._next : self._next + size])
        self._next += len(keys)
        return keys, 0

    def _do_batch(self, prober: Prober) -> None:
        keys, attempts = self._take()
        report, began_s = self.report, self._clock()
        report.loads += 1
        latencies: list[float] = []
        weight = errors = 0
        try:
            filled = self._filler.fill(keys)
        except (LoadError, RayCacheError) as error:
            report.error = str(error) or type(error).__name__
            self._failed(keys, attempts + 1)
            weight = len(keys)
            errors = 1
        except BaseException:
            self._again.extendleft((key, attempts) for key in reversed(keys))  # interrupted: they are not done
            raise
        else:
            report.loaded += filled.loaded
            report.present += filled.present
            report.absent += filled.absent
            if filled.load_s is not None:
                latencies.append(filled.load_s)
                self._failures = 0
            if filled.refused:
                report.error = "too many keys were being loaded at the same time"
                self._failed(filled.refused, attempts + 1)
                errors = 1
            # Their next value is read after whatever happened to them.
            self._try_again(filled.overtaken, attempts + 1)
            weight = len(keys) - filled.present  # what was there has cost the database nothing
        probed = prober.take()
        seen = Observations([*latencies, *probed.latencies_s], errors + probed.errors)
        if weight:
            self._pace.loaded(began_s, self._clock(), weight, seen)
        else:
            self._pace.observe(self._clock(), seen)
        self._note()

    def _failed(self, keys: Sequence[bytes], attempts: int) -> None:
        self._failures += 1
        self._try_again(keys, attempts)

    def _try_again(self, keys: Sequence[bytes], attempts: int) -> None:
        if attempts >= self._settings.attempts:
            self.report.failed += len(keys)
        else:
            self._again.extendleft((key, attempts) for key in reversed(keys))

    def _note(self, *, is_last: bool = False) -> None:
        now_s = self._clock()
        self.report.seconds = now_s - self._began_s
        self.report.backoffs = self._pace.backoffs
        self._history.step(self.report.seconds, is_last=is_last)
        if self._progress is not None and (is_last or now_s - self._saved_s >= SAVE_EVERY_S):
            self._saved_s = now_s
            self._save(is_last=is_last)
        if self._watcher is not None:
            self._watcher(self.report, self._pace.rate)

    def _save(self, *, is_last: bool) -> None:
        assert self._progress is not None
        if is_last and self.report.end == "done":
            self._progress.remove()
        else:
            self._progress.save(Position(self._cluster, self._list, self.report.position))
