"""Tests that wait for something real run one after the other; what only computes runs beside them."""

from __future__ import annotations

import re
from pathlib import Path

from tests import lanes

TESTS = Path(__file__).parents[1]
REAL = re.compile(r"\b(ray_cluster|cluster_name|LocalCluster|Postgres\(|Hosts\()")


def test_every_folder_that_is_named_is_there() -> None:
    assert all((TESTS.parent / folder).exists() for folder in (lanes.RAY, lanes.BUT, *lanes.COMPUTING, *lanes.LONG))


def test_nobody_who_starts_servers_is_taken_for_one_who_computes() -> None:
    paths = [f"tests/{path.relative_to(TESTS).as_posix()}" for path in TESTS.rglob("test_*.py")]
    assert {path for path in paths if lanes.is_computing(path) and REAL.search((TESTS.parent / path).read_text())} == {
        "tests/unit/test_lanes.py"}


def test_tests_of_a_lane_share_a_process_and_others_that_of_their_file() -> None:
    assert lanes.scope_of("tests/cluster/test_cli.py::test_a[x::y]") == "ray"
    assert lanes.scope_of("tests/hosts/test_hosts.py::test_a") == lanes.scope_of("tests/clients/test_peers.py::test_b")
    assert lanes.scope_of("tests/unit/ring/test_slots.py::test_a[x::y]") == "tests/unit/ring/test_slots.py"


def test_lanes_begin_first_then_what_takes_long() -> None:
    ordered = ["tests/cluster/test_cli.py::a", "tests/hosts/test_hosts.py::a", "tests/simulation/test_seeds.py::a",
               "tests/simulation/test_replay.py::a", "tests/unit/ring/test_slots.py::a"]
    ordered.reverse()
    assert [lanes.rank(name) for name in ordered] == sorted((lanes.rank(name) for name in ordered), reverse=True)
