"""Where doors listen, and which address others are told."""

from __future__ import annotations

import pytest

from raycache.actors import calls
from raycache.actors.shard import Door


@pytest.mark.parametrize(("bind", "listens", "is_told"), [
    ("127.0.0.1", "127.0.0.1", "127.0.0.1"), ("node", "10.0.0.7", "10.0.0.7"), ("10.0.0.9", "10.0.0.9", "10.0.0.9"),
    ("0.0.0.0", "0.0.0.0", "10.0.0.7"), ("::", "::", "10.0.0.7"),
])
def test_nobody_is_told_an_address_that_means_every_address(monkeypatch: pytest.MonkeyPatch, bind: str, listens: str,
                                                            is_told: str) -> None:
    monkeypatch.setattr(calls, "node_address", lambda: "10.0.0.7")
    door = Door(bind=bind, secret="x", require_auth=True)
    assert (door.listen_address(), door.public_address()) == (listens, is_told)
