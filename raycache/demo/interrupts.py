"""Putting off Ctrl-C while something is half done.

What lives here: one context manager. What does not: deciding where it is needed (`job`: an interrupted start of Ray
leaves processes behind that nobody knows, an interrupted clean-up leaves all of them).
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def put_off() -> Iterator[None]:
    """Note a SIGINT or SIGTERM that comes within the block, and raise KeyboardInterrupt for it at the block's end.

    Only the main thread ever gets signals: in any other, nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    noted: list[int] = []
    before = {number: signal.signal(number, lambda number, _frame: noted.append(number)) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if noted:
            raise KeyboardInterrupt
