"""CONFIG: the settings that exist, under Redis' names.

What lives here: reading them, and changing the few that may change while a shard runs. Setting one
to the value it has is always fine; load tools and drivers do that.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from raycache.config import parse_bytes
from raycache.curves.shards import MOST_KEYS
from raycache.metrics.slowlog import MOST_ENTRIES
from raycache.resp import encode
from raycache.resp.encode import OK
from raycache.shard.commands.arguments import int64
from raycache.shard.commands.command import Command, Refusal, container, help_lines
from raycache.shard.commands.curve import change_policy
from raycache.shard.commands.glob import matcher
from raycache.shard.commands.info import POLICY_NAMES, policy_named

if TYPE_CHECKING:
    from raycache.shard.core import ShardCore
    from raycache.shard.session import Session

_FAILED: Final = b"ERR CONFIG SET failed (possibly related to argument '%b') - "
_FIXED: Final = {
    "appendonly": "no", "save": "", "databases": "1", "timeout": "0", "lazyfree-lazy-user-del": "yes",
    "lazyfree-lazy-user-flush": "yes", "notify-keyspace-events": "", "cluster-require-full-coverage": "no",
}
"""What follows from what raycache is."""
_CURVE: Final = "rc-curve-keys"
MAX_PATTERNS: Final = 32
"""More than there are settings; each may take 30 us to compile."""


def settings(core: ShardCore) -> dict[str, str]:
    """Return every setting by its Redis name."""
    store = core.store
    return {
        **_FIXED,
        "maxmemory": str(store.capacity_bytes),
        "maxmemory-policy": POLICY_NAMES.get(core.policy, core.policy),
        "maxclients": str(core.limits.max_connections),
        "port": str(core.slots.port()),
        "proto-max-bulk-len": str(core.max_value_bytes),
        "cluster-enabled": "yes" if core.topology is not None else "no",
        "slowlog-log-slower-than": str(core.meter.slowlog.slower_than_us),
        "slowlog-max-len": str(core.meter.slowlog.max_entries),
        "latency-monitor-threshold": str(core.meter.events.threshold_ms),
        "latency-tracking": "yes",
        "latency-tracking-info-percentiles": "50 99 99.9",
        _CURVE: str(store.watcher.most_keys if store.watcher is not None else 0),
    }


def get(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """CONFIG GET pattern [pattern ...]."""
    if len(argv) > MAX_PATTERNS + 2:
        raise Refusal(f"ERR too many patterns, at most {MAX_PATTERNS}")
    current = settings(core)
    found: dict[bytes, str] = {}
    for pattern in argv[2:]:
        exact = current.get(pattern.decode("latin-1").lower())
        if exact is not None:
            found[pattern] = exact  # spelled as it was asked for, like Redis
        else:
            matches = matcher(pattern, ignore_case=True)
            found.update((name.encode(), value) for name, value in current.items() if matches(name.encode()))
    pairs = [(encode.bulk(name), encode.bulk(value.encode())) for name, value in found.items()]
    return encode.map_(pairs, session.protocol)


def set_(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """CONFIG SET name value [name value ...]: all or none."""
    if len(argv) % 2:
        raise Refusal("ERR wrong number of arguments for 'config|set' command")
    measured: list[Callable[[], None]] = []
    current, limit, policy = settings(core), core.max_value_bytes, core.policy
    curve_keys = current[_CURVE]
    for name, value in zip(argv[2::2], argv[3::2], strict=True):
        known = current.get(name.decode("latin-1").lower())
        if known is None:
            raise Refusal(b"ERR Unknown option or number of arguments for CONFIG SET - '%b'" % name)
        if name.lower() == b"proto-max-bulk-len":
            limit = _bulk_limit(core, name, value)
        elif name.lower() in _MEASURED:
            measured.append(partial(_MEASURED[name.lower()][1], core, _measured(name, value)))
        elif name.lower() == b"maxmemory-policy":
            policy = policy_named(value.decode("latin-1").lower())
        elif name.lower() == _CURVE.encode():
            curve_keys = _keys(name, value)
        elif value.decode("latin-1").lower() != known:
            raise Refusal(_FAILED % name + b"can't set immutable config")
    change_policy(core, policy)  # refuses, or all is done
    core.set_max_value_bytes(limit)
    for change in measured:
        change()
    core.watch_slow()
    if curve_keys != current[_CURVE]:
        core.store.watch(int(curve_keys))
    return OK


def _slower_than(core: ShardCore, microseconds: int) -> None:
    core.meter.slowlog.slower_than_us = microseconds


def _max_len(core: ShardCore, count: int) -> None:
    core.meter.slowlog.resize(count)


def _threshold(core: ShardCore, milliseconds: int) -> None:
    core.meter.events.threshold_ms = milliseconds


_MEASURED: Final[dict[bytes, tuple[tuple[int, int], Callable[[ShardCore, int], None]]]] = {
    b"slowlog-log-slower-than": ((-1, 1 << 40), _slower_than),
    b"slowlog-max-len": ((0, MOST_ENTRIES), _max_len),
    b"latency-monitor-threshold": ((0, 1 << 30), _threshold),
}
"""What of measuring may be set: its range, and how."""


def _measured(name: bytes, value: bytes) -> int:
    number, (lowest, highest) = int64(value), _MEASURED[name.lower()][0]
    if number is None or not lowest <= number <= highest:
        raise Refusal(_FAILED % name + b"argument must be between %d and %d inclusive" % (lowest, highest))
    return number


def _keys(name: bytes, value: bytes) -> str:
    """Return how many keys the sample of the miss-ratio curve may have; 0: there is none."""
    if not value.isdigit() or int(value) > MOST_KEYS:
        raise Refusal(_FAILED % name + b"argument must be between 0 and %d" % MOST_KEYS)
    return str(int(value))


def _bulk_limit(core: ShardCore, name: bytes, value: bytes) -> int:
    """Return the new largest value; the parser's own limit, from the start, stays above it."""
    failed = _FAILED % name
    try:
        limit = parse_bytes(value.decode("latin-1"))
    except ValueError:
        raise Refusal(failed + b"argument must be a memory value") from None
    if not 1024 * 1024 <= limit <= core.limits.max_value_bytes:
        raise Refusal(failed + b"argument must be between 1048576 and %d" % core.limits.max_value_bytes)
    return limit


