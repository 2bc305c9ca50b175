"""A stand-in for Ray and the clusters in it, and a way to run a command as a shell would."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import pytest

from raycache.cli.main import main
from raycache.client.bulk import RawEntry, Recorded
from raycache.client.info import Login
from raycache.cluster_status import ClusterStatus, ShardStatus
from raycache.config import ClusterConfig, parse_bytes
from raycache.errors import ClusterNotFoundError, RayCacheError, StoreNotDrainedError
from raycache.ring.placement import PlacedShard, build_table
from raycache.ring.topology import ShardInfo, Topology
from raycache.stores.config import masked


class FakeCache:
    """A handle on a dict, with bytes for keys as the command line has them."""

    def __init__(self, entries: dict[bytes, Any]) -> None:
        self.entries = entries
        self.ttls: dict[bytes, float | None] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def get(self, key: bytes, default: Any = None) -> Any:
        return self.entries.get(key, default)

    def set(self, key: bytes, value: Any, *, ttl: float | None = None) -> None:
        if ttl is not None and ttl <= 0:
            raise ValueError(f"ttl must be positive, not {ttl}")
        self.entries[key] = value
        self.ttls[key] = ttl

    def delete_many(self, keys: list[bytes]) -> int:
        return sum(self.entries.pop(key, None) is not None for key in keys)


class FakeBulk:
    """What fills, copies and records a cluster, on a dict."""

    cluster = "features"

    def __init__(self, *, ranked: bool = True) -> None:
        self.held: dict[bytes, RawEntry] = {}
        self.is_ranked = ranked
        self.events: list[tuple[int, str, int, int, bytes]] = []
        self.is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.is_closed = True

    def present(self, keys: list[bytes]) -> list[bool]:
        return [key in self.held for key in keys]

    def add(self, entries: list[RawEntry]) -> list[bool]:
        return [self.held.setdefault(entry.key, entry) is entry for entry in entries]

    def take_leases(self, keys: list[bytes], lease_s: float) -> list[int]:
        return [0 if key in self.held else 1 for key in keys]

    def fill(self, entries: list[RawEntry], tokens: list[int]) -> list[bool]:
        return self.add(entries)

    def free(self, leases: list[tuple[bytes, int]]) -> None:
        pass

    def peek(self, keys: list[bytes]) -> list[RawEntry | None]:
        return [self.held.get(key) for key in keys]

    def hottest(self, count: int) -> list[bytes] | None:
        return list(self.held)[::-1][:count] if self.is_ranked else None

    def every_key(self) -> list[bytes]:
        return list(self.held)

    def entries(self) -> int:
        return len(self.held)

    def shard_ids(self) -> list[str]:
        return ["s0"]

    def record(self, shard_id: str, recorder: bytes, sample: float, lease_ms: int) -> Recorded:
        events, self.events = self.events, []
        return Recorded(0, events)

    def stop_recording(self, shard_id: str, recorder: bytes) -> None:
        pass

    def get_sizes(self, keys: list[bytes]) -> list[int | None]:
        return [len(self.held[key].data) if key in self.held else None for key in keys]

    def put(self, key: bytes, data: bytes, left_ms: int) -> None:
        self.held[key] = RawEntry(key, 0, data, left_ms)

    def delete(self, key: bytes) -> None:
        self.held.pop(key, None)


@dataclass
class FakeBackend:
    """Ray with clusters in it, all in memory."""

    ray_runs: bool = True
    running: dict[str, ClusterStatus] = field(default_factory=dict)
    caches: dict[str, FakeCache] = field(default_factory=dict)
    bulks: dict[str, FakeBulk] = field(default_factory=dict)
    """By name, or by address with its secret."""
    logins: list[Login] = field(default_factory=list)
    """How `bulk_at` was told to come in."""
    started_with: dict[str, Any] = field(default_factory=dict)
    failure: Exception | None = None
    wishes: list[tuple[object, ...]] = field(default_factory=list)
    """What was asked for: scale, drain, cancel, repair."""
    accounts: list[dict[str, Any]] = field(default_factory=list)
    """What the router says of a change from one question to the next once one was wished; then that it is complete."""
    reports: list[dict[str, Any]] = field(default_factory=list)
    """What the shards answer from one comparison to the next; the last one stays."""
    last: dict[str, Any] | None = None
    draining: tuple[str, ...] = ()
    attached: list[dict[str, Any]] = field(default_factory=list)
    acl_answer: Any = b"OK"
    budgets: list[tuple[int, int]] = field(default_factory=lambda: [(1, 2)])
    """(Nodes, cores for shards), from one question to the next; the last one stays."""

    def attach(self, *, start: bool) -> bool:
        if self.ray_runs:
            return False
        if not start:
            raise RayCacheError("no Ray runs here; start a cluster first")
        self.ray_runs = True
        return True

    def start(self, name: str, **settings: Any) -> ClusterStatus:
        if self.failure is not None:
            raise self.failure
        self.started_with = settings
        if name not in self.running:
            shards = settings["shards"]
            memory = parse_bytes(settings["memory"]) // shards
            status = cluster_status(name, shards=shards, memory=memory, policy=settings["policy"])
            copies, replication = settings.get("copies", 1), settings.get("replication", "primary-replica")
            self.running[name] = replace(status, copies=copies, replication=replication)
        return self.running[name]

    def start_config(self, config: ClusterConfig, *, timeout_s: float) -> ClusterStatus:
        status = self.start(config.name, shards=config.shards, memory=config.memory_per_shard_bytes * config.shards,
                            policy=config.policy, copies=config.copies, replication=config.replication)
        self.started_with = {"config": config, "timeout_s": timeout_s}
        return status

    def core_budget(self, cpus_per_shard: float) -> tuple[int, int]:
        return self.budgets.pop(0) if len(self.budgets) > 1 else self.budgets[0]

    def stop(self, name: str, *, drain_timeout_s: float, force: bool) -> None:
        self.status(name)
        if self.status(name).queued and not force:
            raise StoreNotDrainedError(f"acknowledged writes still wait after {drain_timeout_s:g} s")
        del self.running[name]

    def stop_ray(self) -> int:
        self.ray_runs = False
        return 3

    def attach_store(self, name: str, store: str, where: str, **settings: Any) -> None:
        self.status(name)
        self.attached.append({"name": store, "store": masked(where), "table": settings["table"],
                              "write": settings["write"], "read": settings["read"], "state": "idle", "failure": "",
                              "written": 12345, "batches": 3, "outages": 0, "last_error": ""})

    def detach_store(self, name: str, store: str, *, drain_timeout_s: float, force: bool) -> None:
        self.status(name)
        self.attached = [one for one in self.attached if one["name"] != store]

    def store_statuses(self, name: str) -> list[dict[str, Any]]:
        return self.attached

    def begin_scale(self, name: str, shards: int) -> None:
        before = len(self.status(name).shards)
        self._wish("scale", name, shards)
        self.running[name] = replace(self.status(name), shards=shard_statuses(shards))
        if before != shards:
            self.last = change(f"scale from {before} to {shards} shards", is_done=True)

    def begin_drain(self, name: str, target: str, *, undo: bool) -> None:
        self._wish("undrain" if undo else "drain", name, target)
        self.last = change(f"drain {target}", is_done=True)

    def begin_upgrade(self, name: str) -> None:
        self._wish("upgrade", name)
        status = self.status(name)
        shards = tuple(replace(shard, version="0.2.0", uptime_s=3.0) for shard in status.shards)
        self.running[name] = replace(status, shards=shards)
        self.last = change(f"upgrade of {len(shards)} shards", is_done=True)

    def restart_router(self, name: str) -> None:
        self._wish("restart router", name)

    def restart_gateways(self, name: str) -> int:
        self._wish("restart gateways", name)
        return len(self.status(name).gateways)

    def cancel(self, name: str) -> None:
        self._wish("cancel", name)
        self.last = change("cancel: scale from 3 to 4 shards", is_done=True)

    def _wish(self, *wish: object) -> None:
        if self.failure is not None:
            raise self.failure
        self.wishes.append(wish)

    def progress(self, name: str) -> dict[str, Any]:
        self.status(name)
        if self.wishes and self.accounts:
            return self.accounts.pop(0)
        return account(last=self.last)

    def compare(self, name: str) -> tuple[str, dict[str, Any]]:
        status = self.status(name)
        return status.replication, self.reports.pop(0) if len(self.reports) > 1 else self.reports[0]

    def repair(self, name: str) -> None:
        self._wish("repair", name)

    def clusters(self) -> list[str]:
        return sorted(self.running)

    def status(self, name: str) -> ClusterStatus:
        if name not in self.running:
            raise ClusterNotFoundError(f"no cluster {name!r} in this Ray (these run: {', '.join(self.clusters())})")
        return self.running[name]

    def topology(self, name: str) -> Topology:
        return topology(name, len(self.status(name).shards))

    def acl(self, name: str, words: Sequence[str]) -> Any:
        self.status(name)
        self._wish("acl", name, *words)
        return self.acl_answer

    def connect(self, name: str) -> FakeCache:
        self.status(name)
        return self.caches.setdefault(name, FakeCache({}))

    def bulk(self, name: str) -> FakeBulk:
        self.status(name)
        return self.bulks.setdefault(name, FakeBulk())

    def bulk_at(self, address: str, login: Login) -> FakeBulk:
        self.logins.append(login)
        return self.bulks.setdefault(f"{address} {login.secret}", FakeBulk())


def change(text: str, *, is_done: bool = False, slots: int = 4096, seconds: float = 8.25) -> dict[str, Any]:
    """A change, as the router describes one."""
    return {"text": text, "is_wish": True, "is_done": is_done, "seconds": seconds, "transfers": 3, "slots": slots,
            "entries": 250_000, "bytes": 25 << 20, "misses": 0, "mismatches": 0}  # fmt: skip


def account(under_way: dict[str, Any] | None = None, *, last: dict[str, Any] | None = None, settled: bool = True,
            transfers: tuple[dict[str, Any], ...] = (), total: int = 4096) -> dict[str, Any]:  # fmt: skip
    """The router's account of changes."""
    return {"change": under_way, "last": last, "transfers": list(transfers), "settled": settled, "slots_total": total,
            "slots_done": under_way["slots"] if under_way else 0}  # fmt: skip


