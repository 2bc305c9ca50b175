"""The description of this very machine."""

from __future__ import annotations

import json

import pytest

from benchmarks.harness import machine

pytestmark = pytest.mark.redis_server


def test_description_is_complete_and_plain_json() -> None:
    facts = machine.describe()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["cores"] >= 1
    assert facts["memory"].endswith("kB")
    assert facts["versions"]["redis-server"][0].isdigit()
    assert set(machine.PACKAGES) < set(facts["versions"])
    hardware, software = machine.lines(facts)
    assert "cores" in hardware
    assert "load average" in hardware
    assert f"commit {facts['commit']}" in software
