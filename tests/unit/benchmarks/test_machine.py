"""What is said about the machine, checked against what the system says elsewhere."""

from __future__ import annotations

import os
import socket

import pytest

from benchmarks.harness import machine


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
def test_busy_cores(before: list[int], after: list[int], busy: float) -> None:
    assert machine.busy_between(before, after, 4) == pytest.approx(busy)


def test_ticks_of_this_machine_grow() -> None:
    first = machine._ticks()
    assert len(first) == 8
    assert sum(machine._ticks()) >= sum(first) > 0


STAT = """cpu  10 0 5 100 3 0 2 {} 0 0
cpu0 5 0 3 50 1 0 1 {} 0 0
cpu1 5 0 2 50 2 0 1 {} 0 0
intr 12 0 0
"""


def test_steal_is_read_for_all_cores_together_and_each() -> None:
    assert machine.steal_ticks_in(STAT.format(44, 22, 21)) == [44, 22, 21]
    assert len(machine.steal_ticks()) == 1 + (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("after", "ticks"),
    [
        ([44, 22, 21], 0),
        ([46, 22, 23], 2),
        ([45, 22, 21], 1),  # half a tick on each core
        ([44, 23, 21], 1),  # the core's tick is full, the total's is not yet
    ],
)
def test_a_stolen_tick_counts_wherever_it_shows(after: list[int], ticks: int) -> None:
    tick_ms = 1000 / os.sysconf("SC_CLK_TCK")
    assert machine.stolen_ms([44, 22, 21], after) == ticks * tick_ms


def test_resident_bytes_of_this_process() -> None:
    before = machine.resident_bytes(os.getpid())
    ballast = b"x" * (64 * 1024 * 1024)
    assert machine.resident_bytes(os.getpid()) - before > 0.9 * len(ballast)


def test_the_process_that_listens_on_a_port_is_found() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        with pytest.raises(LookupError, match=str(port)):  # bound, but nobody listens yet
            machine.listening_pid(port)
        listener.listen()
        assert machine.listening_pid(port) == os.getpid()
