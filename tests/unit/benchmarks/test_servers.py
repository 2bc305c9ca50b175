"""Free ports, missing programs, and waiting that ends."""

from __future__ import annotations

import socket

import pytest

from benchmarks.harness import servers
from benchmarks.harness.servers import HOST, MissingProgramError, ServerFailedError


def test_a_missing_program_is_named_with_the_way_to_get_it() -> None:
    with pytest.raises(
        MissingProgramError, match=r"no-such-server not found; .*apt-get install redis-server memcached"
    ):
        servers.check_programs(("no-such-server", "sh"))


def test_programs_that_are_there_pass() -> None:
    servers.check_programs(("sh",))


def test_a_free_port_can_be_listened_on_and_is_then_no_longer_free() -> None:
    port = servers.free_port(bus=True)
    with socket.socket() as listener:
        listener.bind((HOST, port))
        listener.listen()
        assert servers.free_port() != port
        assert not servers._is_free(port)


def test_no_port_left_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "_is_free", lambda port: False)
    with pytest.raises(ServerFailedError, match="no free loopback port"):
        servers.free_port()


def test_a_cluster_node_needs_its_bus_port_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "_is_free", lambda port: port < 30_000 or port == 32_001)
    assert servers.free_port(bus=True) == 22_001


def test_wait_until_returns_what_the_probe_found() -> None:
    assert servers.wait_until("something", lambda: "found", 0) == "found"


def test_wait_until_gives_up_and_says_for_what_it_waited() -> None:
    with pytest.raises(ServerFailedError, match="waited 0 s for the moon"):
        servers.wait_until("the moon", lambda: None, 0)
