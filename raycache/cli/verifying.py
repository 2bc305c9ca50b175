"""`verify`: compare the copies of every slot now, and repair what differs.

What lives here: putting the shards' answers together, asking again where writes were under way, and printing. What does
not: the comparison (`raycache.replication`), which shards do among themselves.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import click

from raycache.cli import output
from raycache.cli.backend import Backend
from raycache.errors import RayCacheError

Difference = tuple[int, str, str]
"""A slot, and the two shards whose copies of it differ, the lower name first."""

LOOKS: Final = 3
"""A write on its way looks like a difference: what does not differ each time has been delivered."""
LOOK_AGAIN_S: Final = 0.5
RANGES_SHOWN: Final = 12


@dataclass(frozen=True, slots=True)
class Comparison:
    """What all shards together have found."""

    compared: int = 0
    """Slots compared, once for each pair of shards that did so."""
    differences: frozenset[Difference] = frozenset()
    evicted: int = 0
    """Slots that differ where one of both shards has evicted something, which explains it."""
    unanswered: tuple[str, ...] = ()
    """Who could not be compared, and why."""


@dataclass(slots=True)
class Outcome:
    """One verification, from beginning to end."""

    compared: int = 0
    found: frozenset[Difference] = frozenset()
    remaining: frozenset[Difference] = frozenset()
    evicted: int = 0
    unanswered: tuple[str, ...] = ()
    is_repaired: bool = field(default=False)
    """Whether a repair was asked for."""

    @property
    def is_clean(self) -> bool:
        return not self.remaining and not self.unanswered


@click.command()
@click.argument("name")
@click.option("--repair", is_flag=True, help="Have the shards exchange what differs, and compare again.")
@click.option("--timeout", "timeout_s", type=click.FloatRange(min=0.1), default=60.0, show_default=True,
              help="Seconds to wait for a repair.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.pass_obj
def verify(backend: Backend, name: str, repair: bool, timeout_s: float, as_json: bool) -> None:
    """Compare all copies of all slots of the cluster NAME now, and print which differ.

    Shards compare by themselves every half a minute and repair what they find; this does it at once and shows it. Each
    pair of shards compares one number for each slot that both hold; no key is sent for that. It looks up to three times
    and reports only what differs each time, because a write under way looks like a difference. A slot from which a full
    shard has evicted something may differ for good; such slots are counted apart and are no fault.

    Exit status: 0 if nothing differs (after the repair, with --repair), 1 if something does or a shard did not answer.

    \b
    Examples:
      raycache verify features
      raycache verify features --repair
      raycache verify features --json
    """
    backend.attach(start=False)
    with output.busy(f"Comparing the copies of {name}"):
        mend = (lambda: backend.repair(name)) if repair else None
        outcome = verify_now(lambda: combine(*backend.compare(name)), mend, timeout_s=timeout_s)
    if as_json:
        output.print_json(record(name, outcome))
    else:
        _print(name, outcome)
    if not outcome.is_clean:
        raise click.exceptions.Exit(1)


def verify_now(look: Callable[[], Comparison], repair: Callable[[], None] | None, *, timeout_s: float,
               pause: Callable[[float], None] = time.sleep, clock: Callable[[], float] = time.monotonic) -> Outcome:
    """Compare until the differences are told from writes under way; repair, if asked to, until none are left."""
    seen = look()
    outcome = Outcome(seen.compared, seen.differences, seen.differences, seen.evicted, seen.unanswered)
    for _ in range(LOOKS - 1):
        if not outcome.found:
            break
        pause(LOOK_AGAIN_S)
        _narrow(outcome, look())
        outcome.found = outcome.remaining
    if repair is None or not outcome.remaining:
        return outcome
    outcome.is_repaired = True
    repair()
    deadline_s = clock() + timeout_s
    while outcome.remaining and clock() < deadline_s:
        pause(LOOK_AGAIN_S)
        _narrow(outcome, look())
    return outcome


def _narrow(outcome: Outcome, seen: Comparison) -> None:
    outcome.remaining &= seen.differences
    outcome.evicted, outcome.unanswered = seen.evicted, seen.unanswered


def combine(replication: str, reports: Mapping[str, Mapping[str, Any] | RayCacheError]) -> Comparison:
    """Put together what each shard answered, or why it did not.

    With one primary its replicas compare themselves with it; where all owners are equal, both of a pair do.
    """
    compared, evicted, differences, unanswered = 0, 0, set[Difference](), []
    for shard_id, report in sorted(reports.items()):
        if isinstance(report, RayCacheError):
            unanswered.append(f"{shard_id}: {report}")
            continue
        compared += report["compared"]
        evicted += report["evicted"]
        for slot, peer in report["differences"]:
            one, other = sorted((shard_id, peer))
            differences.add((slot, one, other))
        unanswered += [f"{shard_id}: no answer from {peer}" for peer in report["unanswered"]]
    told_by = 1 if replication == "primary-replica" else 2
    return Comparison(compared // told_by, frozenset(differences), evicted // told_by, tuple(unanswered))


def record(name: str, outcome: Outcome) -> dict[str, Any]:
    """Return a verification as JSON types."""
    def plain(differences: Iterable[Difference]) -> list[dict[str, Any]]:
        return [{"slot": slot, "shards": [one, other]} for slot, one, other in sorted(differences)]

    return {
        "name": name, "compared": outcome.compared, "clean": outcome.is_clean, "repaired": outcome.is_repaired,
        "differences_found": plain(outcome.found), "differences": plain(outcome.remaining), "evicted": outcome.evicted,
        "unanswered": list(outcome.unanswered),
    }  # fmt: skip


def _print(name: str, outcome: Outcome) -> None:
    if not outcome.compared and outcome.is_clean:
        click.echo(f"{name}: one copy of each slot, nothing to compare")
        return
    found, left = len(outcome.found), len(outcome.remaining)
    if outcome.is_repaired:
        verdict = f"{found:,} differed, {left:,} still do after the repair"
    else:
        verdict = f"{found:,} differ" if found else "all equal"
    click.echo(f"{name}: {outcome.compared:,} slots compared between their owners, {verdict}")
    rows = pair_rows(outcome.remaining)
    if rows:
        output.print_table(("shards", "slots that differ", "which"), rows, left=1)
    if outcome.evicted:
        output.note(f"{outcome.evicted:,} more slots differ where a full shard has evicted something; that is no fault")
    for text in outcome.unanswered:
        output.note(f"warning: not compared: {text}")


def pair_rows(differences: Iterable[Difference]) -> list[tuple[str, str, str]]:
    """Return a line for each pair of shards: who, how many slots, which."""
    by_pair: dict[tuple[str, str], list[int]] = {}
    for slot, one, other in sorted(differences):
        by_pair.setdefault((one, other), []).append(slot)
    return [(f"{one}, {other}", f"{len(slots):,}", ranges_text(slots)) for (one, other), slots in by_pair.items()]


def ranges_text(slots: list[int]) -> str:
    """Return ascending slots as people write them: "3, 7-9", at most a dozen ranges."""
    ranges: list[list[int]] = []
    for slot in slots:
        if ranges and ranges[-1][1] == slot - 1:
            ranges[-1][1] = slot
        else:
            ranges.append([slot, slot])
    shown = ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in ranges[:RANGES_SHOWN])
    return shown + (f", and {len(ranges) - RANGES_SHOWN} more ranges" if len(ranges) > RANGES_SHOWN else "")


COMMANDS = (verify,)
