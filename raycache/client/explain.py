"""What a cluster knows of one key, as a handle shows it: where it lives, and why it was missed last.

What lives here: frozen values built from the shards' RC.EXPLAIN, what follows from them, and the words for it. What
does not: what a shard remembers (`raycache.store.departures`), asking (the handles). Immutable, any thread.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal

import msgpack

from raycache.client import frames
from raycache.client.requests import Question, Request
from raycache.client.top import shown_key
from raycache.codec import ARRAY, INTEGER, LOADED, MSGPACK, OBJECT, PACKED, PICKLE, RAW, TEXT
from raycache.codec.loaded import Header, header_of
from raycache.descriptor import DESCRIPTOR_BYTES
from raycache.errors import ProtocolError, ShardUnavailableError
from raycache.loading.found import AGE_BYTES
from raycache.ring.slots import slot_of
from raycache.ring.topology import Topology

Role = Literal["primary", "replica", ""]
Cause = Literal["", "invalidated", "never", "expired", "evicted", "deleted", "moved", "lost"]

_KINDS: Final = {RAW: "bytes", TEXT: "text", INTEGER: "integer", MSGPACK: "Python value", ARRAY: "array",
                 PICKLE: "pickle", LOADED: "loaded value", OBJECT: "object", PACKED: "compressed value"}
_HEADER_BYTES: Final = 1 << 16
_OBJECT_HEAD: Final = AGE_BYTES + 1 + DESCRIPTOR_BYTES
"""Where the head of a large value begins in an aged payload."""
_CAUSES: Final = frozenset(("", "expired", "evicted", "deleted", "moved", "lost"))


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """What one shard has stored under a key."""

    version: int
    """Of the last write, as `get_with_version` shows it."""
    kind: str
    """What wrote it: "bytes", "text", "integer", "Python value", "array", "pickle", "loaded value",
    "object" (in Ray's object store) or "compressed value"."""
    size_bytes: int
    """Of the value as it is stored."""
    charged_bytes: int
    """What it takes of the shard's memory, key, value and tables."""
    ttl_s: float | None
    """Seconds until it expires, None = never."""


@dataclass(frozen=True, slots=True)
class KeyAtShard:
    """What one shard knows of a key."""

    shard_id: str
    role: Role
    """Of this shard for the key's slot; "" where it owns it not, or not any more."""
    entry: KeyEntry | None
    left: str
    """Why the key left this shard last: "expired", "evicted", "deleted", "moved" or "lost" (its object in
    Ray's store was gone); "" where it knows of no time."""
    left_s: float | None
    """How many seconds ago that was."""
    known_s: float
    """For how many seconds back it would know: what left earlier may be forgotten, and a new process knows nothing."""

    @classmethod
    def from_bytes(cls, data: bytes, role: Role = "") -> KeyAtShard:
        """Return what RC.EXPLAIN answered.

        Raises:
            ProtocolError: the bytes are something else.
        """
        try:
            given: dict[str, Any] = msgpack.unpackb(data)
            entry, now_ms, cause = given["entry"], given["now_ms"], given["cause"]
            if cause not in _CAUSES:
                raise ValueError(cause)
            if entry is not None:
                ttl_ms = entry["ttl_ms"]
                entry = KeyEntry(entry["version"], _KINDS.get(entry["kind"], "bytes"), entry["size"], entry["charge"],
                                 None if ttl_ms is None else max(0, ttl_ms) / 1000)
            left_s = max(0, now_ms - given["at_ms"]) / 1000 if cause else None
            known_s = max(0, now_ms - max(given["started_ms"], 0 if cause else given["at_ms"])) / 1000
            return cls(given["shard_id"], role, entry, cause, left_s, known_s)
        except Exception as error:  # msgpack raises half a dozen kinds; here they all mean one thing
            raise ProtocolError(f"a shard's account of a key cannot be read: {error!r}") from error


@dataclass(frozen=True, slots=True)
class Explanation:
    """One key, as the shards that answered know it."""

    cluster: str
    key: bytes
    slot: int
    owners: tuple[str, ...]
    """Ids of the shards that own the slot, primary first."""
    shards: tuple[KeyAtShard, ...]
    """Owners first, in their order; then others that know something of the key."""
    missed: Cause
    """Why the key was missed last: "invalidated" (a value is there, and a plain read does not count it: one of its tags
    was invalidated, or its own lifetime is over), "never" (no shard knows of it), or why it left last: "expired",
    "evicted", "deleted", "moved" (with its slot, and it did not arrive), "lost" (its object in Ray's store was); ""
    where it is there and has not left as far as is known."""
    missed_s: float | None
    """How many seconds ago it left; None for "", "never" and "invalidated"."""
    missed_at: str
    """Id of the shard that says so, "" for none."""
    unreachable: tuple[str, ...] = ()
    """Ids of shards that did not answer before the deadline."""

    @property
    def is_present(self) -> bool:
        """Whether some owner has a value that a read may return."""
        return self.entry is not None and self.missed != "invalidated"

    @property
    def entry(self) -> KeyEntry | None:
        """What the first owner that has something has; None where nobody has."""
        return next((one.entry for one in self.shards if one.entry is not None and one.role), None)

    @property
    def copies(self) -> int:
        """Owners that have a value."""
        return sum(one.entry is not None for one in self.shards if one.role)

    @property
    def known_s(self) -> float:
        """For how many seconds back all owners that answered would know of its leaving."""
        return min((one.known_s for one in self.shards if one.role), default=0.0)

    @property
    def sentence(self) -> str:
        """Why it was missed last, in words."""
        where = f" at {self.missed_at}" if self.missed_at else ""
        if self.missed == "":
            return f"it is there, and has not left in the last {span(self.known_s)}"
        if self.missed == "invalidated":
            return "a value is there, but it does not count: a tag of it was invalidated, or its lifetime is over"
        if self.missed == "never":
            return f"never written, as far as is known: it has not left in the last {span(self.known_s)}"
        ago = f"{_VERBS[self.missed]}{where} {span(self.missed_s or 0.0)} ago"
        return f"{ago}, and written again since" if self.entry is not None else ago

    @classmethod
    def of(cls, topology: Topology, key: bytes, slot: int, answered: Iterable[KeyAtShard],
           asked: Iterable[str]) -> Explanation:  # fmt: skip
        """Return what follows from the answers of the shards; `asked` names all that were asked."""
        owners = tuple(shard.id for shard in topology.owners_of(slot))
        by_id = {one.shard_id: one for one in answered}
        shards = [_as(by_id[owner], "replica" if at else "primary")
                  for at, owner in enumerate(owners) if owner in by_id]
        shards += [one for shard_id, one in sorted(by_id.items())
                   if shard_id not in owners and (one.entry is not None or one.left)]
        last = _last(shards)
        missed, missed_s, missed_at = ("", None, "") if last is None else (last.left, last.left_s, last.shard_id)
        if last is None and all(one.entry is None for one in shards):
            missed = "never"
        return cls(topology.cluster, key, slot, owners, tuple(shards), missed,  # type: ignore[arg-type]
                   missed_s, missed_at, tuple(sorted(set(asked) - by_id.keys())))


_VERBS: Final = {"expired": "it expired", "evicted": "it was evicted", "deleted": "it was deleted",
                 "moved": "it left with its slot", "lost": "its object in Ray's store was lost"}


def _as(one: KeyAtShard, role: Role) -> KeyAtShard:
    return KeyAtShard(one.shard_id, role, one.entry, one.left, one.left_s, one.known_s)


def _last(shards: list[KeyAtShard]) -> KeyAtShard | None:
    """Return who knows best why the key left last: the owner where it left last, else a former owner.

    That it left a former owner with its slot is why it was missed only if no owner has it.
    """
    is_there = any(one.entry is not None and one.role for one in shards)
    known = [one for one in shards if one.left_s is not None and (one.role or one.left != "moved" or not is_there)]
    return min(known, key=lambda one: (not one.role, one.left == "moved", one.left_s), default=None)


def of_answers(topology: Topology, key: bytes, answered: list[KeyAtShard]) -> Explanation:
    """Return what follows from the answers; all shards of `topology` were asked.

    Raises:
        ShardUnavailableError: none of them answered.
    """
    asked = [shard.id for shard in topology.shards]
    if not answered:
        raise ShardUnavailableError(f"no shard of {topology.cluster!r} answered; asked {', '.join(asked)}")
    return Explanation.of(topology, key, slot_of(key), answered, asked)


def question(key: bytes) -> Request[KeyAtShard]:
    """Return what one shard is asked."""
    return Question(frames.command(b"RC.EXPLAIN", key), KeyAtShard.from_bytes)


def header(key: bytes, found: Explanation) -> Request[Header | None]:
    """Return a question for how a loaded value begins; None: it is none, or is not there any more. Counts as a use."""
    if found.entry is not None and found.entry.kind == _KINDS[OBJECT]:  # not with GETRANGE: that would fetch all of it
        return Question(frames.command(b"RC.GETL", key), partial(_header, at=_OBJECT_HEAD))
    frame = frames.command(b"GETRANGE", key, b"0", b"%d" % (_HEADER_BYTES - 1))
    return Question(frame, _header)


def _header(reply: Any, at: int = 0) -> Header | None:
    try:
        return header_of(reply, at)
    except Exception:  # cut off, of a newer version, or overwritten meanwhile: nothing follows from it
        return None


def needs_header(found: Explanation) -> bool:
    """Return whether the value may be one that does not count any more."""
    return found.entry is not None and found.entry.kind in (_KINDS[LOADED], _KINDS[OBJECT])


def invalidated(found: Explanation) -> Explanation:
    """Return `found` for a value that does not count."""
    return Explanation(found.cluster, found.key, found.slot, found.owners, found.shards, "invalidated", None, "",
                       found.unreachable)


def record(found: Explanation) -> dict[str, Any]:
    """Return everything as JSON types; the key as text that shows every byte."""
    return {
        "cluster": found.cluster, "key": shown_key(found.key), "slot": found.slot, "owners": list(found.owners),
        "present": found.is_present, "copies": found.copies, "missed": found.missed, "missed_s": found.missed_s,
        "missed_at": found.missed_at, "sentence": found.sentence, "known_s": found.known_s,
        "unreachable": list(found.unreachable),
        "shards": [
            {"shard": one.shard_id, "role": one.role, "left": one.left, "left_s": one.left_s, "known_s": one.known_s,
             "entry": None if one.entry is None else {
                 "version": str(one.entry.version), "kind": one.entry.kind, "size_bytes": one.entry.size_bytes,
                 "charged_bytes": one.entry.charged_bytes, "ttl_s": one.entry.ttl_s}}
            for one in found.shards
        ],
    }  # fmt: skip


def span(seconds: float) -> str:
    """Return a length of time as people say it: "0.4 s", "12 s", "4.2 min", "3.0 h", "2.1 d"."""
    for limit, unit, name in ((120.0, 1.0, "s"), (7200.0, 60.0, "min"), (172800.0, 3600.0, "h")):
        if seconds < limit:
            return f"{seconds / unit:.1f} {name}" if seconds / unit < 10 or unit > 1 else f"{seconds:.0f} {name}"
    return f"{seconds / 86400:.1f} d"