def shard_statuses(count: int) -> tuple[ShardStatus, ...]:
    return tuple(
        ShardStatus(
            f"s{i}",
            "up",
            "10.0.0.1",
            f"10.0.0.1:{7000 + i}",
            16384 // count,
            entries=1000 + i,
            used_bytes=2048,
            capacity_bytes=1 << 20,
            hits=75 if i else 0,
            misses=25 if i else 0,
            commands_per_s=1234.4,
            version="0.1.0",
            uptime_s=7200.0,
        )
        for i in range(count)
    )


def cluster_status(name: str, *, shards: int = 3, memory: int = 256 << 20, policy: str = "lru") -> ClusterStatus:
    return ClusterStatus(name, 7, policy, memory, shard_statuses(shards), ("10.0.0.1:6400",), secret="swordfish")


def topology(name: str, shards: int) -> Topology:
    placed = [PlacedShard(f"s{i}") for i in range(shards)]
    infos = tuple(ShardInfo(f"s{i}", "10.0.0.1", 7000 + i, "n", "10.0.0.1", "", "up", 1, 1) for i in range(shards))
    return Topology(name, 7, infos, np.asarray(build_table(placed)))


@pytest.fixture
def backend() -> FakeBackend:
    """A Ray in which nothing runs."""
    return FakeBackend()


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


Run = Callable[..., Outcome]


@pytest.fixture
def run(backend: FakeBackend, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command; return its exit code and what it printed where."""

    def run_command(*arguments: str) -> Outcome:
        code = main(arguments, backend=backend)  # type: ignore[arg-type]
        printed = capsys.readouterr()
        return Outcome(code, printed.out, printed.err)

    return run_command
