"""What the commands need of Ray and of raycache, and the real thing.

What lives here: one small interface and its one real implementation, which imports Ray when it is first used, so that
`raycache --help` is quick. What does not: commands. Tests hand in a stand-in.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from raycache.client.sync import Cache
    from raycache.cluster_status import ClusterStatus
    from raycache.ring.topology import Topology


class Backend(Protocol):
    """The launch API as the commands use it."""

    def attach(self, *, start: bool) -> bool:
        """Connect to the Ray that runs; with `start`, start one that outlives this process where none does.

        Returns:
            Whether it had to be started.
        Raises:
            RayCacheError: none runs and `start` is false, or it did not start.
        """

    def start(self, name: str, **settings: Any) -> ClusterStatus: ...

    def stop(self, name: str) -> None: ...

    def scale(self, name: str, shards: int) -> ClusterStatus: ...

    def clusters(self) -> list[str]: ...

    def status(self, name: str) -> ClusterStatus: ...

    def topology(self, name: str) -> Topology: ...

    def connect(self, name: str) -> Cache: ...


def quiet_logs() -> None:
    """Silence what Ray and the library log: what a user of the command must know, the command itself says.

    Importing Ray sets the level of its logger, so this comes after it.
    """
    import ray  # noqa: F401

    for logger in ("ray", "raycache"):
        logging.getLogger(logger).setLevel(logging.ERROR)


class RayBackend:
    """The real one: everything goes to `raycache.actors` and `raycache.connect`."""

    def attach(self, *, start: bool) -> bool:
        from raycache.actors import environment

        quiet_logs()
        was_running = environment.running_address() is not None
        environment.ensure_ray_running(start=start)
        return not was_running

    def start(self, name: str, **settings: Any) -> ClusterStatus:
        from raycache.actors import launch

        return launch.start(name, **settings)

    def stop(self, name: str) -> None:
        from raycache.actors import launch

        launch.stop(name)

    def scale(self, name: str, shards: int) -> ClusterStatus:
        from raycache.actors import launch

        return launch.scale(name, shards)

    def clusters(self) -> list[str]:
        from raycache.actors import launch

        return launch.clusters()

    def status(self, name: str) -> ClusterStatus:
        from raycache.actors import launch

        return launch.status(name)

    def topology(self, name: str) -> Topology:
        from raycache.actors import launch

        return launch.topology(name)

    def connect(self, name: str) -> Cache:
        from raycache.connecting import connect

        return connect(name)
