"""How Ray is started, as far as that can be told without one."""

from __future__ import annotations

import socket

import pytest

from raycache.actors import environment
from raycache.errors import RayCacheError


def test_where_a_redis_has_rays_usual_port_ray_gets_another() -> None:
    with socket.socket() as redis:
        redis.bind(("127.0.0.1", 0))
        redis.listen()
        port = redis.getsockname()[1]
        assert environment._head_port(port) == 0
    assert environment._head_port(port) == port


def test_a_ray_that_must_stay_is_not_started_where_one_is_wanted_that_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_run", lambda command: pytest.fail(f"ran {command}"))
    monkeypatch.setenv("RAY_ADDRESS", "local")
    with pytest.raises(RayCacheError, match="unset it, or set it to the address"):
        environment._start_head()
