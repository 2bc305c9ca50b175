"""What the commands need of Ray and of raycache, and the real thing.

What lives here: one small interface and its one real implementation, which imports Ray when it is first used, so that
`raycache --help` is quick. What does not: commands. Tests hand in a stand-in.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from raycache.cluster_status import ClusterStatus
from raycache.errors import ClusterNotFoundError, RayCacheError, ShardUnavailableError

if TYPE_CHECKING:
    from raycache.client.bulk import Bulk
    from raycache.client.info import Login
    from raycache.client.sync import Cache
    from raycache.config import ClusterConfig
    from raycache.ring.topology import Topology

T = TypeVar("T")

_CALL_TIMEOUT_S: Final = 10.0
_POLL_S: Final = 0.1


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

    def start_config(self, config: ClusterConfig, *, timeout_s: float) -> ClusterStatus: ...

    def core_budget(self, cpus_per_shard: float) -> tuple[int, int]:
        """Return how many Ray nodes take shards, and for how many shards they have cores."""

    def stop(self, name: str, *, drain_timeout_s: float, force: bool) -> None: ...

    def stop_ray(self) -> int:
        """End Ray on all its machines; return how many they were."""

    def attach_store(self, name: str, store: str, where: str, **settings: Any) -> None: ...

    def detach_store(self, name: str, store: str, *, drain_timeout_s: float, force: bool) -> None: ...

    def store_statuses(self, name: str) -> list[dict[str, Any]]:
        """Return what is known of each store that is attached."""

    def begin_scale(self, name: str, shards: int) -> None:
        """Want so many shards. Raises ChangeUnderWayError where another change is not complete."""

    def begin_drain(self, name: str, target: str, *, undo: bool) -> None:
        """Want a shard or node to be empty, or not any more. Raises ValueError and ChangeUnderWayError."""

    def cancel(self, name: str) -> None:
        """Want back what was before the change under way. Raises ValueError where none is."""

    def begin_upgrade(self, name: str) -> None:
        """Want every shard's process replaced. Raises ValueError and ChangeUnderWayError."""

    def restart_router(self, name: str) -> None:
        """Have the router run in a new process; return when that one is in office."""

    def restart_gateways(self, name: str) -> int:
        """Have every gateway run in a new process, one after the other; return how many there are."""

    def progress(self, name: str) -> dict[str, Any]:
        """Return the router's account of changes (`raycache.router.status.progress`), and "settled"."""

    def compare(self, name: str) -> tuple[str, Mapping[str, Mapping[str, Any] | RayCacheError]]:
        """Return the mode of replication, and what each shard answers to RC.VERIFY."""

    def repair(self, name: str) -> None:
        """Have every shard compare itself with its peers now, and fetch what differs."""

    def clusters(self) -> list[str]: ...

    def status(self, name: str) -> ClusterStatus: ...

    def topology(self, name: str) -> Topology: ...

    def connect(self, name: str) -> Cache: ...

    def acl(self, name: str, words: Sequence[str]) -> Any:
        """Run ACL with `words` on every shard that is up; return what the first answers."""

    def bulk(self, name: str) -> Bulk:
        """Return what fills, copies and records a cluster; a context, which closes its connections."""

    def bulk_at(self, address: str, login: Login) -> Bulk:
        """Return the same for the cluster that has a shard at `address`, whichever Ray it is in."""


def quiet_logs() -> None:
    """Silence what Ray and the library log: what a user of the command must know, the command itself says.

    Importing Ray sets the level of its logger, so this comes after it.
    """
    import ray  # noqa: F401

    for logger in ("ray", "raycache"):
        logging.getLogger(logger).setLevel(logging.ERROR)


@contextlib.contextmanager
def only_python_on_stderr() -> Iterator[None]:
    """Keep what native code writes to standard error away from it; Python's own lines still go there.

    Connecting to a Ray that refuses us, Ray's C++ says so once a second, where no logger reaches it.
    """
    with contextlib.ExitStack() as undo:
        real, nothing, own = os.dup(2), os.open(os.devnull, os.O_WRONLY), sys.stderr
        undo.callback(os.close, real)
        undo.callback(os.dup2, real, 2)
        os.dup2(nothing, 2)
        os.close(nothing)
        if _is_stderr(own):
            sys.stderr = undo.enter_context(open(real, "w", buffering=1, encoding=own.encoding, errors=own.errors,
                                                 closefd=False))
            undo.callback(setattr, sys, "stderr", own)
        yield


def _is_stderr(file: Any) -> bool:
    try:
        return bool(file.fileno() == 2)
    except (AttributeError, OSError, ValueError):  # a test's or a notebook's
        return False


def _ask_router(name: str, call: Callable[[Any], T], *, patience_s: float = _CALL_TIMEOUT_S) -> T:
    """Call the cluster's router; while Ray restarts it, again for `patience_s`. What it raises is raised here."""
    from ray.exceptions import ActorDiedError, ActorUnavailableError, GetTimeoutError, RayTaskError

    from raycache.actors import calls, launch

    deadline_s = time.monotonic() + patience_s
    while True:
        try:
            return call(calls.find_router(name))
        except RayTaskError as error:
            raise error.cause from None
        except (ActorDiedError, ValueError):
            known = ", ".join(launch.clusters()) or "none"
            text = f"no cluster {name!r} in this Ray (these run: {known}); start it with `raycache up {name}`"
            raise ClusterNotFoundError(text) from None
        except (ActorUnavailableError, GetTimeoutError) as error:
            if time.monotonic() >= deadline_s:
                raise ShardUnavailableError(f"the router of cluster {name} does not answer: {error}") from error
            time.sleep(_POLL_S)


