"""Background tasks of an actor: none of them may die in silence.

An exception in a task of an async actor is dropped by Ray, and `sys.exit` in one hangs the actor for
ever. So a task that fails is logged and ends the process, and Ray starts the actor again.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from collections.abc import Coroutine
from typing import Any, Final, NoReturn

log = logging.getLogger(__name__)

_YOUNG_ENOUGH: Final = 5_000
"""Up to so many new objects a young collection takes well under a millisecond."""
_QUIET_INTERVAL_S: Final = 0.25


def die(error: BaseException) -> NoReturn:
    """Log `error` and end this process at once; Ray restarts the actor."""
    log.critical("this actor ends because a background task failed", exc_info=error)
    logging.shutdown()
    os._exit(1)


def spawn(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    """Run `work` as a task whose failure ends the process. Keep what it returns."""
    task = asyncio.get_running_loop().create_task(work, name=name)
    task.add_done_callback(_ended)
    return task


def _ended(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        die(error)


async def keep_collector_away() -> None:
    """Keep the cyclic collector from ever walking a shard's entries.

    Entries are not garbage in cycles, but a full collection visits each of them: a million cost half a
    second. Automatic collection is off; what is left after a cheap look at the youngest objects (while
    they are few) moves to the permanent generation, which also spares it Ray's own `gc.collect()`.
    """
    gc.collect()
    gc.freeze()
    gc.disable()
    while True:
        await asyncio.sleep(_QUIET_INTERVAL_S)
        if gc.get_count()[0] < _YOUNG_ENOUGH:
            gc.collect(0)
        gc.freeze()
