"""`explain`: what a cluster knows of one key: where it lives, and why it was missed last.

What lives here: the command and its lines. What does not: what is known, and the words for why
(`raycache.client.explain`).
"""

from __future__ import annotations

import os

import click

from raycache.cli import output
from raycache.cli.backend import Backend
from raycache.client.explain import Explanation, KeyAtShard, record, span
from raycache.client.top import shown_key
from raycache.config import format_bytes


@click.command()
@click.argument("name")
@click.argument("key")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.pass_obj
def explain(backend: Backend, name: str, key: str, as_json: bool) -> None:
    """Explain KEY in the cluster NAME: where it lives, its copies, version, lifetime and size, and why it was missed.

    A key was never written, has expired, was evicted or deleted, has moved away, or its value was invalidated. Shards
    remember that for a while; how far back they would know is said, too. A key that is not there is no failure.

    \b
    Examples:
      raycache explain features user:1
      raycache explain features user:1 --json
    """
    backend.attach(start=False)
    with backend.connect(name) as cache:
        found = cache.explain(os.fsencode(key))
    if as_json:
        output.print_json(record(found))
    else:
        _print(found)


def _print(found: Explanation) -> None:
    owners = ", ".join(found.owners) or "nobody"
    click.echo(f"{shown_key(found.key)}: slot {found.slot:,} of {found.cluster}, owned by {owners}")
    rows = [_row(one) for one in found.shards]
    if rows:
        output.print_table(_HEAD, rows, left=4)
    if found.unreachable:
        output.note(f"no answer from {', '.join(found.unreachable)}")
    click.echo(("there; " if found.is_present else "not there; ") + found.sentence)


_HEAD = ("shard", "role", "kind", "version", "size", "charged", "expires in", "left last")


def _row(one: KeyAtShard) -> tuple[str, ...]:
    left = f"{one.left} {span(one.left_s)} ago" if one.left_s is not None else "-"
    first = (one.shard_id, one.role or "no owner")
    entry = one.entry
    if entry is None:
        return (*first, "-", "-", "-", "-", "-", left)
    expires = "never" if entry.ttl_s is None else span(entry.ttl_s)
    sizes = format_bytes(entry.size_bytes), format_bytes(entry.charged_bytes)
    return (*first, entry.kind, str(entry.version), *sizes, expires, left)


COMMANDS = (explain,)
