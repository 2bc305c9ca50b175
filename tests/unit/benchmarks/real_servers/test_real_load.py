"""redis-benchmark against a real Redis: to its end, and in the background."""

from __future__ import annotations

import pytest

from benchmarks.harness import load
from benchmarks.harness.servers import ServerFailedError, info, redis_server, wait_until

pytestmark = pytest.mark.redis_server


def test_a_real_run() -> None:
    with redis_server() as port:
        runs = load.run(port, ("-t", "get,set", "-c", "5", "-n", "500"))
    assert set(runs) == {"get", "set"}
    assert all(run.rps > 0 and run.max_ms >= run.p50_ms for run in runs.values())


def test_nobody_listens() -> None:
    with redis_server() as port:
        pass
    with pytest.raises(ServerFailedError, match="nobody listens"):
        load.run(port, ("-t", "get", "-n", "10"))
    with pytest.raises(ServerFailedError, match="nobody listens"), load.background(port, ("-t", "get")):
        pass


def test_background_load_is_there_and_ends_with_its_block() -> None:
    def commands() -> int:
        return int(info(port)["total_commands_processed"])

    with redis_server() as port:
        before = commands()
        with load.background(port, ("-t", "set", "-c", "2", "-n", "100000")) as loader:
            wait_until("load to arrive", lambda: commands() > before + 1000)
        assert loader.poll() is not None


def test_background_load_that_died_is_an_error() -> None:
    with redis_server() as port, pytest.raises(ServerFailedError, match="ended by itself"):  # noqa: SIM117
        with load.background(port, ("--no-such-option",)) as loader:
            loader.wait(10)
