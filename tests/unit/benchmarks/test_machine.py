"""What is said about the machine, checked against what the system says elsewhere."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from benchmarks.harness import machine


@pytest.mark.redis_server
@pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")
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


def test_uncommitted_changes_are_said() -> None:
    facts = {"cpu": "C", "cores": 2, "memory": "1 kB", "kernel": "6", "python": "3", "versions": {"ray": "2"}}
    facts |= {"commit": "abc", "uncommitted_changes": True, "load_average": [0.5, 0.25, 0.125]}
    assert machine.lines(facts) == [
        "C, 2 cores, 1 kB, Linux 6, load average 0.50 0.25 0.12",
        "Python 3; ray 2; commit abc with uncommitted changes",
    ]


@pytest.mark.parametrize(
    ("before", "after", "busy"),
    [
        ([0] * 8, [50, 0, 0, 150, 0, 0, 0, 0], 1.0),  # a quarter of the ticks of four cores
        ([9] * 8, [9] * 8, 0.0),  # no tick passed
        ([0] * 8, [0, 0, 0, 60, 40, 0, 0, 0], 0.0),  # waiting for a disk is idle
        ([0] * 8, [25, 25, 25, 0, 0, 10, 10, 5], 4.0),
    ],
)
def test_busy_cores(monkeypatch: pytest.MonkeyPatch, before: list[int], after: list[int], busy: float) -> None:
    readings = iter([before, after])
    monkeypatch.setattr(machine, "_ticks", lambda: next(readings))
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    assert machine.busy_cores(0) == pytest.approx(busy)


def test_ticks_of_this_machine_grow() -> None:
    first = machine._ticks()
    assert len(first) == 8
    assert sum(machine._ticks()) >= sum(first) > 0


def test_resident_bytes_of_this_process() -> None:
    before = machine.resident_bytes(os.getpid())
    ballast = b"x" * (64 * 1024 * 1024)
    assert machine.resident_bytes(os.getpid()) - before > 0.9 * len(ballast)
