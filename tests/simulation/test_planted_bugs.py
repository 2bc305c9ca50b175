"""The simulation finds bugs: each of these is put in, and must be caught within so many seeds.

A simulation that passes proves nothing until it has been seen to fail. Every bug here is one that somebody could really
write, in one place of the real core; the seeds are the ordinary ones, with the troubles that matter made more likely.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any
from zlib import crc32

import pytest

from raycache.replication import quorum
from raycache.replication.copies import Copies
from raycache.replication.outbox import Outbox
from raycache.replication.replicator import Replicator
from raycache.replication.tombstones import Tombstones
from raycache.ring.slots import slot_of
from raycache.shard import careful
from raycache.testing.simulation import run_seed
from raycache.testing.simulation.scenario import draw

Patch = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Bug:
    name: str
    plant: Patch
    mode: str
    faults: tuple[str, ...]
    caught_by: set[str]
    """Any of these checks; another one may be first."""
    copies: int = 0
    chaos_s: float = 2.0
    settings: dict[str, Any] = field(default_factory=dict)
    mix: dict[str, Any] = field(default_factory=dict)
    seeds: int = 60


def _serve_without_lease(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Replicator, "has_lease", lambda self, now_s: True)


def _drop_tombstones_early(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Tombstones, "add", lambda self, key, version, now_s: None)


def _forget_hints_in_silence(patch: pytest.MonkeyPatch) -> None:
    def rewind(self: Any) -> None:
        """What a broken connection took is gone, and the numbers hide it."""
        self.offset -= len(self) - len(self._fresh)
        self.bytes -= self._sent_bytes
        self._sent.clear()
        self._sent_bytes = 0

    patch.setattr(Outbox, "rewind", rewind)


def _let_older_versions_win(patch: pytest.MonkeyPatch) -> None:
    real = Copies.merge

    def merge(self: Any, mutation: Any) -> bool:
        entry = self._host.store.peek(mutation[0], self._host.now_ms)
        if entry is not None and mutation[4] is not None and mutation[1] < entry.version:
            pair = hash((crc32(entry.key), entry.version)) ^ hash((crc32(entry.key), mutation[1] - 1))
            self.digest_of[slot_of(entry.key)] ^= pair
            entry.version = mutation[1] - 1
        return real(self, mutation)

    def merge_each(self: Any, mutations: list[Any], merge: Any) -> None:
        for mutation in mutations:
            self.merge(mutation)

    patch.setattr(Copies, "merge", merge)
    patch.setattr(Copies, "merge_each", merge_each)


def _take_evicted_for_absent(patch: pytest.MonkeyPatch) -> None:
    for module in (quorum, careful):
        patch.setattr(module, "is_safe", lambda answers, best, needed: True)


def _acknowledge_before_anybody_has_it(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Outbox, "has", lambda self, offset: True)


def _forget_tokens(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Replicator, "is_behind", lambda self, token: False)


BUGS = [
    Bug("a primary serves without a lease", _serve_without_lease, "primary-replica", ("cut", "pause"),
        {"one_writer_per_slot"}),
    Bug("tombstones are dropped early", _drop_tombstones_early, "multi-primary", ("reset", "cut", "slow"),
        {"largest_version_wins", "copies_converge"}),
    Bug("hints are forgotten in silence", _forget_hints_in_silence, "multi-primary", ("reset", "cut"),
        {"copies_converge", "digests_agree", "acknowledged_writes_last"}),
    # Comparing copies mends it in the end; until then whoever wrote later reads what is older.
    Bug("older versions win", _let_older_versions_win, "multi-primary", ("reset", "slow"),
        {"copies_converge", "largest_version_wins", "acknowledged_writes_last", "tokens_give_own_writes"},
        mix={"keys": 3, "tokens": 0.7, "replica_reads": 0.7, "think_s": 0.01}),
    # A copy that is cut off and then told nothing keeps what the others have replaced and evicted meanwhile.
    Bug("an evicted key counts as absent", _take_evicted_for_absent, "quorum", ("cut",),
        {"reads_see_acknowledged_writes"}, chaos_s=4.0, settings={"max_entries_per_shard": 3, "backlog_bytes": 600},
        mix={"keys": 6, "reads": 0.7, "elsewhere": 0.2, "think_s": 0.01}),
    Bug("writes are acknowledged before anybody has them", _acknowledge_before_anybody_has_it, "primary-replica",
        ("crash", "power", "slow"), {"acknowledged_copies_exist"}, mix={"acks": 0.8, "reads": 0.2, "think_s": 0.01}),
    Bug("tokens are forgotten", _forget_tokens, "multi-primary", ("slow", "pause"), {"tokens_give_own_writes"},
        mix={"tokens": 0.7, "replica_reads": 0.7}),
]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("bug", BUGS, ids=[bug.name for bug in BUGS])
def test_a_planted_bug_is_caught(bug: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    bug.plant(monkeypatch)
    found: list[str] = []
    for seed in range(bug.seeds):
        scenario = draw(seed, bug.mode)
        scenario.faults = bug.faults
        scenario.copies = bug.copies or scenario.copies
        scenario.chaos_s = bug.chaos_s
        scenario.settings |= bug.settings
        scenario.mix = replace(scenario.mix, **bug.mix)
        outcome = run_seed(seed, scenario=scenario)
        found += outcome.breaches
        if bug.caught_by & {breach.split(":")[0] for breach in outcome.breaches}:
            return
    pytest.fail(f"{bug.seeds} seeds did not notice that {bug.name}; they found {found[:3]}")
