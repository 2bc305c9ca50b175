"""`get`, `set`, `del` against a stand-in."""

from __future__ import annotations

import json
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def features(run: Any) -> None:
    run("up", "features")


def test_set_get_del(run: Any, backend: Any) -> None:
    assert run("set", "features", "user:1", "Ada", "--ttl", "300") == run("set", "features", "user:2", "Grace")
    cache = backend.caches["features"]
    assert cache.entries == {b"user:1": "Ada", b"user:2": "Grace"}
    assert cache.ttls == {b"user:1": 300.0, b"user:2": None}
    assert run("get", "features", "user:1").out == "Ada\n"
    assert run("del", "features", "user:1", "user:2", "user:3").out == "2\n"
    assert cache.entries == {}


def test_a_key_that_is_not_there_fails(run: Any) -> None:
    outcome = run("get", "features", "nobody")
    assert (outcome.code, outcome.out) == (1, "")
    assert "no key 'nobody' in features" in outcome.err


def test_a_stored_none_is_no_miss(run: Any) -> None:
    run("set", "features", "k", "null", "--json")
    assert run("get", "features", "k").out == "null\n"


def test_set_json_stores_what_the_text_describes(run: Any, backend: Any) -> None:
    run("set", "features", "k", '{"name": "Grace", "age": 45}', "--json")
    assert backend.caches["features"].entries[b"k"] == {"name": "Grace", "age": 45}
    assert json.loads(run("get", "features", "k").out) == {"name": "Grace", "age": 45}
    outcome = run("set", "features", "k", "{broken", "--json")
    assert (outcome.code, outcome.err.count("\n")) == (1, 1)
    assert "VALUE is no JSON" in outcome.err


def test_a_ttl_of_zero_is_refused_with_the_reason(run: Any, backend: Any) -> None:
    outcome = run("set", "features", "k", "v", "--ttl", "0")
    assert (outcome.code, outcome.err) == (1, "raycache: ttl must be positive, not 0.0\n")
    assert backend.caches["features"].entries == {}


def test_a_value_may_start_with_a_dash(run: Any, backend: Any) -> None:
    assert run("set", "features", "offset", "--", "-5").code == 0
    assert backend.caches["features"].entries[b"offset"] == "-5"


def test_keys_are_the_bytes_of_the_command_line(run: Any, backend: Any) -> None:
    run("set", "features", "Zürich", "1")
    # An argument that is no UTF-8 reaches Python with stand-ins for its bytes.
    run("set", "features", b"\xff\x01".decode(errors="surrogateescape"), "2")
    assert set(backend.caches["features"].entries) == {"Zürich".encode(), b"\xff\x01"}


def test_get_json_refuses_what_has_no_json_form(run: Any, backend: Any) -> None:
    backend.connect("features").entries[b"k"] = {1, 2}
    outcome = run("get", "features", "k", "--json")
    assert (outcome.code, outcome.out) == (1, "")
    assert "it holds a set" in outcome.err
