"""`explain`, for people and for programs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from raycache.client.explain import Explanation, KeyAtShard, KeyEntry

FOUND = Explanation("features", b"user:1\n", 77, ("s1", "s2"), (
    KeyAtShard("s1", "primary", KeyEntry(9, "text", 3, 120, 41.5), "evicted", 12.0, 60.0),
    KeyAtShard("s2", "replica", None, "", None, 60.0)), "evicted", 12.0, "s1", ("s0",))  # fmt: skip


@pytest.fixture
def asked(run: Any, backend: Any, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    run("up", "features", "--shards", "3")
    keys: list[bytes] = []

    def explain(key: bytes) -> Explanation:
        keys.append(key)
        return FOUND

    monkeypatch.setattr(backend.connect("features"), "explain", explain, raising=False)
    return keys


def test_for_people(run: Any, asked: list[bytes]) -> None:
    done = run("explain", "features", "user:1\n")
    lines = [" ".join(line.split()) for line in done.out.splitlines()]
    assert (done.code, asked) == (0, [b"user:1\n"])
    assert lines[0] == "user:1\\n: slot 77 of features, owned by s1, s2"
    assert lines[2] == "s1 primary text 9 3 B 120 B 42 s evicted 12 s ago"
    assert lines[3] == "s2 replica - - - - - -"
    assert lines[-1] == "there; it was evicted at s1 12 s ago, and written again since"
    assert "no answer from s0" in done.err


def test_for_programs(run: Any, asked: list[bytes]) -> None:
    plain = json.loads(run("explain", "features", "k", "--json").out)
    assert (plain["missed"], plain["present"], plain["unreachable"]) == ("evicted", True, ["s0"])
