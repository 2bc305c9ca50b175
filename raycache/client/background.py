"""Calling somebody's function without letting it hang the caller.

What lives here: one daemon thread per call. Not an executor: those are joined when the interpreter ends, so one hung
call (Ray that never answers) would keep the process alive.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def call(function: Callable[[], T]) -> Future[T]:
    """Run `function` in a thread of its own and return its future."""
    future: Future[T] = Future()

    # A caller that gives up must not be able to cancel it: the thread could not set its result any more.
    future.set_running_or_notify_cancel()

    def run() -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="raycache-refresh", daemon=True).start()
    return future
