"""What raycache uses of Ray that Ray does not promise: a new Ray that changes it must be noticed here, not by users."""

from __future__ import annotations

import socket
import threading
import time

import pytest
import ray

from raycache.actors import calls, environment
from raycache.actors.knocking import why_refused
from raycache.actors.ray_nodes import _cpus_free, node_reports
from raycache.errors import RayCacheError
from tests.support import wait_until


def test_settings_can_be_reread_from_the_environment() -> None:
    from ray._raylet import Config

    assert callable(Config.initialize)


def test_the_token_can_be_asked_for(ray_cluster: str) -> None:
    from ray._raylet import AuthenticationTokenLoader

    loader = AuthenticationTokenLoader.instance()
    assert isinstance(loader.has_token(), bool)
    token = environment.ray_token()
    assert token is None or len(token) >= 16


def test_a_running_ray_is_found(ray_cluster: str) -> None:
    assert environment.running_address() == ray_cluster


def test_free_cpus_are_known_per_node(ray_cluster: str) -> None:
    nodes = [node["NodeID"] for node in calls.nodes() if node["Alive"]]
    free = _cpus_free()
    assert set(nodes) <= set(free)
    assert free[nodes[0]] <= ray.cluster_resources()["CPU"]


def test_nodes_that_announce_their_end_can_be_asked_for(ray_cluster: str) -> None:
    from ray._private.state import state

    assert state.get_draining_nodes() == {}
    assert not any(node.is_draining for node in node_reports())


def test_what_a_process_has_heard_of_an_actors_state(ray_cluster: str) -> None:
    @ray.remote(num_cpus=0)
    class Probe:
        def look(self) -> int:
            return 1

    probe = Probe.remote()
    ray.get(probe.look.remote())
    assert probe._get_local_state() == 2  # ALIVE; 3 is RESTARTING, 4 is DEAD
    ray.kill(probe)
    wait_until(lambda: probe._get_local_state() == 4, 10.0)


def test_actors_run_on_uvloop_and_init_runs_on_the_loop(ray_cluster: str) -> None:
    @ray.remote(num_cpus=0)
    class Probe:
        def __init__(self) -> None:
            import asyncio

            self.loop = asyncio.get_running_loop()

        async def look(self) -> tuple[bool, str]:
            import asyncio

            return asyncio.get_running_loop() is self.loop, type(self.loop).__module__

    same, module = ray.get(Probe.remote().look.remote())
    assert same
    assert module.startswith("uvloop")


def test_a_ray_with_another_token_is_told_at_once(ray_cluster: str) -> None:
    token = environment.ray_token()
    assert why_refused(ray_cluster, token) == ""
    before_s = time.monotonic()
    assert "another token" in why_refused(ray_cluster, "f" * 64)
    assert "demands a token" in why_refused(ray_cluster, None)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        threading.Thread(target=lambda: deaf.accept()[0].close(), daemon=True).start()
        with pytest.raises(RayCacheError, match="no Ray, or it is just"):
            environment.attach(f"127.0.0.1:{deaf.getsockname()[1]}")
    assert time.monotonic() - before_s < 10


def test_a_reference_can_be_made_of_where_its_object_is(ray_cluster: str) -> None:
    """Without it large values still work: each read then costs a call to the shard."""
    import numpy as np

    from raycache.actors.object_refs import reference_to, where_is

    @ray.remote(num_cpus=0)
    class Reader:
        def read(self, where: bytes) -> bool:
            found = ray.get(reference_to(where), timeout=10)
            return bool(found.flags.writeable is False and found[-1] == 99)

    reader = Reader.remote()
    ref = ray.put(np.arange(100_000) % 100)
    assert ray.get(reader.read.remote(where_is(ref)))
    where = where_is(ref)
    del ref

    def is_gone() -> bool:
        try:
            ray.get(reader.read.remote(where), timeout=20)
        except ray.exceptions.RayTaskError:  # at once: were it one of time, it would hang for every lost value
            return True
        return False

    wait_until(is_gone, 20)  # it keeps nothing alive; Ray takes a moment to free the object
