"""Who may import whom: the arrows point one way, the core knows no network, no Ray and no clock.

Read off the sources, imports inside functions and for type checking included, so that a lazy import is no
way around a rule. `docs/design.md` says why.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "raycache"

# Package -> the packages and modules of raycache that it may import. What is not here may import nothing.
MAY_IMPORT: dict[str, set[str]] = {
    # Pure, and none knows the others. Errors and settings are plain values that everybody may see.
    "store": {"curves", "errors"},
    "curves": set(),
    "ring": set(),
    "resp": {"config", "errors"},
    "codec": {"errors", "packed"},
    "leases": set(),
    # The values of a near cache.
    "near": set(),
    "usage": set(),
    # Users and what they may do; what commands there are is handed in.
    "access": set(),
    "metrics": set(),
    # What joins them.
    "replication": {"config", "ring", "store"},
    "router": {"access", "config", "errors", "metrics", "ring"},
    "shard": {"access", "clock", "config", "curves", "descriptor", "errors", "handshake", "leases", "metrics", "packed",
              "replication", "resp", "ring", "store", "strangers", "tls", "usage", "__version__"},
    "gateway": {"access", "clock", "config", "errors", "handshake", "metrics", "resp", "ring", "shard", "store",
                "strangers", "tls"},
    "snapshot": {"clock", "replication", "ring", "store"},
    # How a value is loaded through the cache, without the cache: it knows no connection, `client` drives it.
    "loading": {"codec", "descriptor", "errors"},
    # Functions whose results are kept: their keys, options and counters. `client` gives them a handle.
    "functions": {"errors", "loading", "usage"},
    "client": {"codec", "config", "curves", "descriptor", "errors", "functions", "loading", "near", "packed", "ring",
               "tls", "usage"},
    "warming": {"client", "codec", "errors"},
    "stores": {"client", "codec", "errors", "ring"},
    # Ray, and what starts from it.
    "actors": {"access", "client", "clock", "cluster_status", "codec", "config", "descriptor", "errors", "gateway",
               "logs", "metrics", "replication", "ring", "router", "shard", "snapshot", "store", "stores", "tls",
               "tracing"},
    "tracing": {"__version__", "client"},
    "logs": set(),
    "connecting": {"actors", "client", "config", "tls"},
    "anywhere": {"client", "connecting", "functions", "tls"},
    "backing": {"actors", "client", "stores"},
    "testing": {"access", "client", "clock", "config", "errors", "gateway", "replication", "resp", "ring", "router",
                "shard", "store", "stores"},
    "demo": {"actors", "cluster_status", "config", "errors", "connect", "connecting", "client", "warming"},
    "configfile": {"config"},
    "dashboards": {"metrics"},
    "cli": {"__version__", "actors", "client", "cluster_status", "config", "configfile", "connecting", "curves",
            "dashboards", "demo", "errors",
            "ring", "stores", "tls", "usage", "warming"},
    "errors": set(),
    "config": {"access", "tls"},
    # Certificates, and the handshake at a door.
    "tls": set(),
    "handshake": {"config", "tls"},
    "strangers": {"config"},
    "clock": set(),
    # What an entry holds whose value is in Ray's object store.
    "descriptor": set(),
    # zstandard, and nothing else.
    "packed": set(),
    "cluster_status": set(),
    "__init__": {"actors", "anywhere", "backing", "client", "cluster_status", "config", "connecting", "errors",
                 "functions", "near", "ring", "stores", "tls", "usage", "warming"},
}

# The world outside: whoever has none of these cannot wait, cannot look at a clock, and cannot be raced.
WORLD = {"asyncio", "concurrent", "multiprocessing", "os", "ray", "secrets", "select", "selectors", "signal", "socket",
         "ssl", "subprocess", "sched", "threading", "time", "uvloop"}

SHELLS = {
    "shard/server.py", "shard/connection.py", "shard/build.py", "shard/long.py", "shard/peer_link.py", "shard/peers.py",
    "gateway/access.py",
    "gateway/call.py", "gateway/connection.py", "gateway/executor.py", "gateway/hearing.py", "gateway/inside.py",
    "gateway/news.py", "gateway/pool.py",
    "gateway/scout.py", "gateway/scrape.py", "gateway/server.py", "gateway/upstream.py", "gateway/watch.py",
    "snapshot/files.py", "snapshot/keeper.py",
    "warming/api.py", "warming/files.py", "warming/probing.py",
    "warming/recording.py", "warming/replaying.py", "warming/running.py",
}
PURE_FOLDERS = ("access", "curves", "metrics",
                "store", "ring", "resp", "codec", "usage", "leases", "near", "loading", "replication", "router",
                "shard", "gateway", "snapshot", "warming", "configfile")
PURE_CLIENT = {f"client/{name}.py" for name in (
    "arguments", "batches", "discovery", "frames", "guarded", "info", "reading", "requests", "results", "retry",
    "routes", "scanning", "stats", "stored", "token", "top", "wished", "wishes", "invalidation", "large", "leasing",
    "near_parts", "near_wire")}
PURE_STORES = {f"stores/{name}.py" for name in ("backoff", "config", "plans", "protocol", "reading", "wire", "writer")}
PURE_FUNCTIONS = {f"functions/{name}.py" for name in ("attempt", "naming", "recipe", "text")}

CLOCK_CALLS = {"now", "utcnow", "today", "monotonic", "perf_counter", "time_ns", "process_time"}

# Beside `actors`: the demo is a Ray program like any user's, and the command line quiets Ray's own logger.
RAY_ELSEWHERE = {"demo/job.py", "cli/backend.py"}


def sources() -> dict[str, ast.Module]:
    return {path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}


SOURCES = sources()


def imported(tree: ast.AST) -> set[str]:
    """Return the full names of everything that is imported anywhere in `tree`."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def area_of(path: str) -> str:
    return path.partition("/")[0].removesuffix(".py")