def _describe(name: str, *, with_stats: bool) -> dict[str, Any]:
    from raycache.actors import calls

    return _ask_router(name, lambda router: calls.describe(router, _CALL_TIMEOUT_S, with_stats=with_stats))


class RayBackend:
    """The real one: everything goes to `raycache.actors` and `raycache.connect`."""

    def attach(self, *, start: bool) -> bool:
        from raycache.actors import environment

        quiet_logs()
        was_running = environment.running_address() is not None
        with only_python_on_stderr():
            environment.ensure_ray_running(start=start)
        return not was_running

    def start(self, name: str, **settings: Any) -> ClusterStatus:
        from raycache.actors import launch

        launch.start(name, **settings)
        return self.status(name)

    def start_config(self, config: ClusterConfig, *, timeout_s: float) -> ClusterStatus:
        from raycache.actors import launch

        launch.start_config(config, timeout_s=timeout_s)
        return self.status(config.name)

    def core_budget(self, cpus_per_shard: float) -> tuple[int, int]:
        from raycache.actors import ray_nodes

        return ray_nodes.core_budget(cpus_per_shard)

    def stop(self, name: str, *, drain_timeout_s: float, force: bool) -> None:
        from raycache.actors import launch

        launch.stop(name, drain_timeout_s=drain_timeout_s, force=force)

    def stop_ray(self) -> int:
        from raycache.actors import ending

        return ending.stop_ray()

    def attach_store(self, name: str, store: str, where: str, **settings: Any) -> None:
        from raycache.actors import stores

        stores.attach_store(name, store, where, **settings)

    def detach_store(self, name: str, store: str, *, drain_timeout_s: float, force: bool) -> None:
        from raycache.actors import stores

        stores.detach_store(name, store, drain_timeout_s=drain_timeout_s, force=force)

    def store_statuses(self, name: str) -> list[dict[str, Any]]:
        from raycache.actors import stores

        return [stores.store_status(name, store) for store in stores.attached(name)]

    def begin_scale(self, name: str, shards: int) -> None:
        from raycache.actors import calls

        _ask_router(name, lambda router: calls.scale(router, shards, _CALL_TIMEOUT_S))

    def begin_drain(self, name: str, target: str, *, undo: bool) -> None:
        from raycache.actors import calls

        _ask_router(name, lambda router: calls.drain(router, target, _CALL_TIMEOUT_S, undo=undo))

    def cancel(self, name: str) -> None:
        from raycache.actors import calls

        # Not twice: the second would cancel the way back.
        _ask_router(name, lambda router: calls.cancel(router, _CALL_TIMEOUT_S), patience_s=0.0)

    def begin_upgrade(self, name: str) -> None:
        from raycache.actors import calls

        _ask_router(name, lambda router: calls.upgrade(router, _CALL_TIMEOUT_S))

    def restart_router(self, name: str) -> None:
        from raycache.actors import restarting

        restarting.restart_router(name)

    def restart_gateways(self, name: str) -> int:
        from raycache.actors import restarting

        return restarting.restart_gateways(name)

    def progress(self, name: str) -> dict[str, Any]:
        described = _describe(name, with_stats=False)
        return {**described["progress"], "transfers": described["transfers"], "settled": described["settled"]}

    def describe(self, name: str) -> dict[str, Any]:
        """Return all that the router says, without the shards' statistics; not for the commands, but for the page."""
        return _describe(name, with_stats=False)

    def compare(self, name: str) -> tuple[str, Mapping[str, Mapping[str, Any] | RayCacheError]]:
        import msgpack

        topology = self.topology(name)
        if topology.copies == 1:
            return topology.replication, {}
        return topology.replication, self._ask_shards(name, topology, (b"RC.VERIFY",), msgpack.unpackb)

    def repair(self, name: str) -> None:
        self._ask_shards(name, self.topology(name), (b"RC.VERIFY", b"REPAIR"), lambda _: None)

    def _ask_shards(self, name: str, topology: Topology, words: tuple[bytes, ...],
                    decode: Callable[[Any], T]) -> dict[str, T | RayCacheError]:  # fmt: skip
        from raycache.actors import launch
        from raycache.cli.asking import ask_all

        places = {shard.id: (shard.host, shard.port) for shard in topology.shards if shard.state == "up"}
        answers = ask_all(places, launch.look_up(name).login, words, decode)
        away = {shard.id: ShardUnavailableError(f"it is {shard.state}")
                for shard in topology.shards if shard.state != "up"}  # fmt: skip
        return {**answers, **away}

    def clusters(self) -> list[str]:
        from raycache.actors import launch

        return launch.clusters()

    def status(self, name: str) -> ClusterStatus:
        from raycache.actors import launch

        return launch.status(name)

    def topology(self, name: str) -> Topology:
        from raycache.actors import launch

        return launch.topology(name)

    def acl(self, name: str, words: Sequence[str]) -> Any:
        topology = self.topology(name)
        encoded = (b"ACL", *(word.encode() for word in words))
        answers = list(self._ask_shards(name, topology, encoded, lambda answer: answer).values())
        told = [answer for answer in answers if not isinstance(answer, ShardUnavailableError)]
        for answer in told or answers:
            if isinstance(answer, RayCacheError):
                raise answer
        return told[0]

    def connect(self, name: str) -> Cache:
        from raycache.connecting import connect

        return connect(name)

    def bulk(self, name: str) -> Bulk:
        from raycache.client.bulk import Bulk

        return Bulk(self.connect(name))

    def bulk_at(self, address: str, login: Login) -> Bulk:
        from raycache.client.bulk import Bulk
        from raycache.connecting import connect

        # Whatever its name is: of a cluster elsewhere only the address was given.
        if login.user is not None:
            return Bulk(connect("", address=address, tls=login.tls, user=login.user, password=login.secret))
        return Bulk(connect("", address=address, tls=login.tls, secret=login.secret))
