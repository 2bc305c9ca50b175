"""Real servers come up on free ports, answer, and are gone afterwards."""

from __future__ import annotations

import pytest

from benchmarks.harness import servers
from benchmarks.harness.machine import listening_pid
from benchmarks.harness.servers import ServerFailedError

pytestmark = pytest.mark.redis_server


def test_a_server_answers_keeps_nothing_on_disk_and_is_gone_afterwards() -> None:
    with servers.redis_server() as port:
        assert servers.ask(port, "PING") == "PONG"
        assert servers.ask(port, "CONFIG", "GET", "save").split("\n") == ["save"]
        assert servers.ask(port, "CONFIG", "GET", "appendonly").split("\n") == ["appendonly", "no"]
        assert servers.info(port)["redis_mode"] == "standalone"
        assert listening_pid(port) == int(servers.info(port)["process_id"])
    assert servers.ask(port, "PING") == ""
    assert servers._is_free(port)


def test_a_server_that_refuses_to_start_says_why() -> None:
    with pytest.raises(ServerFailedError, match="no-such-setting"):  # noqa: SIM117
        with servers.redis_server("--no-such-setting", "1"):
            pass


def test_a_server_is_stopped_when_its_block_fails() -> None:
    with pytest.raises(RuntimeError, match="boom"):  # noqa: SIM117
        with servers.redis_server() as port:
            raise RuntimeError("boom")
    assert servers._is_free(port)


def test_three_nodes_make_one_cluster() -> None:
    with servers.redis_cluster(3) as ports:
        assert len(set(ports)) == 3
        for port in ports:
            answer = servers.ask(port, "CLUSTER", "INFO")
            assert "cluster_slots_ok:16384" in answer
            assert "cluster_known_nodes:3" in answer
    assert [servers.ask(port, "PING") for port in ports] == ["", "", ""]
