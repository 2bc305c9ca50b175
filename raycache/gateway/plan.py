"""Which shards a command goes to, and how their replies become one.

What lives here: `Planner.plan`, a pure function of command, topology and protocol (and a seeded choice
where any shard will do). What does not: merging (`merge`, `scan`, `info`), transactions
(`transaction`), sending and retrying (`executor`), commands that the gateway answers alone
(`is_local` names them; `session` runs them).

Four rules cover every command:

* its keys are on one shard: it is forwarded as it is;
* it is a plain collection of single-key operations (MGET, MSET, DEL, ...): it is split by shard;
* it speaks of the whole database (DBSIZE, FLUSHALL, KEYS, ...): every shard gets it;
* it has several keys that belong together (RENAME, MSETNX, ...): over several shards it is refused.

What shards say to each other and to their operators (RC.PEER and its kin) is never forwarded: the gateway has shown the
secret there, and its client perhaps not.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from raycache.gateway import merge, scan
from raycache.gateway.info import merged_info
from raycache.gateway.merge import Merge
from raycache.resp import encode
from raycache.resp.reply import Frame
from raycache.ring.slots import slot_of
from raycache.ring.topology import ShardInfo, Topology
from raycache.shard.commands import resolve
from raycache.shard.commands.command import Command

CROSS_SLOT: Final = encode.error(
    "CROSSSLOT Keys in request don't live on one shard; nothing was changed. "
    "Keys with the same {tag} in their names always live together"
)
INVALID_CURSOR: Final = encode.error("ERR invalid cursor")
SHARDS_ONLY: Final = encode.error("ERR this command is answered by a shard's own port, not by a gateway")


@dataclass(frozen=True, slots=True)
class Part:
    """What one shard gets of a command that was split."""

    shard: ShardInfo
    argv: list[bytes]
    is_pinned: bool = False
    """Meant for this very shard; otherwise its keys decide again when it must be retried."""
    is_tried_once: bool = False
    """Better an error at once than a reply late: nothing is retried."""


@dataclass(frozen=True, slots=True)
class Scatter:
    """A command for several shards: its parts, and the rule that makes one reply of theirs."""

    parts: list[Part]
    merge: Merge


@dataclass(frozen=True, slots=True)
class Answered:
    """A command that need not or must not be sent; `reply` is encoded, mostly an error."""

    reply: Frame


@dataclass(frozen=True, slots=True)
class Unserved:
    """No shard serves a slot that the command needs, at this epoch."""


Plan = ShardInfo | Scatter | Answered | Unserved
"""A `ShardInfo` stands for: this shard, the command as it is."""

UNSERVED: Final = Unserved()

_LOCAL: Final = frozenset({
    "acl", "asking", "auth", "client", "cluster", "command", "discard", "echo", "exec", "hello", "latency", "multi",
    "ping", "quit", "rc.trace", "readonly", "readwrite", "reset", "select", "slowlog", "time", "unwatch", "watch",
})


def is_local(command: Command) -> bool:
    """Whether the gateway answers `command` without asking a shard."""
    return (command.parent or command.name) in _LOCAL


class Planner:
    """Plans commands for one gateway.

    Args:
        rng: chooses where any shard will do.
        own_sections: whole sections of INFO that are the gateway's own.
        own_info: the gateway's own INFO fields, which take the place of the shards'.
    """

    def __init__(self, rng: random.Random, own_info: Callable[[], Mapping[str, object]],
                 own_sections: Callable[[], dict[str, dict[str, str]]] = dict) -> None:
        self.own_sections = own_sections
        self.rng = rng
        self.own_info = own_info
        self._topology: Topology | None = None
        self._serving: list[ShardInfo] = []

    def plan(self, argv: list[bytes], command: Command, topology: Topology | None, protocol: int) -> Plan:
        """Return where `argv` goes.

        Args:
            argv: a command whose arity has been checked against `command`.
            protocol: the client's, 2 or 3; replies made here are in it.
        Cost: one CRC and one index for a command with one key; linear in the keys otherwise.
        """
        if topology is None:
            return UNSERVED
        if at := command.one_key:
            return topology.primary_of(slot_of(argv[at])) or UNSERVED
        if not self.serving(topology):
            return UNSERVED
        rule = _RULES.get(command.full_name) or (
            _together if command.first_key else _refused if command.name.startswith("rc.") else _anywhere)
        return rule(self, argv, command, topology, protocol)

    def serving(self, topology: Topology) -> list[ShardInfo]:
        """Return the shards that own slots; only they can hold keys."""
        if topology is not self._topology:
            shares = topology.shares()
            self._serving = [shard for shard in topology.shards if shares[shard.id]]
            self._topology = topology
        return self._serving


Rule = Callable[[Planner, list[bytes], Command, Topology, int], Plan]


def _by_shard(keys: Sequence[bytes], topology: Topology) -> dict[str, tuple[ShardInfo, list[int]]] | None:
    """Return for each shard the positions of its keys, in order of appearance; None if a slot is not served."""
    groups: dict[str, tuple[ShardInfo, list[int]]] = {}
    for position, key in enumerate(keys):
        shard = topology.primary_of(slot_of(key))
        if shard is None:
            return None
        if (group := groups.get(shard.id)) is None:
            groups[shard.id] = group = (shard, [])
        group[1].append(position)
    return groups


def _together(planner: Planner, argv: list[bytes], command: Command, topology: Topology, protocol: int) -> Plan:
    """Keys that belong together: one shard or none."""
    groups = _by_shard(command.keys(argv), topology)
    if groups is None:
        return UNSERVED
    shards = [shard for shard, _ in groups.values()]
    return shards[0] if len(shards) == 1 else Answered(CROSS_SLOT)


def _split_keys(ordered: bool) -> Rule:
    """Return the rule for NAME [option] key [key ...]: an array in the order of the keys, or a count."""

    def rule(planner: Planner, argv: list[bytes], command: Command, topology: Topology, protocol: int) -> Plan:
        first = command.first_key
        keys = argv[first:]
        groups = _by_shard(keys, topology)
        if groups is None:
            return UNSERVED
        if len(groups) == 1:
            return next(iter(groups.values()))[0]
        parts = [Part(shard, [*argv[:first], *[keys[at] for at in places]]) for shard, places in groups.values()]
        if ordered:
            return Scatter(parts, merge.in_order([places for _, places in groups.values()], len(keys)))
        return Scatter(parts, merge.total)

    return rule


def _split_pairs(planner: Planner, argv: list[bytes], command: Command, topology: Topology, protocol: int) -> Plan:
    """MSET key value [key value ...]: each shard sets its own."""
    if len(argv) % 2 == 0:
        return Answered(command.arity_error())
    groups = _by_shard(argv[1::2], topology)
    if groups is None:
        return UNSERVED
    if len(groups) == 1:
        return next(iter(groups.values()))[0]
    parts = []
    for shard, places in groups.values():
        part = [argv[0]]
        for place in places:
            part += argv[2 * place + 1 : 2 * place + 3]
        parts.append(Part(shard, part))
    return Scatter(parts, merge.all_ok)


def _everywhere(rule: Merge) -> Rule:
    """Return the rule that sends the command to every shard as it is."""

    def to_all(planner: Planner, argv: list[bytes], command: Command, topology: Topology, protocol: int) -> Plan:
        return Scatter([Part(shard, argv, is_pinned=True) for shard in planner.serving(topology)], rule)

    return to_all


def _size(planner: Planner, argv: list[bytes], command: Command, topology: Topology, protocol: int) -> Plan:
    """DBSIZE: each key counts once, however many copies of it there are."""
    copies = min(topology.copies, len(topology.shards))
    parts = [Part(shard, argv, is_pinned=True) for shard in planner.serving(topology)]
    return Scatter(parts, merge.total if copies == 1 else merge.share_of_total(copies))


def _all_keys(planner: Planner, argv: list[bytes], command: Command, topology: Topology, protocol: int) -> Plan:
    parts = [Part(shard, argv, is_pinned=True) for shard in planner.serving(topology)]
    return Scatter(parts, merge.concatenated if topology.copies == 1 else merge.united)


def _around_inner(planner: Planner, argv: list[bytes], command: Command, topology: Topology, protocol: int) -> Plan:
    """RC.WRITE options command...: where that command goes."""
    inner = resolve(argv[2:])
    if inner is None or not inner.first_key or not inner.min_argc <= len(argv) - 2 <= inner.max_argc:
        return _anywhere(planner, argv, command, topology, protocol)  # any shard can say what is wrong with it
    return _together(planner, argv[2:], inner, topology, protocol)


def _anywhere(planner: Planner, argv: list[bytes], command: Command, topology: Topology, protocol: int) -> Plan:
    """No keys: any shard can tell, one that is up rather than one that is not."""
    shards = planner.serving(topology)
    return planner.rng.choice([shard for shard in shards if shard.state == "up"] or shards)


def _random_key(planner: Planner, argv: list[bytes], command: Command, topology: Topology, protocol: int) -> Plan:
    parts = [
        Part(shard, question, is_pinned=True)
        for shard in planner.serving(topology)
        for question in ([b"RANDOMKEY"], [b"DBSIZE"])
    ]
    return Scatter(parts, merge.weighted_choice(planner.rng, protocol))


def _scan(planner: Planner, argv: list[bytes], command: Command, topology: Topology, protocol: int) -> Plan:
    if not argv[1].isdigit() or len(argv[1]) > 20:
        return Answered(INVALID_CURSOR)
    shards = planner.serving(topology)
    position = scan.position_of(int(argv[1]), shards)
    if position is None:
        return Answered(encode.array([encode.bulk(b"0"), encode.EMPTY_ARRAY]))
    asked = [argv[0], b"%d" % position.cursor, *argv[2:]]
    owned_by = None if topology.copies == 1 else topology
    return Scatter([Part(position.shard, asked, is_pinned=True)],
                   scan.with_whole_cursor(position.shard, shards, owned_by))


def _info(planner: Planner, argv: list[bytes], command: Command, topology: Topology, protocol: int) -> Plan:
    parts = [Part(shard, argv, is_pinned=True, is_tried_once=True) for shard in planner.serving(topology)]
    return Scatter(parts, merged_info(planner.own_info, protocol, min(topology.copies, len(topology.shards)),
                                      planner.own_sections))


def _refused(planner: Planner, argv: list[bytes], command: Command, topology: Topology, protocol: int) -> Plan:
    return Answered(SHARDS_ONLY)


_RULES: Final[dict[str, Rule]] = {
    "mget": _split_keys(ordered=True), "rc.mget": _split_keys(ordered=True), "rc.read": _split_keys(ordered=True),
    "rc.write": _around_inner,
    "del": _split_keys(ordered=False), "unlink": _split_keys(ordered=False),
    "exists": _split_keys(ordered=False), "touch": _split_keys(ordered=False),
    "mset": _split_pairs,
    "dbsize": _size, "keys": _all_keys,
    "flushdb": _everywhere(merge.all_ok), "flushall": _everywhere(merge.all_ok),
    "config|set": _everywhere(merge.all_ok), "config|resetstat": _everywhere(merge.all_ok),
    "config|rewrite": _everywhere(merge.all_ok),
    "scan": _scan, "randomkey": _random_key, "info": _info,
    # A lease lasts as long as its connection, which others would share.
    "rc.lease": _refused, "rc.fill": _refused, "rc.free": _refused,
    "wait": _refused,  # its writes went over connections that others share
}
