"""The promises, each as a check of what happened. They were written before the faults that try to break them.

What lives here: one function per promise, its docstring the promise in words, and which mode keeps which. What does
not: collecting evidence (`history`, `observer`) and causing trouble (`faults`). A check yields one sentence per breach.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from raycache.testing.simulation.history import PLAIN, History, Operation

Copy = dict[bytes, tuple[int, bytes | None]]
"""What a shard has: key -> (version, value), value None for a tombstone."""


@dataclass(slots=True)
class Evidence:
    """What is judged: what happened, and what is there at the end, when all has been quiet for a while."""

    mode: str
    copies: int
    history: History
    is_gentle: bool
    """Nobody died, nobody stood still, nothing was cut: shards came and went, and the router."""
    evicts: bool
    """The shards were too small for all the keys."""
    final: dict[str, Copy] = field(default_factory=dict)
    owners: dict[int, list[str]] = field(default_factory=dict)
    """By slot, of the slots that were used."""
    tables: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    """Epoch and slot table at each shard, and at the router."""
    digests: dict[int, dict[str, int]] = field(default_factory=dict)
    probes: dict[int, str] = field(default_factory=dict)
    """By slot: what its first owner answered to a last question; "" = it serves."""
    invariants: list[str] = field(default_factory=list)
    unsettled: str = ""
    """What the router still had to do at the end."""

    def newest(self, key: bytes, slot: int) -> tuple[int, bytes | None]:
        """Return the newest of what the slot's owners have of `key`."""
        found = [self.final[shard][key] for shard in self.owners.get(slot, ()) if key in self.final.get(shard, {})]
        return max(found, default=(0, None), key=lambda one: one[0])


Check = Callable[[Evidence], Iterator[str]]


def only_written_values(evidence: Evidence) -> Iterator[str]:
    """No read returns a value that was never written to that key, or was written only later."""
    written: dict[bytes, dict[bytes, float]] = {}
    for operation in evidence.history.operations:
        if operation.value is not None:
            written.setdefault(operation.key, {})[operation.value] = operation.invoked_s
    for read in _reads(evidence):
        if read.result is not None:
            at_s = written.get(read.key, {}).get(read.result)
            if at_s is None or at_s > read.returned_s:
                yield f"nobody had written that: {read}"


def acknowledged_writes_last(evidence: Evidence) -> Iterator[str]:
    """An acknowledged write is there at the end, or something newer is, unless every copy of it died with its shard."""
    for write in _acknowledged(evidence):
        version, _ = evidence.newest(write.key, write.slot)
        if version < write.version and not _may_be_gone(evidence, write):
            yield f"lost, though copies of it lived on (newest is {version}): {write}"


def acknowledged_copies_exist(evidence: Evidence) -> Iterator[str]:
    """A write acknowledged by k copies beside its own shard does not die with any one shard."""
    for death in evidence.history.deaths:
        for write in death.lost:
            if write.acks >= 1:
                yield f"acknowledged by {write.acks} more, and yet only on {death.shard} when that died: {write}"


def losses_were_announced(evidence: Evidence) -> Iterator[str]:
    """When a shard dies, no more acknowledged writes are lost with it than its loss window said, beside those to slots
    that it said it was the only owner of."""
    for death in evidence.history.deaths:
        lost = [write for write in death.lost if write.slot not in death.alone]
        if death.window is not None and len(lost) > death.window:
            yield (f"{death.shard} died at {death.at_s:.4f} with {len(lost)} acknowledged writes that only it "
                   f"had, and had said {death.window}: " + "; ".join(str(write) for write in lost[:3]))


def later_writes_win(evidence: Evidence) -> Iterator[str]:
    """One primary orders all writes of a key: what was written before an acknowledged write began never replaces it."""
    versions = evidence.history.versions_by_value()
    for write in _acknowledged(evidence):
        final_version, final = evidence.newest(write.key, write.slot)
        if final is None or final == write.value or _may_be_gone(evidence, write):
            continue
        ran_s = [one.at_s for one in versions.get(final, ())]
        if ran_s and max(ran_s) < write.invoked_s:
            yield (f"{final!r}, written at {max(ran_s):.4f} under version {final_version}, "
                   f"stands at the end in place of the later {write}")


