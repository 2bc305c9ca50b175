"""How far a run is: a bar on a terminal, plain lines elsewhere.

The bar is redrawn by the steps themselves, never by a thread: a thread that wakes ten times a second
inside a measured client would be measured too.
"""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class RunProgress:
    """Counts the steps of a run. `step(text)` says what starts now; nothing is drawn in between."""

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._total = total
        self._started = 0
        self._began_s = time.monotonic()
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        if console.is_terminal:
            columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
            self._bar = Progress(*columns, console=console, auto_refresh=False)
            self._task = self._bar.add_task("", total=total)

    def __enter__(self) -> RunProgress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._bar is None or self._task is None:
            return
        if kind is None:
            self._bar.update(self._task, completed=self._total, description="done")
        self._bar.refresh()
        self._bar.stop()

    def step(self, text: str) -> None:
        """Say that the next of the `total` steps starts now: `text` names it."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self._started, description=text)
            self._bar.refresh()
        else:
            elapsed_s = time.monotonic() - self._began_s
            self._console.print(
                f"[{self._started + 1}/{self._total}] {elapsed_s:6.1f} s  {text}", markup=False, highlight=False
            )
        self._started += 1
