"""`scale`, `drain`, `cancel`: changes that move slots, watched until they are complete.

What lives here: their arguments, waiting, and what they print at the end. What does not: moving anything
(`raycache.router`), and how progress looks (`progress`).
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any, Final

import click
from rich.console import Console

from raycache.cli import output, status_text
from raycache.cli.backend import Backend
from raycache.cli.progress import Progress, ProgressView, read_progress, read_result, summary
from raycache.errors import DeadlineExceededError
from raycache.ring.topology import Topology

POLL_S: Final = 0.2
SHARDS: Final = click.IntRange(1, 1000)

NO_WAIT = click.option("--no-wait", is_flag=True, help="Return when the change has begun.")
TIMEOUT = click.option("--timeout", "timeout_s", type=click.FloatRange(min=0.1),
                        help="Seconds to wait at most; the change goes on. Default: until it is complete.")  # fmt: skip
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs, and no progress.")


@click.command()
@click.argument("name")
@click.argument("shards", type=SHARDS)
@NO_WAIT
@TIMEOUT
@AS_JSON
@click.pass_obj
def scale(backend: Backend, name: str, shards: int, no_wait: bool, timeout_s: float | None, as_json: bool) -> None:
    """Set how many SHARDS the cluster NAME has. Each shard keeps its share of memory.

    Slots move with their entries, and are served all the time. Shows how far it is; at the end, what moved, what that
    cost, and how many misses it caused. Ctrl-C stops the watching, not the change: give the same command again to
    watch on, or `raycache cancel NAME`. `raycache ring NAME` says beforehand how many slots would move.

    \b
    Examples:
      raycache scale features 4
      raycache scale features 2 --no-wait
      raycache scale features 4 --json
    """
    backend.attach(start=False)
    _change(backend, name, lambda: backend.begin_scale(name, shards), no_wait, timeout_s, as_json)


@click.command()
@click.argument("name")
@click.argument("target", metavar="SHARD|NODE")
@click.option("--undo", is_flag=True, help="Let it have slots again.")
@NO_WAIT
@TIMEOUT
@AS_JSON
@click.pass_obj
def drain(backend: Backend, name: str, target: str, undo: bool, no_wait: bool, timeout_s: float | None,
          as_json: bool) -> None:  # fmt: skip
    """Empty a SHARD, or all shards of a NODE, of the cluster NAME: before its machine goes, say.

    A drained shard stays and owns nothing until --undo. The shards of a drained node are then started anew on others,
    where there are any. NODE is a node id of Ray's, the beginning of one, or the address of its machine. Shows how far
    it is, as `raycache scale` does.

    \b
    Examples:
      raycache drain features s2
      raycache drain features 192.0.2.7
      raycache drain features s2 --undo
    """
    backend.attach(start=False)
    exact = resolve(backend.topology(name), target)
    _change(backend, name, lambda: backend.begin_drain(name, exact, undo=undo), no_wait, timeout_s, as_json)


@click.command()
@click.argument("name")
@NO_WAIT
@TIMEOUT
@AS_JSON
@click.pass_obj
def cancel(backend: Backend, name: str, no_wait: bool, timeout_s: float | None, as_json: bool) -> None:
    """Go back to how the cluster NAME was before the `scale` or `drain` that is under way.

    What is on its way arrives first; then all that has moved moves back.

    \b
    Examples:
      raycache cancel features
    """
    backend.attach(start=False)
    _change(backend, name, lambda: backend.cancel(name), no_wait, timeout_s, as_json)


def resolve(topology: Topology, target: str) -> str:
    """Return the shard or node that `target` means.

    Raises:
        ValueError: it means none, or several.
    """
    if any(shard.id == target for shard in topology.shards) or target in topology.draining:
        return target
    nodes = sorted({shard.node_id for shard in topology.shards
                    if shard.machine == target or (len(target) >= 4 and shard.node_id.startswith(target))})  # fmt: skip
    if len(nodes) == 1:
        return nodes[0]
    shards = ", ".join(shard.id for shard in topology.shards)
    if not nodes:
        if len(target) >= 32:
            return target  # a node without shards: the router knows whether there is one
        raise ValueError(f"no shard and no node is called {target!r}; shards: {shards}; nodes: "
                         + ", ".join(sorted({f"{shard.machine} ({shard.node_id})" for shard in topology.shards})))
    raise ValueError(f"{target!r} means {len(nodes)} nodes; say which: {', '.join(nodes)}")


def _change(backend: Backend, name: str, begin: Callable[[], None], no_wait: bool, timeout_s: float | None,
            as_json: bool) -> None:  # fmt: skip
    """Begin a change, watch it, and say what it cost."""
    before, prior = backend.topology(name), backend.progress(name)["last"]
    begin()
    if no_wait:
        under_way = read_progress(backend.progress(name))
        report_begun(name, under_way, as_json)
        return
    result = watch(backend, name, prior, timeout_s, quiet=as_json)
    _report_done(backend, name, moved_slots(before, backend.topology(name)), result, as_json)


def watch(backend: Backend, name: str, prior: object, timeout_s: float | None, *, quiet: bool) -> Progress | None:
    """Show the change under way until it is complete; return what it cost, None where there was nothing to do."""
    try:
        with ProgressView(Console(stderr=True, quiet=quiet)) as view:
            return follow(lambda: backend.progress(name), view.update, prior, timeout_s=timeout_s)
    except KeyboardInterrupt:
        output.note(f"not waiting any more; the change goes on (`raycache cancel {name}` undoes it)")
        raise


def follow(ask: Callable[[], dict[str, Any]], show: Callable[[Progress], None], prior: object, *,
           timeout_s: float | None, pause: Callable[[float], None] = time.sleep,
           clock: Callable[[], float] = time.monotonic) -> Progress | None:  # fmt: skip
    """Watch what is under way until it is complete; return what it cost, None where there was nothing to do.

    Args:
        ask: returns the router's account.
        prior: the last change that had ended before this one began, as the router told it.
    Raises:
        DeadlineExceededError: it takes longer than `timeout_s`.
    """
    deadline_s = None if timeout_s is None else clock() + timeout_s
    seen: Progress | None = None
    while True:
        account = ask()
        progress, last = read_progress(account), read_result(account)
        if progress is not None:
            seen = progress
            show(progress)
        elif last is not None and account["last"] != prior and (seen is None or last.text == seen.text):
            return last
        elif seen is None or account["settled"]:
            # Seen and gone: a router that was restarted meanwhile completes the change and has forgotten its cost.
            return seen
        if deadline_s is not None and clock() >= deadline_s:
            raise DeadlineExceededError(f"not complete after {timeout_s:g} s; it goes on")
        pause(POLL_S)


def moved_slots(before: Topology, after: Topology) -> dict[str, tuple[int, int]]:
    """Return (slots gained, slots lost) of each shard, every copy counted; shards without a change are left out."""
    ids = [shard.id for shard in before.shards]
    ids += [shard.id for shard in after.shards if shard.id not in ids]
    moved = {}
    for shard_id in ids:
        had, has = set(before.slots_owned(shard_id).tolist()), set(after.slots_owned(shard_id).tolist())
        if had != has:
            moved[shard_id] = (len(has - had), len(had - has))
    return moved


def report_begun(name: str, progress: Progress | None, as_json: bool) -> None:
    """Say that a change has begun, for who does not wait."""
    if as_json:
        output.print_json({"name": name, "change": None if progress is None else dataclasses.asdict(progress)})
    elif progress is None:
        click.echo(f"{name}: nothing to do")
    else:
        click.echo(f"{name}: {progress.text} has begun; `raycache status {name}` shows how far it is")


def _report_done(backend: Backend, name: str, moved: dict[str, tuple[int, int]], result: Progress | None,
                 as_json: bool) -> None:  # fmt: skip
    status = backend.status(name)
    if as_json:
        moves = [{"shard": shard_id, "gained": gained, "lost": lost} for shard_id, (gained, lost) in moved.items()]
        change = None if result is None else {**dataclasses.asdict(result), "moved": moves}
        output.print_json({**status_text.status_record(status), "change": change})
        return
    if result is not None:
        click.echo(summary(result))
        rows = [(shard_id, f"{gained:,}", f"{lost:,}") for shard_id, (gained, lost) in moved.items()]
        if rows:
            output.print_table(("shard", "slots gained", "slots lost"), rows)
    status_text.print_status(status)


COMMANDS = (scale, drain, cancel)
