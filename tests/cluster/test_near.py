"""Near caches on real Ray: the shards are processes, and one of them is stopped, continued and killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import raycache
from tests.clients.near_reading import Register, table_of
from tests.cluster.test_failover import pid_of
from tests.cluster.whole import is_whole
from tests.support import wait_until

MAX_STALENESS_S = 0.4


def test_a_stopped_process_is_believed_for_so_long_and_no_longer(
    cluster_name: str, start: Callable[..., raycache.ClusterStatus]
) -> None:
    start(shards=2, copies=2, memory="64MiB")
    keys = [f"key:{number}" for number in range(8)]
    with (
        raycache.connect(cluster_name, timeout_s=30.0) as writer,
        raycache.connect(cluster_name, timeout_s=30.0, near="8MiB", max_staleness_s=MAX_STALENESS_S) as reader,
        Register(writer, reader, MAX_STALENESS_S, keys) as register,
    ):
        register.wait_for_more()
        before = raycache.topology(cluster_name).epoch
        pid = pid_of(cluster_name, "s0")
        os.kill(pid, signal.SIGSTOP)
        try:
            wait_until(lambda: raycache.topology(cluster_name).epoch > before, 20)
            register.wait_for_more(100)
        finally:
            os.kill(pid, signal.SIGCONT)
        register.wait_for_more()
        wait_until(is_whole(cluster_name, 2), 30)
        os.kill(pid_of(cluster_name, "s1"), signal.SIGKILL)
        register.wait_for_more(100)
        assert table_of(reader).hits > 0
    assert not register.failures
