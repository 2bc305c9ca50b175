"""Background tasks of an actor: none of them may die in silence.

An exception in a task of an async actor is dropped by Ray, and `sys.exit` in one hangs the actor for
ever. So a task that fails is logged and ends the process, and Ray starts the actor again.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from collections.abc import Callable, Coroutine
from typing import Any, Final, NoReturn

log = logging.getLogger(__name__)

_LITTLE_WORK: Final = 1_000
"""So few commands make so few objects that looking through them takes well under a millisecond."""
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


async def keep_collector_away(work_done: Callable[[], int]) -> None:
    """Keep the cyclic collector from ever walking a shard's entries.

    Entries are not garbage in cycles, but a full collection visits each of them: a million cost half a
    second. Automatic collection is off, and all objects move to the permanent generation again and again,
    which also spares them Ray's own `gc.collect()`. Before that the young ones are looked through for
    garbage, if the shard has done so little meanwhile that they must be few. (The collector's own count does
    not tell: it takes what was freed from what was made, and while a shard evicts that is nothing.)

    Args:
        work_done: a number that grows with every command.
    """
    gc.collect()
    gc.freeze()
    gc.disable()
    before = work_done()
    while True:
        await asyncio.sleep(_QUIET_INTERVAL_S)
        done = work_done()
        if 0 <= done - before < _LITTLE_WORK:
            gc.collect(0)
        before = done
        gc.freeze()
