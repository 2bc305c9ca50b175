"""How a cluster looks: a table of its shards for people, JSON types for programs.

What lives here: turning `ClusterStatus` into text. What does not: tables as such (`output`), the commands (`clusters`).
A cluster with one copy of everything shows nothing of copies.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final

import click

from raycache.cli.output import duration_text, note, print_table
from raycache.cluster_status import ClusterStatus, Lag, LossWindow, ShardStatus, TransferStatus
from raycache.config import format_bytes

_FIRST: Final = ("shard", "state", "machine", "address")
_USE: Final = ("entries", "used", "of", "hit ratio", "ops/s")
_ONE_COPY: Final = (*_FIRST, "slots", *_USE, "restarts")
_COPIES: Final = (*_FIRST, "primary", "replica", *_USE, "lag", "loss window", "restarts")
EVENTS_SHOWN: Final = 5


def status_record(status: ClusterStatus, *, secret: bool = False) -> dict[str, Any]:
    """Return a status as JSON types; without the secret unless asked for."""
    record = dataclasses.asdict(status)
    if not secret:
        del record["secret"]
    for shard, plain in zip(status.shards, record["shards"], strict=True):
        plain["hit_ratio"] = shard.hit_ratio
    return {**record, "serving": status.serving, "entries": status.entries, "hit_ratio": status.hit_ratio,
            "loss": dataclasses.asdict(status.loss), "queued": status.queued,
            "queue_oldest_s": status.queue_oldest_s, "dead_letters": status.dead_letters}  # fmt: skip


def print_status(status: ClusterStatus) -> None:
    """Print a cluster for people: what it is, a line a shard, the doors, and what an operator should know."""
    click.echo(_headline(status))
    has_copies = status.copies > 1
    rows = [_shard_row(shard, has_copies=has_copies) for shard in status.shards]
    print_table(_COPIES if has_copies else _ONE_COPY, rows, left=len(_FIRST))
    click.echo(f"gateways: {', '.join(status.gateways) or 'none'}")
    if status.standby_machine:
        click.echo(f"router: on {status.router_machine}, with a standby on {status.standby_machine}")
    if waiting := queue_text(status):
        click.echo(f"queue: {waiting}")
    for transfer in status.transfers:
        click.echo(f"moving: {transfer_text(transfer)}")
    # Single transfers are in the JSON; of the change that they belong to one line tells the sum.
    for event in [event for event in status.events if event.kind != "transfer"][:EVENTS_SHOWN]:
        click.echo(f"{duration_text(event.age_s)} ago: {event.text}")
    if status.requires_auth:
        click.echo(f"the doors demand AUTH: `raycache status {status.name} --secret` shows the password")
    print_warnings(status)


def queue_text(status: ClusterStatus) -> str:
    """Return what waits for databases in one line, "" if nothing does."""
    parts = []
    if status.queued:
        parts.append(f"{status.queued:,} writes wait for a database, the oldest for "
                     f"{duration_text(status.queue_oldest_s)}")
    if status.dead_letters:
        parts.append(f"{status.dead_letters:,} writes were refused by a database: see `raycache letters {status.name} "
                     "STORE`")
    return "; ".join(parts)


def _headline(status: ClusterStatus) -> str:
    state = "serving" if status.serving else "NOT SERVING"
    shards = f"{len(status.shards)} shards of {format_bytes(status.memory_per_shard_bytes)}"
    copies = f"{status.copies} copies ({status.replication}), " if status.copies > 1 else ""
    return f"{status.name}: {state}, {shards}, {copies}policy {status.policy}, epoch {status.epoch}"


def print_warnings(status: ClusterStatus) -> None:
    """Print what an operator should know, on standard error."""
    for warning in status.warnings:
        note(f"warning: {warning}")


def transfer_text(transfer: TransferStatus) -> str:
    """Return one line for a transfer: who gives whom how much, and how far it is."""
    progress = f"{transfer.entries:,} entries, {format_bytes(transfer.bytes)} in {duration_text(transfer.seconds)}"
    misses = f", {transfer.misses:,} misses" if transfer.misses else ""
    state = f"{transfer.state}, {progress}{misses}" if transfer.state else "not begun"
    return f"{transfer.giver} -> {transfer.receiver}, {transfer.slots:,} slots: {state}"


def _shard_row(shard: ShardStatus, *, has_copies: bool) -> tuple[str, ...]:
    ratio = f"{shard.hit_ratio:.1%}" if shard.hits + shard.misses else "-"
    first = (shard.id, _state(shard), shard.machine, shard.address, f"{shard.slots:,}")
    use = (f"{shard.entries:,}", format_bytes(shard.used_bytes), format_bytes(shard.capacity_bytes), ratio,
           f"{shard.commands_per_s:,.0f}")  # fmt: skip
    if not has_copies:
        return (*first, *use, f"{shard.restarts}")
    return (*first, f"{shard.replica_slots:,}", *use, _lag(shard.lag), _waiting(shard.loss), f"{shard.restarts}")


def _state(shard: ShardStatus) -> str:
    remarks = [text for text, holds in (("no lease", not shard.has_lease), ("draining", shard.is_draining)) if holds]
    return ", ".join((shard.state, *remarks))


def _lag(lag: Lag) -> str:
    return _waiting(lag) + (f", {lag.dropped:,} given up" if lag.dropped else "")


def _waiting(window: Lag | LossWindow) -> str:
    """Return "0", or how many writes wait, their size, and the age of the oldest."""
    if not window.mutations:
        return "0"
    return f"{window.mutations:,} ({format_bytes(window.bytes)}, {duration_text(window.age_s)})"