def one_writer_per_slot(evidence: Evidence) -> Iterator[str]:
    """At no true moment do two shards take writes for one slot: once one has done so under a later epoch, no other does
    under an earlier one, whatever it believes after a pause or behind a partition."""
    latest: dict[int, tuple[int, str, float]] = {}
    for execution in evidence.history.executions:
        slot = execution.operation.slot
        epoch, shard, at_s = latest.get(slot, (-1, "", 0.0))
        if execution.shard != shard and execution.epoch < epoch:
            yield (f"slot {slot}: {execution.shard} wrote at {execution.at_s:.4f} under epoch {execution.epoch}, "
                   f"after {shard} had at {at_s:.4f} under {epoch}: {execution.operation}")
        if execution.epoch >= epoch:
            latest[slot] = (execution.epoch, execution.shard, execution.at_s)


def tokens_give_own_writes(evidence: Evidence) -> Iterator[str]:
    """A read with a token sees every write that was acknowledged before the token was taken, or something newer."""
    for read in _reads(evidence):
        for write in read.covered:
            if _sees_older(evidence, read, write):
                yield f"{read} came with a token that covers {write}"


def reads_see_acknowledged_writes(evidence: Evidence) -> Iterator[str]:
    """A read that starts after a write was acknowledged returns that version or a newer one; a miss only where the key
    was evicted, has expired or was deleted."""
    yield from _reads_of_older_values(evidence, list(_reads(evidence)))


def _reads_of_older_values(evidence: Evidence, reads: list[Operation]) -> Iterator[str]:
    by_key = evidence.history.writes_by_key()
    for read in reads:
        earlier = [write for write in by_key.get(read.key, ())
                   if write.is_acknowledged and write.returned_s < read.invoked_s]
        for write in sorted(earlier, key=lambda one: -one.version)[:2]:
            if _sees_older(evidence, read, write):
                yield f"{read} began after {write} had been acknowledged"
                break


def gentle_reads_see_acknowledged_writes(evidence: Evidence) -> Iterator[str]:
    """While shards come and go, and nothing breaks, every read at the primary sees the last acknowledged write: no
    extra misses. (Where any owner takes writes, the others hear of them a little later.)"""
    if evidence.is_gentle and evidence.mode != "multi-primary":
        yield from _reads_of_older_values(evidence, [read for read in _reads(evidence) if read.is_at_primary])


def copies_converge(evidence: Evidence) -> Iterator[str]:
    """After quiet all copies of a slot hold the same keys, versions and values. Where shards evict, a copy may miss a
    key, but it never holds another version."""
    keys = {key: write.slot for key, writes in evidence.history.writes_by_key().items() for write in writes}
    expiring = evidence.history.expiring
    for key, slot in keys.items():
        owners = evidence.owners.get(slot, [])
        found = {shard: evidence.final[shard].get(key, (0, None)) for shard in owners if shard in evidence.final}
        shown = {one for one in found.values() if one[1] is not None or not (evidence.evicts or key in expiring)}
        # A copy without the key, and one with its tombstone, say the same to whoever reads.
        values = {(version, value) for version, value in shown if value is not None}
        is_gone_somewhere = any(value is None for _, value in shown)
        if len(values) > 1 or (values and is_gone_somewhere):
            yield f"the copies of {key!r} differ: {found}"


def digests_agree(evidence: Evidence) -> Iterator[str]:
    """After quiet the digests of a slot are the same at all its owners. (Not while keys expire in it: clocks that are
    minutes apart do that minutes apart.)"""
    expiring = {operation.slot for operation in evidence.history.operations if operation.expires}
    for slot, digests in evidence.digests.items():
        if len(set(digests.values())) > 1 and not evidence.evicts and slot not in expiring:
            yield f"the digests of slot {slot} differ: {digests}"


def largest_version_wins(evidence: Evidence) -> Iterator[str]:
    """What stands at the end is the write with the largest version of all that were acknowledged; a deleted key stays
    deleted."""
    for key, writes in evidence.history.writes_by_key().items():
        version, value = evidence.newest(key, writes[0].slot)
        acknowledged = [write for write in writes if write.is_acknowledged and not _may_be_gone(evidence, write)]
        winner = max(acknowledged, default=None, key=lambda one: one.version)
        if winner is None or version > winner.version:
            continue
        if version < winner.version and not (winner.kind == "delete" and value is None):
            yield f"{value!r} under version {version} stands at the end in place of {winner}"
        elif version == winner.version and value != winner.value:
            yield f"version {version} means {value!r}, and meant {winner}"


def epochs_grow(evidence: Evidence) -> Iterator[str]:
    """The epoch at each shard only grows while it lives."""
    held: dict[tuple[str, int], int] = {}
    for shard, life, epoch, term in evidence.history.epochs:
        before = held.get((shard, life), -1)
        if epoch <= before:
            yield f"{shard} went from epoch {before} to {epoch} (term {term})"
        held[shard, life] = epoch


