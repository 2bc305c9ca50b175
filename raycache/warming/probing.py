"""Measuring the database while it is being used: a thread that asks it something small, again and again.

What lives here: the thread. What does not: what is asked (the caller's probe), what follows (`controller`). The probe
runs beside the loads, as other clients' queries do; between them it would measure a database at rest.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from raycache.warming.controller import Observations

_KEPT: Final = 1000
Probe = Callable[[], object]
"""Does something that is typical of other clients of the database; how long it takes is what counts."""


class Prober:
    """Calls `probe` every `every_s` seconds within its context; one that fails counts as an error of the database.

    Where a call takes longer than that, the next one comes at once, and what was seen of the slow one as soon as it is
    back. A probe that does not come back delays the end of the context.
    """

    def __init__(self, probe: Probe | None, every_s: float) -> None:
        self._probe = probe
        self._every_s = every_s
        self._latencies_s: deque[float] = deque(maxlen=_KEPT)
        self._errors = 0
        self._began_s: float | None = None
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="raycache-probe", daemon=True)

    def __enter__(self) -> Self:
        if self._probe is not None:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._probe is not None:
            self._thread.join()

    def take(self) -> Observations:
        """Return what has been seen since the last call; a call under way counts with its time so far."""
        with self._lock:
            seen, errors = list(self._latencies_s), self._errors
            self._latencies_s.clear()
            self._errors = 0
            began_s = self._began_s
        waiting_s = time.monotonic() - began_s if began_s is not None else 0.0
        # A slow call would otherwise be seen only when it is over, and a database that hangs never.
        return Observations([*seen, waiting_s] if waiting_s > self._every_s else seen, errors)

    def _run(self) -> None:
        assert self._probe is not None
        while not self._over.is_set():
            began_s = self._began_s = time.monotonic()
            try:
                self._probe()
            except Exception:
                with self._lock:
                    self._errors += 1
            took_s = time.monotonic() - began_s
            with self._lock:
                self._began_s = None
                self._latencies_s.append(took_s)
            self._over.wait(max(0.0, self._every_s - took_s))
