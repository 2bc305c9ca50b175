"""The router's standby: a second router on another machine, which takes over when the first one's machine is lost.

What lives here: where the standby runs, which is the first router's business. What does not: when it stands for
election (`RouterCore.misses_router`), and what it does then (`router`: it is one). Ray would start a lost router again,
but only after it has noticed the death of the machine, and never while its GCS is gone; a standby needs neither.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from functools import partial
from typing import Any, Final

from raycache.actors import calls
from raycache.actors.names import standby_name
from raycache.actors.shard import Door
from raycache.config import ClusterConfig
from raycache.router.messages import NodeReport

log = logging.getLogger(__name__)

CALL_TIMEOUT_S: Final = 2.0
GONE_POLL_S: Final = 0.05


def machine_of(nodes: Iterable[NodeReport], node_id: str) -> str:
    """Return the machine of a living node, "" where there is no such node."""
    return next((node.machine for node in nodes if node.is_alive and node.node_id == node_id), "")


class StandbyKeeper:
    """Keeps the standby of one router; belongs to the router's loop."""

    def __init__(self, config: ClusterConfig, door: Door, node_id: str, threads: Executor) -> None:
        """Make it without a standby; `node_id` is the Ray node of the router, `threads` are for questions to the GCS.
        """
        self._config = config
        self._door = door
        self._node_id = node_id
        self._threads = threads
        self._handle: Any = None
        self.node_id = ""
        """Where the standby runs; "" where there is none, or it does not answer."""

    async def step(self, nodes: Iterable[NodeReport]) -> None:
        """Have a standby on another machine than the router's, if there is another one."""
        alive = [node for node in nodes if node.is_alive]
        mine = machine_of(alive, self._node_id)
        here = {node.node_id for node in alive if node.machine == mine}
        if not mine or len(here) == len(alive):
            return
        try:
            if self._handle is None:
                self._handle = await self._in_thread(partial(
                    calls.create_standby, self._config, self._door, not_on=sorted(here)))
            self.node_id = await asyncio.wait_for(calls.router_node(self._handle), CALL_TIMEOUT_S)
        except Exception as error:  # its machine may be lost, and Ray not know it yet
            log.info("the standby does not answer: %s", error)
            self._handle, self.node_id = None, ""
            return
        if self.node_id in here:
            log.info("the standby runs on the router's machine: moving it to another one")
            self._handle, self.node_id = None, ""
            name = standby_name(self._config.name)
            while await self._in_thread(partial(calls.kill_by_name, name)):
                await asyncio.sleep(GONE_POLL_S)

    async def _in_thread(self, question: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, question)
