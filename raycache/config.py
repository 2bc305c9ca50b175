"""Settings: frozen, validated when built, units in the names, each limit with its reason.

What lives here: what a cluster and a shard can be told. What does not: reading the environment
(`raycache.actors.environment` does that, in one place) and the command line.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from raycache.access.user import user_of
from raycache.tls import TlsSettings

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

POLICIES: Final = (
    "lru", "lfu", "plain-lfu", "fifo", "sieve", "s3-fifo", "arc", "w-tinylfu", "auto", "ttl", "random", "noeviction",
)  # fmt: skip

REPLICATION_MODES: Final = ("primary-replica", "multi-primary", "quorum")
OBJECT_COPIES: Final = ("each", "one")
MAX_COPIES: Final = 5
LOG_FORMATS: Final = ("text", "json")

# A shard needs room for its tables and a few entries before an eviction policy means anything.
MIN_SHARD_MEMORY_BYTES: Final = 1 * MIB

_UNITS: Final = {"": 1, "b": 1, "k": 1000, "kb": 1000, "kib": KIB, "m": 1000**2, "mb": 1000**2, "mib": MIB,
                 "g": 1000**3, "gb": 1000**3, "gib": GIB, "t": 1000**4, "tb": 1000**4, "tib": 1024 * GIB}
_SIZE: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*")
_IMPORT_PATH: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


def parse_bytes(size: int | str) -> int:
    """Return `size` in bytes: an int as it is, or text such as "512MiB", "2GiB", "1.5 GB".

    Raises:
        ValueError: the text is no size, or not positive.
    """
    if isinstance(size, int):
        number, unit = float(size), 1
    else:
        match = _SIZE.fullmatch(size)
        if match is None or match[2].lower() not in _UNITS:
            raise ValueError(f'{size!r} is not a size; write a number of bytes or text such as "512MiB" or "2GiB"')
        number, unit = float(match[1]), _UNITS[match[2].lower()]
    result = int(number * unit)
    if result <= 0:
        raise ValueError(f"a size must be positive, not {size!r}")
    return result


def object_share(total: int | str | None, shards: int) -> int | None:
    """Return each shard's part of `object_memory`: 0 = none, None = as much as its memory."""
    if total is None:
        return None
    return 0 if total in (0, "0") else parse_bytes(total) // shards


def format_bytes(count: int) -> str:
    """Return `count` bytes as people write it, such as "512.0 MiB"."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 1024:
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def state_by_name(settings: Any) -> dict[str, Any]:
    """Return a dataclass' fields by their names, for pickling (`set_state_by_name`)."""
    return {one.name: getattr(settings, one.name) for one in fields(settings)}


def set_state_by_name(settings: Any, state: dict[str, Any]) -> None:
    """Fill an unpickled dataclass: what whoever pickled it did not know keeps its default, what only they know goes.

    During an upgrade the router and the shards that it creates are of two versions. By position, as dataclasses pickle
    themselves, one would take another field's value for its own.
    """
    for one in fields(settings):
        default = one.default_factory() if one.default_factory is not MISSING else one.default
        object.__setattr__(settings, one.name, state.get(one.name, default))


