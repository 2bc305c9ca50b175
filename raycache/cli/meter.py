"""Work under way: a bar on a terminal, a line every other second elsewhere, and ending it in order.

What lives here: showing a fraction and some text on standard error, and turning Ctrl-C into a polite request. What does
not: the work. (A change of a cluster has a view of its own: `progress`.)
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Final, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

LINE_EVERY_S: Final = 2.0
_BAR_WIDTH: Final = 40
# Without a terminal nothing is wrapped: a line is a record.
_PIPE_WIDTH: Final = 250
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Meter:
    """Shows how far one piece of work is. A context: leaving it gives the terminal back.

    Args:
        title: what is done.
        console: where to; None: standard error, so that results on standard output stay clean.
        clock: seconds, monotonic.
    """

    def __init__(self, title: str, console: Console | None = None,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._title = title
        self._console = console or Console(stderr=True)
        self._clock = clock
        self._began_s = self._next_line_s = clock()
        is_terminal = self._console.is_terminal
        self._live = Live(console=self._console, refresh_per_second=4, transient=True) if is_terminal else None
        if not is_terminal:
            self._console.width = _PIPE_WIDTH

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, trace)

    def update(self, fraction: float, text: str) -> None:
        """Show how far it is, 0 to 1, and what there is to say about it."""
        fraction = min(1.0, max(0.0, fraction))
        if self._live is not None:
            bar = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
            bar.add_row(ProgressBar(total=1.0, completed=fraction, width=_BAR_WIDTH), f"{fraction:.0%}",
                        self._left(fraction))  # fmt: skip
            self._live.update(Group(Text(self._title), bar, Text(text)))
        elif self._clock() >= self._next_line_s:
            self._next_line_s = self._clock() + LINE_EVERY_S
            self._console.print(f"{self._title}: {fraction:4.0%}  {text}", highlight=False, markup=False)

    def _left(self, fraction: float) -> str:
        """Return about how long it will still take, once that can be guessed."""
        elapsed_s = self._clock() - self._began_s
        if not 0.01 < fraction < 1 or elapsed_s < 2:
            return ""
        left_s = round(elapsed_s / fraction - elapsed_s)
        return f"about {left_s // 60}:{left_s % 60:02d} left"


@contextlib.contextmanager
def stoppable() -> Iterator[threading.Event]:
    """Yield an event that the first SIGINT or SIGTERM sets; the second interrupts whatever is under way.

    Only the main thread ever gets signals: in any other, nothing sets it.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