def tables_agree(evidence: Evidence) -> Iterator[str]:
    """After quiet the router and all shards hold the same topology."""
    if len(set(evidence.tables.values())) > 1:
        epochs = {name: epoch for name, (epoch, _) in evidence.tables.items()}
        yield f"not everybody holds the same topology; their epochs: {epochs}"


def every_slot_is_served(evidence: Evidence) -> Iterator[str]:
    """After quiet every slot is served again, whatever was lost before."""
    for slot, answer in evidence.probes.items():
        if answer:
            yield f"slot {slot} is not served after quiet: {answer}"


def everything_settles(evidence: Evidence) -> Iterator[str]:
    """After quiet the router has nothing left to do: all shards up, every transfer ended, everybody told."""
    if evidence.unsettled:
        yield evidence.unsettled


def nothing_hangs(evidence: Evidence) -> Iterator[str]:
    """Every call ends by its deadline, with an answer or an error."""
    for operation in evidence.history.operations:
        if operation.outcome == "open" or operation.returned_s > operation.deadline_s + 0.1:
            yield f"it hung: {operation}"


def bounds_hold(evidence: Evidence) -> Iterator[str]:
    """Outboxes, hints and tombstones stay within their bounds, and no command stays longer than its timeout."""
    yield from evidence.history.bounds


def stores_are_sound(evidence: Evidence) -> Iterator[str]:
    """The tables inside every store agree with each other (`Store.check_invariants`)."""
    yield from evidence.invariants


ALWAYS: Final[tuple[Check, ...]] = (
    only_written_values, epochs_grow, tables_agree, every_slot_is_served, everything_settles, nothing_hangs,
    bounds_hold, stores_are_sound, gentle_reads_see_acknowledged_writes,
)
COPIES: Final[tuple[Check, ...]] = (
    acknowledged_writes_last, acknowledged_copies_exist, losses_were_announced, copies_converge, digests_agree,
    tokens_give_own_writes,
)
BY_MODE: Final[dict[str, tuple[Check, ...]]] = {
    "primary-replica": (*COPIES, one_writer_per_slot, later_writes_win),
    "multi-primary": (*COPIES, largest_version_wins),
    "quorum": (*COPIES, largest_version_wins, reads_see_acknowledged_writes),
}

AFTER_QUIET: Final[tuple[Check, ...]] = (
    tables_agree, every_slot_is_served, everything_settles, nothing_hangs, copies_converge, digests_agree,
    largest_version_wins, acknowledged_writes_last, later_writes_win,
)
"""Those that quiet may still bring about."""


def breaches(evidence: Evidence) -> list[str]:
    """Return every breach of a promise that the mode makes, "check: what"."""
    checks = ALWAYS if evidence.copies == 1 else (*ALWAYS, *BY_MODE[evidence.mode])
    return [f"{check.__name__}: {breach}" for check in checks for breach in check(evidence)]


def _reads(evidence: Evidence) -> Iterator[Operation]:
    for operation in evidence.history.operations:
        if operation.kind == "get" and operation.outcome == "ok":
            yield operation


def _acknowledged(evidence: Evidence) -> Iterator[Operation]:
    """Yield the writes that must last: acknowledged, found at the shard that did them, and not meant to expire."""
    for operation in evidence.history.operations:
        if operation.is_acknowledged and operation.version and not operation.expires and not evidence.evicts:
            yield operation


def _may_be_gone(evidence: Evidence, write: Operation) -> bool:
    return (evidence.evicts or write.key in evidence.history.expiring
            or evidence.history.may_be_lost(write.key, write.version))


def _sees_older(evidence: Evidence, read: Operation, write: Operation) -> bool:
    """Say whether `read` should have seen `write`, and saw something older."""
    if not write.version or evidence.history.may_be_lost(write.key, write.version, read.returned_s):
        return False
    if read.result is not None:
        # What was written after the write had been acknowledged is later, whatever versions say: a primary may write it
        # again under a larger one, and where all owners have died nobody knows how far versions had come.
        ran = evidence.history.versions_by_value().get(read.result, ())
        return bool(ran) and max(one.version for one in ran) < write.version and (
            max(one.at_s for one in ran) < write.returned_s)
    if evidence.evicts or write.expires or read.key in evidence.history.expiring or write.kind == "delete":
        return False
    deletes = (one for one in evidence.history.executions
               if one.operation.kind == "delete" and one.operation.key == read.key and one.at_s <= read.returned_s)
    return not any(one.version > write.version for one in deletes)


__all__ = ["AFTER_QUIET", "ALWAYS", "BY_MODE", "COPIES", "PLAIN", "Copy", "Evidence", "breaches"]