@dataclass(frozen=True, slots=True)
class Limits:
    """What one connection or one command may ask of a shard. Each refuses; none changes anything."""

    max_key_bytes: int = 64 * KIB
    """Longer keys are nearly always a bug, and every copy of the key is paid for again in tables and replies."""
    max_value_bytes: int = 512 * MIB
    """What Redis takes (`proto-max-bulk-len`)."""
    max_arguments: int = 64 * KIB
    """Redis takes 1,048,576; freeing that many objects alone stops a Python loop for tens of milliseconds."""
    max_inline_bytes: int = 64 * KIB
    """What Redis takes (`PROTO_INLINE_MAX_SIZE`)."""
    max_connections: int = 10_000
    """Redis' `maxclients`; each costs a socket and some 10 KiB."""
    output_high_water_bytes: int = 1 * MIB
    """Unread replies at which a connection's commands wait: so one connection holds this plus one reply, no more."""
    slow_client_timeout_s: float = 10.0
    """How long a client may leave its replies unread before it is dropped, and counted."""
    half_sent_timeout_s: float = 60.0
    """How long a command may stay half-sent before its connection is closed, and counted."""
    max_unauthenticated: int = 1000
    """Connections to a door that demands the secret which have not shown it yet, and as many whose TLS is not agreed
    on; with one more the oldest is closed. Whoever has the secret shows it within a round trip."""
    auth_timeout_s: float = 10.0
    """How long a connection may take to show the secret, where one is demanded."""
    max_unauthenticated_bytes: int = 1 * MIB
    """What a connection may send before it has shown the secret: what clients pipeline behind it comes in one piece."""
    handshake_timeout_s: float = 5.0
    """How long agreeing on TLS may take. It takes two round trips."""

    __getstate__ = state_by_name
    __setstate__ = set_state_by_name

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value <= 0:
                raise ValueError(f"{name} must be positive, not {value!r}")


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """What `raycache.start` was asked for; every shard and the router carry the same copy.

    `policy` is a name from `POLICIES` or, from Python, any `cachetools.Cache` class.
    """

    name: str
    """Letters, digits, "_", "-" and "."; handles and the command line find the cluster by it."""
    shards: int = 3
    memory_per_shard_bytes: int = 256 * MIB
    """The budget of one shard: keys, values, every table that serves them, and a reserve for the process itself
    (`raycache.shard.build.store_capacity`)."""
    policy: str | type[Any] = "lru"
    """What a full shard drops: one of `POLICIES` (docs/policies.md tells them apart), or a `cachetools.Cache` class."""
    max_entries_per_shard: int | None = None
    port: int = 0
    """Shard `i` listens on `port + i`; 0 lets the system choose."""
    gateway_port: int = 0
    """Every machine's gateway listens here; 0 lets the system choose."""
    bind: str = "auto"
    """"auto": loopback while Ray has one node, else "node", the node's own address. Or an IP address to listen on."""
    cpus_per_shard: float = 0.0
    """What a shard reserves of Ray's CPUs; where it does not fit the shard starts anyway, and `status` says so."""
    vnodes_per_shard: int = 128
    """Points of each shard on the ring: more spread slots more evenly, and cost time when shards change."""
    max_load: float = 1.0 / 32
    """Bounded load: no shard owns more than (1 + max_load) of its fair share of slots."""
    copies: int = 1
    """How many shards hold each slot; with fewer shards than this, as many as there are."""
    replication: str = "primary-replica"
    """How copies follow each other: primary-replica, multi-primary or quorum; with one copy it means nothing."""
    read_quorum: int = 0
    """In quorum mode: how many copies a read asks; 0 = a majority."""
    write_quorum: int = 0
    """In quorum mode: how many copies have a write before it is acknowledged; 0 = a majority."""
    allow_stale: bool = False
    """Whether read_quorum + write_quorum may be at most `copies`, so that a read may miss the newest write."""
    tombstone_ttl_s: float = 600.0
    """How long a deleted key is remembered: a copy that was away for longer is compared before it counts."""
    backlog_bytes: int = 16 * MIB
    """What a shard keeps for one copy that does not follow; beyond it that copy is compared slot by slot instead."""
    object_bytes: int | None = None
    """What a shard's objects in Ray's store (large values) may take; 0 = none, None = as much as its memory."""
    object_copies: str = "each"
    """Which copies of a large value have an object of their own: "each", or only "one"."""
    queue_bytes: int = 0
    """What the writes that wait for a database (write-behind) may take of one shard, copies of other shards' included,
    before more are refused; 0 = a quarter of what its entries may take."""
    snapshot_dir: str | None = None
    """Where each shard keeps a snapshot of itself for a warm restart, on its own machine's disk; None: nowhere."""
    snapshot_interval_s: float = 60.0
    """Between two snapshots of a shard."""
    life: str = ""
    """Which start of a cluster of this name this is: snapshots that an earlier one has left do not count."""
    users: tuple[str, ...] = field(default=(), repr=False)
    """Users from the start, each a line as `ACL LIST` writes it: "user NAME RULE...". A password (">...") is hashed at
    once and never kept. They can be changed while the cluster runs."""
    tls: TlsSettings | None = None
    """Certificates, for all doors and for what shards, gateways and the router say to each other; None: no TLS."""
    metrics_port: int = 0
    """Every machine's gateway serves its figures, and those of the machine's shards, to Prometheus here; 0: nowhere."""
    measure_every: int = 256
    """Of so many turns of a connection (pipelined commands share one) one is timed, on average; 1: all are."""
    log_format: str = "text"
    """How shards, gateways and the router write their logs: "text", or "json" for one JSON object a line."""
    tracing: str | None = None
    """A function as "package.module:function" that sets OpenTelemetry up in every shard's process; None: no traces."""
    allow_pickle: bool = False
    """Whether handles that allow it, too, may store values of any type as pickle, signed with the cluster's secret. Who
    knows the secret can then run code in those handles' processes."""
    split_transactions: bool = True
    """Whether the gateway runs a MULTI over several shards as one transaction per shard (True) or refuses it."""
    limits: Limits = field(default_factory=Limits)
    """What one connection or one command may ask of a shard."""

    __getstate__ = state_by_name
    __setstate__ = set_state_by_name

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"{self.name!r} is no cluster name: letters, digits, '_', '-' and '.', at most 63, "
                "starting with a letter or digit"
            )
        if not 1 <= self.shards <= 1000:
            raise ValueError(f"shards must be 1 to 1,000, not {self.shards}")
        if self.memory_per_shard_bytes < MIN_SHARD_MEMORY_BYTES:
            raise ValueError(
                f"memory of {format_bytes(self.memory_per_shard_bytes)} a shard is too small: at least "
                f"{format_bytes(MIN_SHARD_MEMORY_BYTES)} each, so "
                f"{format_bytes(MIN_SHARD_MEMORY_BYTES * self.shards)} for {self.shards}"
            )
        if isinstance(self.policy, str):
            if self.policy not in POLICIES:
                raise ValueError(
                    f"no policy {self.policy!r}; choose one of {', '.join(POLICIES)}, or pass a cachetools.Cache class"
                )
        elif not (isinstance(self.policy, type) and hasattr(self.policy, "popitem")):
            raise ValueError(
                f"policy must be a name ({', '.join(POLICIES)}) or a cachetools.Cache class, not {self.policy!r}"
            )
        if self.max_entries_per_shard is not None and self.max_entries_per_shard < 1:
            raise ValueError(f"max_entries must be at least 1 a shard, not {self.max_entries_per_shard}")
        for name, port, span in (("port", self.port, self.shards), ("gateway_port", self.gateway_port, 1),
                                 ("metrics_port", self.metrics_port, 1)):
            if port and not 1 <= port <= 65536 - span:
                raise ValueError(f"{name} must be 0 or leave room for {span} below 65,536, not {port}")
        if self.port and self.port <= self.gateway_port < self.port + self.shards:
            raise ValueError(f"gateway_port {self.gateway_port} is one of the shards' ports, {self.port} to "
                             f"{self.port + self.shards - 1}: choose one outside")
        users = [user_of(line) for line in self.users]
        if len({user.name for user in users}) < len(users):
            raise ValueError("two lines of users have the same name")
        lines = (b"user %b %b" % (user.name.encode(), b" ".join(user.words())) for user in users)
        object.__setattr__(self, "users", tuple(line.decode("utf-8") for line in lines))
        if self.tls is not None:
            self.tls.check_door()
        self._check_metrics()
        self._check_bind()
        self._check_copies()
        if not 0 < self.max_load <= 1:
            raise ValueError(f"max_load must be above 0 and at most 1, not {self.max_load}")
        if self.vnodes_per_shard < 1:
            raise ValueError(f"vnodes_per_shard must be at least 1, not {self.vnodes_per_shard}")
        if self.cpus_per_shard < 0:
            raise ValueError(f"cpus_per_shard must not be negative, not {self.cpus_per_shard}")

        if self.queue_bytes < 0:
            raise ValueError(f"queue_bytes must not be negative, not {self.queue_bytes}")
        if self.object_bytes is not None and self.object_bytes < 0:
            raise ValueError(f"object_bytes must not be negative, not {self.object_bytes}")
        if self.object_copies not in OBJECT_COPIES:
            raise ValueError(f"object_copies must be one of {', '.join(OBJECT_COPIES)}, not {self.object_copies!r}")

    def _check_metrics(self) -> None:
        if self.metrics_port and (self.metrics_port == self.gateway_port
                                  or (self.port and self.port <= self.metrics_port < self.port + self.shards)):
            raise ValueError(f"metrics_port {self.metrics_port} is a port of the gateway or of a shard: choose another")
        if self.measure_every < 1:
            raise ValueError(f"measure_every must be at least 1, not {self.measure_every}")
        if self.log_format not in LOG_FORMATS:
            raise ValueError(f"no log_format {self.log_format!r}; choose one of {', '.join(LOG_FORMATS)}")
        if self.tracing is not None and not _IMPORT_PATH.fullmatch(self.tracing):
            raise ValueError(f'tracing must look like "package.module:function", not {self.tracing!r}')

    def _check_bind(self) -> None:
        # Whether the doors demand the secret hangs on this, so no name whose address may change.
        if self.bind not in ("auto", "node", "localhost"):
            try:
                ipaddress.ip_address(self.bind)
            except ValueError:
                choices = '"auto", "node", "localhost" or an IP address'
                raise ValueError(f"bind must be {choices}, not {self.bind!r}") from None

    def _check_copies(self) -> None:
        if not 1 <= self.copies <= MAX_COPIES:
            raise ValueError(f"copies must be 1 to {MAX_COPIES}, not {self.copies}")
        if self.replication not in REPLICATION_MODES:
            raise ValueError(f"no replication {self.replication!r}; choose one of {', '.join(REPLICATION_MODES)}")
        for name, wanted in (("read_quorum", self.read_quorum), ("write_quorum", self.write_quorum)):
            if not 0 <= wanted <= self.copies:
                raise ValueError(f"{name} must be 0 (a majority) to copies={self.copies}, not {wanted}")
        for name, wanted in (("read_quorum", self.read_quorum), ("write_quorum", self.write_quorum)):
            if wanted and self.replication != "quorum":
                raise ValueError(f"{name}={wanted} means nothing with replication {self.replication!r}: leave it out, "
                                 "or say replication quorum")
        r, w = self.quorums
        if self.replication == "quorum" and r + w <= self.copies and not self.allow_stale:
            raise ValueError(
                f"read_quorum={r} and write_quorum={w} of {self.copies} copies need not overlap, so a read could miss "
                "the newest write: let them add up to more than the copies, or say allow_stale=True"
            )
        for name, number in (("tombstone_ttl_s", self.tombstone_ttl_s), ("backlog_bytes", self.backlog_bytes),
                             ("snapshot_interval_s", self.snapshot_interval_s)):
            if number <= 0:
                raise ValueError(f"{name} must be positive, not {number}")
        if self.snapshot_dir is not None and not Path(self.snapshot_dir).expanduser().is_absolute():
            raise ValueError(f"snapshot_dir must be an absolute path, because shards run in folders of their own, not "
                             f"{self.snapshot_dir!r}")

    @property
    def object_capacity_bytes(self) -> int:
        """What a shard's objects may take, 0 where it has none."""
        return self.memory_per_shard_bytes if self.object_bytes is None else self.object_bytes

    @property
    def quorums(self) -> tuple[int, int]:
        """(copies that a read asks, copies that a write waits for) in quorum mode."""
        majority = self.copies // 2 + 1
        return self.read_quorum or majority, self.write_quorum or majority
