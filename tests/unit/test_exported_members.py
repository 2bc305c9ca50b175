"""What `import raycache` promises: these names, each documented, typed, and without Ray until somebody needs it."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

import raycache
from raycache.client.aio import AsyncCache
from raycache.client.sync import Cache

REPOSITORY = Path(__file__).parents[2]

PUBLIC = [
    "AsyncBackedCache", "AsyncCache", "AsyncCachedFunction", "Attachment", "AuthenticationError", "BackedCache",
    "BackingStore", "Cache", "CacheNotWrittenError", "CachedFunction", "CallerError", "ChangeUnderWayError",
    "ClusterConfig", "ClusterCurve", "ClusterLoadingError", "ClusterNotFoundError", "ClusterStats", "ClusterStatus",
    "ClusterUse",
    "CommandError", "ConnectionInfo", "CorruptValueError", "CrossSlotError", "DeadlineExceededError", "Explanation",
    "FunctionUse", "HotKey", "HotKeys", "InternalError", "KeyAtShard", "KeyEntry", "KeyTooLargeError",
    "Limits", "LoadFailedError", "LoadTimeoutError", "NearStats",
    "NotANumberError", "NotEnoughReplicasError", "NotPermittedError", "OutOfMemoryError", "PickleRefusedError",
    "ProtocolError", "QueueClosedError",
    "QueueFullError", "RayCacheError", "ReentrantLoadError", "Result", "RetryableError", "ShardStats", "ShardStatus",
    "ShardUnavailableError", "StoreConfig", "StoreNotDrainedError", "StoreRefusedError", "StoreUnavailableError",
    "TlsSettings",
    "Token", "Topology", "UncacheableArgumentError", "UnsupportedTypeError", "ValueTooLargeError", "Versioned",
    "WarmReport", "WarmSettings", "WriterReplacedError", "WriterSettings", "WrongTypeError", "__version__",
    "attach_store", "backed", "cached", "clusters", "connect", "connect_async", "detach_store", "hot_keys", "scale",
    "start", "status", "stop", "topology", "warm", "warm_from",
]

OPERATIONS = {
    "add", "cached", "clear", "close", "cluster", "compare_and_set", "decr", "delete", "delete_many", "exists",
    "explain", "get", "get_many", "get_result", "get_results", "get_with_version", "incr", "miss_ratio_curve",
    "replace", "scan", "set", "set_many", "set_policy", "stats", "token", "top", "touch", "ttl", "use",
}
LOADING = {"delete_prefix", "get_or_load", "get_or_load_many", "invalidate_tags", "invalidating", "update"}

# Runs in a process of its own, because `start` and its kin bring Ray in.
LOOK_AT_EVERYTHING = """
import inspect, json, raycache
def is_documented(thing):
    text = inspect.getdoc(thing) or ""
    # A dataclass without a docstring gets its signature for one.
    return bool(text) and not text.startswith(getattr(thing, "__name__", "?") + "(")
undocumented = []
for name in raycache.__all__:
    thing = getattr(raycache, name)
    if name == "__version__":
        continue
    if not is_documented(thing):
        undocumented.append(name)
    if inspect.isclass(thing):
        undocumented += [f"{name}.{member}" for member, value in vars(thing).items()
                         if not member.startswith("_") and (inspect.isfunction(value) or isinstance(value, property))
                         and not is_documented(value)]
print(json.dumps(undocumented))
"""

LOOK_FOR_RAY = """
import sys, raycache
found = ["import raycache"] if "ray" in sys.modules else []
raycache.Cache, raycache.AsyncCache, raycache.ConnectionInfo, raycache.ClusterConfig, raycache.Limits, raycache.Topology
raycache.backed, raycache.BackedCache, raycache.AsyncBackedCache, raycache.StoreConfig, raycache.Attachment
found += ["the names of the client"] if "ray" in sys.modules else []
raycache.connect("anything", address="127.0.0.1:1").close()
found += ["connecting by address"] if "ray" in sys.modules else []
import raycache.cli.main
found += ["the command line"] if "ray" in sys.modules else []
import raycache.testing.local
found += ["the cluster for tests"] if "ray" in sys.modules else []
print(found)
"""


def output_of(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_public_names_are_these_and_no_others() -> None:
    assert raycache.__all__ == PUBLIC


def test_the_list_is_sorted_as_the_linter_sorts_it_and_has_no_repeats() -> None:
    assert len(set(PUBLIC)) == len(PUBLIC)


def test_every_public_name_and_each_of_its_members_is_documented() -> None:
    assert json.loads(output_of(LOOK_AT_EVERYTHING)) == []


def test_nothing_but_the_launch_functions_brings_ray_in() -> None:
    assert output_of(LOOK_FOR_RAY).strip() == "[]"


def test_an_unknown_name_is_an_attribute_error_that_names_it() -> None:
    with pytest.raises(AttributeError, match="'conect'"):
        raycache.conect  # noqa: B018


def test_both_handles_have_the_operations_of_the_readme() -> None:
    assert {name for name in vars(Cache) if not name.startswith("_")} == OPERATIONS
    assert {name for name in vars(AsyncCache) if not name.startswith("_")} == OPERATIONS
    assert {name for name in dir(Cache) if not name.startswith("_")} == OPERATIONS | LOADING
    assert {name for name in dir(AsyncCache) if not name.startswith("_")} == OPERATIONS | LOADING


def test_both_handles_take_the_same_arguments() -> None:
    for name in (OPERATIONS | LOADING) - {"cluster"}:
        mine, theirs = inspect.signature(getattr(Cache, name)), inspect.signature(getattr(AsyncCache, name))
        assert list(mine.parameters.values()) == list(theirs.parameters.values()), name


def test_the_package_is_typed_and_its_version_is_that_of_the_distribution() -> None:
    assert files("raycache").joinpath("py.typed").is_file()
    assert f'version = "{raycache.__version__}"' in (REPOSITORY / "pyproject.toml").read_text()
