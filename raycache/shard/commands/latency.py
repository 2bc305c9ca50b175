"""LATENCY: what held up the shard and when, and how long each command runs.

What lives here: the command. What does not: the events (`raycache.metrics.events`), measuring (`raycache.shard.meter`).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from raycache.metrics.histogram import Histogram
from raycache.resp import encode
from raycache.shard.commands.command import Command, container, help_lines
from raycache.shard.commands.introspection import known

if TYPE_CHECKING:
    from raycache.shard.core import ShardCore
    from raycache.shard.session import Session


def latest(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """LATENCY LATEST: each event with the second in which it was last, its milliseconds then, and its longest."""
    return encode.array([
        encode.array([encode.bulk(name.encode()), *map(encode.integer, spikes.points[-1]),
                      encode.integer(spikes.max_ms)])
        for name, spikes in core.meter.events.by_name.items()
    ])


def history(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """LATENCY HISTORY event: the longest of each second in which it happened."""
    spikes = core.meter.events.by_name.get(argv[2].decode("latin-1"))
    points = spikes.points if spikes is not None else ()
    return encode.array([encode.array([encode.integer(number) for number in point]) for point in points])


def reset(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """LATENCY RESET [event ...]: how many were forgotten."""
    names = [name.decode("latin-1") for name in argv[2:]]
    return encode.integer(core.meter.events.reset(names or None))


def doctor(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """LATENCY DOCTOR: the same in words."""
    return encode.verbatim(core.meter.events.report(core.now_ms).encode(), session.protocol)


def histogram(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """LATENCY HISTOGRAM [command ...]: how long commands ran, cumulated; those that were measured stand for all."""
    spent, protocol = core.meter.spent, session.protocol
    wanted = {name.decode("latin-1").lower() for name in argv[2:]}
    pairs = []
    for command in known():
        found = spent.get(command.number)
        if found is not None and (not wanted or wanted & {command.full_name, command.parent}):
            pairs.append((encode.bulk(command.full_name.encode()), _shown(found, protocol)))
    return encode.map_(pairs, protocol)


def _shown(found: Histogram, protocol: int) -> bytes:
    """Return the number of calls, and how many took up to so many microseconds, where that differs."""
    buckets, before = [], 0
    for bound_s, count in found.cumulated():
        if count > before:
            # Redis' last bucket ends where nothing was longer; an endless one has no number.
            bound_us = round((bound_s if bound_s != float("inf") else found.max_s) * 1e6)
            buckets.append((encode.integer(bound_us), encode.integer(count)))
            before = count
    return encode.map_([(encode.bulk(b"calls"), encode.integer(found.count)),
                        (encode.bulk(b"histogram_usec"), encode.map_(buckets, protocol))], protocol)


_HELP = help_lines("LATENCY", [
    "DOCTOR", "    Return a human readable latency analysis report.",
    "HISTORY <event>", "    Return time-latency samples for the <event> class.",
    "LATEST", "    Return the latest latency samples for all events.",
    "RESET [<event> ...]", "    Reset latency data of one or more <event> classes (default: all).",
    "HISTOGRAM [COMMAND ...]", "    Return a cumulative distribution of commands in histogram format.",
])

_sub = partial(Command, group="server", parent="latency", flags="admin noscript loading stale", since="2.8.13")
_special = partial(_sub, tips=("nondeterministic_output", "request_policy:all_nodes", "response_policy:special"))

COMMANDS = [
    container("latency", "server", "Shows what took long.", [
        _special(name="latest", arity=2, handler=latest, summary="Returns each event's last and longest duration."),
        _special(name="history", arity=3, handler=history, summary="Returns the durations of one event."),
        _sub(name="reset", arity=-2, handler=reset, tips=("request_policy:all_nodes", "response_policy:all_succeeded"),
             summary="Forgets events."),
        _special(name="doctor", arity=2, handler=doctor, summary="Says in words what took long."),
        _special(name="histogram", arity=-2, handler=histogram, since="7.0.0",
                 summary="Returns how long commands ran."),
        Command(name="help", arity=2, flags="loading stale", parent="latency", group="server", since="2.8.13",
                handler=_HELP, summary="Returns help on the subcommands."),
    ], since="2.8.13"),
]
