"""A thread with an event loop of its own: what stands in for a process where a whole cluster runs in one.

What lives here: running things on that loop, stopping it in its tracks and letting it go on. What does not: what runs
there (`local`). All methods may be called from any other thread.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

import uvloop

T = TypeVar("T")

PATIENCE_S: Final = 10.0
"""How long a caller waits; nothing here takes a tenth of it, unless the seat is paused."""


class Seat:
    """One thread, one loop."""

    def __init__(self, name: str) -> None:
        self.loop = uvloop.new_event_loop()
        self._may_run = threading.Event()
        self._may_run.set()
        self._thread = threading.Thread(target=self.loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop and return its result."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(PATIENCE_S)

    def call(self, function: Callable[[], T]) -> T:
        """Call a function on the loop, where touching what lives there is safe."""

        async def called() -> T:
            return function()

        return self.run(called())

    def pause(self) -> None:
        """Stop everything on the loop as SIGSTOP would: sockets stay open, nobody reads them, time goes on."""
        if not self._may_run.is_set():
            return
        stands_still = threading.Event()

        def stand_still() -> None:
            stands_still.set()
            self._may_run.wait()

        self._may_run.clear()
        self.loop.call_soon_threadsafe(stand_still)
        stands_still.wait(PATIENCE_S)

    def resume(self) -> None:
        """Let the loop go on."""
        self._may_run.set()

    def close(self) -> None:
        """End the thread. What still runs there is cancelled."""
        self.resume()
        if self._thread.is_alive():
            self.run(_cancel_others())
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join(PATIENCE_S)
        self.loop.close()


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    # One more turn lets transports that were aborted close their sockets.
    await asyncio.sleep(0)
