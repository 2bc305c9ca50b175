"""Slots on their way to this shard: the receiver's side of a transfer, and of a repair.

What lives here: one arrival's state, as a machine that is asked for its next message and told the answers. What does
not: serving commands meanwhile (`raycache.shard.careful`), the giver's side (`giving`). Belongs to the shard's loop;
time is handed in.

A transfer (out of the topology) has five states. *starting*: the giver is told, so that it stops serving; commands on
these slots wait, for `START_WAIT_S` at most. *streaming*: entries come chunk by chunk, while commands are served and
pull what they miss. *checking*: digests are compared; slots that differ are asked for again, twice at most. *copying*:
only objects of large values are on their way still. *done*. The receiver asks for each chunk, so its pace is the
throttle, and its cursor lets it go on after any interruption.

A repair is the same without the first state: these slots differ from what another owner has. Where that owner is the
primary, a repair also removes what the primary does not have (*pruning*).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from raycache.replication.messages import Message
from raycache.replication.version import version_shard
from raycache.ring.slots import SLOT_COUNT, bitmap_of

START_WAIT_S: Final = 1.0
"""How long commands wait for the giver; longer means that it is dead or cut off, and then nobody else serves."""
RETRY_S: Final = 0.3
"""An unanswered question is repeated after this."""
PACE_S: Final = 0.0018
"""From asking for one chunk to asking for the next, at least."""
REST: Final = 4.0
"""After an answer the receiver rests this many times as long as the answer took: a chunk costs giver and receiver a few
tenths of a millisecond, and where they or their machine have much to do, answers come late and the move takes what is
left."""
REFILL_REST: Final = 3.0
"""The same where copies are missing until all has come: that is more urgent than the last percent of the reads."""
LONGEST_PACE_S: Final = 0.1
RECHECK_S: Final = 0.05
"""Slots that differ are compared once more after this, before they are asked for again: writes are on their way."""
ATTEMPTS: Final = 3
MOST_SETTLED: Final = 100_000
"""Keys remembered as absent at the giver too; beyond it they are asked for again."""


_REPAIR: Final = "repair "


def repair_of(peer: str) -> str:
    """Return the name of the repair that brings what `peer` has."""
    return _REPAIR + peer


def is_repair(name: str) -> bool:
    """Return whether an arrival of this name is a repair, and not a transfer out of the topology."""
    return name.startswith(_REPAIR)


class Arrival:
    """One giver's slots on their way here."""

    def __init__(self, arrival_id: str, giver: str, slots: list[int], now_s: float, *, is_repair: bool = False,
                 is_authority: bool = False, was_whole: bool = False,
                 is_refill: bool = False) -> None:
        self.id = arrival_id
        self.giver = giver
        self.slots = slots
        self.is_repair = is_repair
        self.seen: set[bytes] = set()
        """Keys that the giver has in `rest`, where what it does not have is to go."""
        self.prune_cursor = 0
        self.prune_version = 0
        self.prune_floor = 0
        self._is_authority = is_authority
        self.was_whole = was_whole
        """This shard had a whole copy of the slots before: what differs is looked for first, and only that streamed."""
        self.member = bytearray(SLOT_COUNT)
        for slot in slots:
            self.member[slot] = 1
        self.is_refill = is_refill or is_repair
        """Copies are missing until it has ended."""
        self.state = "streaming" if is_repair else "starting"
        self.began_s = now_s
        self.ended_s = 0.0
        self.is_copying = False
        """All entries have come, and the objects of large values are still being copied (`raycache.shard.objects`)."""
        self.is_alone = False
        """The giver has not answered for so long that commands go on without it."""
        self.needs_clock = 0
        """Commands wait until the giver's stream has come as far as this."""
        self.settled: set[bytes] = set()
        """Keys that the giver does not have either."""
        self.only_records = False
        """Entries of these slots were cleared while they were on their way."""
        self.entries = self.bytes = self.misses = self.mismatches = 0
        self.on_started: list[Callable[[], None]] = []
        self._cursor = 0
        self._asked_s = float("-inf")
        self._is_asked = False
        self._pace_s = PACE_S
        self._attempt = 1
        self._is_rechecked = False
        self.rest = slots
        """The slots still asked for."""
        self._checks = [0, 0]

    @property
    def is_holding(self) -> bool:
        """Whether commands on these slots must wait."""
        return self.state == "starting" and not self.is_alone

    @property
    def is_done(self) -> bool:
        return self.state == "done" and not self.is_copying

    def step(self, now_s: float, epoch: int) -> Message | None:
        """Return the next question for the giver, if one is due; of "start" only the name."""
        if self.state == "starting" and not self.is_alone and now_s - self.began_s >= START_WAIT_S:
            self.is_alone = True
            self._release()
        wait_s = RETRY_S if self._is_asked else self._pace_s
        if self.state in ("done", "pruning") or now_s - self._asked_s < wait_s:
            return None
        self._asked_s, self._is_asked = now_s, True
        if self.state == "starting":
            return ["start"]
        if self.state == "checking":
            return ["digests", bitmap_of(self.rest), self.id, epoch]
        return ["more", self.id, self._cursor, bitmap_of(self.rest), epoch]

    def started(self, clock: int) -> None:
        """Take in that the giver has stopped serving, its clock at `clock`."""
        if self.state == "starting":
            self.state, self._is_asked, self.needs_clock = "streaming", False, clock
            if self.was_whole:
                self.state = "checking"
            self._release()

    def took(self, next_cursor: int, count: int, size: int, check: list[int], own: list[int], now_s: float) -> None:
        """Take in that a chunk has been merged.

        Args:
            check: count and checksum of all chunks so far, as the giver has them.
            own: count and checksum of this chunk.
        """
        if self.state != "streaming":
            return
        self._is_asked = False
        rest = REFILL_REST if self.is_refill else REST
        self._pace_s = min(max(PACE_S, (1 + rest) * (now_s - self._asked_s)), LONGEST_PACE_S)
        self.entries += count
        self.bytes += size
        self._checks = [self._checks[0] + own[0], self._checks[1] ^ own[1]]
        self._cursor = next_cursor
        if next_cursor == 0:
            self.mismatches += self._checks != check
            self._checks = [0, 0]
            self.state = "checking"

    def ask_again(self) -> None:
        """Take the last question as not asked: the giver cannot have got it."""
        self._asked_s, self._is_asked = float("-inf"), False

    def expects(self, cursor: int) -> bool:
        """Return whether a chunk that began at `cursor` is the one asked for."""
        return self.state == "streaming" and self._is_asked and cursor == self._cursor

    def checked(self, differing: list[int], now_s: float) -> None:
        """Take in which slots still differ."""
        if self.state != "checking":
            return
        self._is_asked = False
        self._pace_s = PACE_S
        if differing and not self._is_rechecked:
            self._is_rechecked, self._pace_s, self.rest = True, RECHECK_S, differing
        elif differing and self._attempt < ATTEMPTS:
            self._attempt += 1
            self.rest, self._cursor, self.state, self._is_rechecked = differing, 0, "streaming", False
            self.seen.clear()
        elif differing and self.notes_keys:
            self.rest, self.state = differing, "pruning"
        else:
            self.finish(now_s)

    @property
    def is_first_pass(self) -> bool:
        """Whether slots have been asked for once only."""
        return self._attempt == 1

    @property
    def notes_keys(self) -> bool:
        """Whether the keys of chunks are to be noted in `seen`: not in the first pass, which may be of a million."""
        return self._is_authority and self._attempt > 1

    def may_be_coming(self, version: int) -> bool:
        """Return whether the giver may have written this only after it was asked, so that it is in the stream."""
        return version > self.prune_version and self.giver == f"s{version_shard(version)}"

    def finish(self, now_s: float) -> None:
        """End it."""
        self.state, self.ended_s = "done", now_s
        self.settled.clear()
        self._release()

    def settle(self, key: bytes) -> None:
        """Remember that the giver does not have `key`."""
        if len(self.settled) >= MOST_SETTLED:
            self.settled.clear()
        self.settled.add(key)

    def describe(self, now_s: float) -> dict[str, object]:
        """Return what the router and an operator want to know."""
        state = "copying" if self.is_copying else self.state
        return {"state": state, "giver": self.giver, "slots": len(self.slots), "entries": self.entries,
                "bytes": self.bytes, "misses": self.misses, "mismatches": self.mismatches,
                "seconds": (self.ended_s or now_s) - self.began_s}

    def _release(self) -> None:
        callbacks, self.on_started = self.on_started, []
        for callback in callbacks:
            callback()