def pure_files() -> list[str]:
    return [path for path in SOURCES
            if (area_of(path) in PURE_FOLDERS and path not in SHELLS)
            or path in PURE_CLIENT | PURE_STORES | PURE_FUNCTIONS]


def test_the_reader_finds_lazy_imports_and_those_for_type_checking() -> None:
    tree = ast.parse("import a.b\nif TYPE_CHECKING:\n    from c import d\ndef f():\n    from e.f import g\n")
    assert imported(tree) == {"a.b", "c.d", "e.f.g"}


def test_every_package_has_a_rule() -> None:
    assert {area_of(path) for path in SOURCES} <= MAY_IMPORT.keys()


def test_every_file_that_a_rule_names_is_there() -> None:
    assert SOURCES.keys() >= SHELLS | PURE_CLIENT | PURE_STORES | PURE_FUNCTIONS | RAY_ELSEWHERE


@pytest.mark.parametrize("path", SOURCES)
def test_imports_point_one_way(path: str) -> None:
    area = area_of(path)
    found = {name.split(".")[1] for name in imported(SOURCES[path]) if name.startswith("raycache.")}
    assert found - {area} <= MAY_IMPORT[area]


@pytest.mark.parametrize("one", ["store", "ring", "resp", "codec"])
def test_the_four_foundations_know_nothing_of_each_other(one: str) -> None:
    assert not MAY_IMPORT[one] & {"store", "ring", "resp", "codec", "shard", "router", "client", "gateway", "actors"}


@pytest.mark.parametrize("path", pure_files())
def test_the_pure_core_imports_nothing_of_the_world(path: str) -> None:
    assert not {name.partition(".")[0] for name in imported(SOURCES[path])} & WORLD


@pytest.mark.parametrize("path", pure_files())
def test_the_pure_core_asks_no_clock(path: str) -> None:
    calls = {node.func.attr for node in ast.walk(SOURCES[path])
             if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)}
    assert not calls & CLOCK_CALLS


def test_the_shells_are_shells() -> None:
    """A file that needs no world any more belongs to the pure core, and under its rules."""
    for path in SHELLS - {"shard/build.py"}:
        assert {name.partition(".")[0] for name in imported(SOURCES[path])} & WORLD, path


def test_only_the_actors_import_ray() -> None:
    found = {path for path, tree in SOURCES.items() if any(name.partition(".")[0] == "ray" for name in imported(tree))}
    assert {path for path in found if area_of(path) != "actors"} == RAY_ELSEWHERE


def test_remote_is_called_in_one_hand_typed_module() -> None:
    """Ray's handles accept anything, so every call to one of ours goes through `actors/calls.py`."""
    callers = {path for path, tree in SOURCES.items() for node in ast.walk(tree)
               if isinstance(node, ast.Attribute) and node.attr == "remote" and path != "demo/job.py"}
    assert callers == {"actors/calls.py"}


def test_the_environment_is_read_in_one_place() -> None:
    readers = {path for path, tree in SOURCES.items() for node in ast.walk(tree)
               if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv")}
    assert readers <= {"actors/environment.py", "actors/shard.py", "demo/job.py", "cli/elsewhere.py"}


def test_one_place_unpickles_and_it_checks_a_signature_first() -> None:
    loaders = {"pickle", "cloudpickle", "marshal", "dill", "shelve"}
    for path, tree in SOURCES.items():
        assert path == "codec/pickles.py" or not {name.partition(".")[0] for name in imported(tree)} & loaders, path


@pytest.mark.parametrize("path", SOURCES)
def test_every_module_says_what_lives_in_it(path: str) -> None:
    tree = SOURCES[path]
    assert not tree.body or ast.get_docstring(tree)