def resetstat(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """CONFIG RESETSTAT: every counter starts again from 0."""
    core.reset_stats()
    return OK


def rewrite(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """CONFIG REWRITE: there is no file."""
    raise Refusal("ERR The server is running without a config file")


_HELP = help_lines("CONFIG", [
    "GET <pattern>", "    Return parameters matching the glob-like <pattern> and their values.",
    "SET <directive> <value>", "    Set the configuration <directive> to <value>.",
    "RESETSTAT", "    Reset statistics reported by the INFO command.",
    "REWRITE", "    Refused: there is no configuration file.",
])

_sub = partial(Command, group="server", parent="config", flags="admin noscript loading stale", since="2.0.0")

COMMANDS = [
    container("config", "server", "Reads and changes settings.", [
        _sub(name="get", arity=-3, handler=get, summary="Returns settings by name or pattern."),
        _sub(name="set", arity=-4, handler=set_, tips=("request_policy:all_nodes", "response_policy:all_succeeded"),
             summary="Changes settings that may change."),
        _sub(name="resetstat", arity=2, handler=resetstat, summary="Sets the counters to 0."),
        _sub(name="rewrite", arity=2, handler=rewrite, since="2.8.0", summary="Refused: there is no file."),
        Command(name="help", arity=2, flags="loading stale", parent="config", group="server", since="5.0.0",
                handler=_HELP,
                summary="Returns help on the subcommands."),
    ], since="2.0.0"),
]
