"""`python -m benchmarks.profile_shard`: nanoseconds per command and layer, in this process, without sockets or Ray.

For finding out where a change of speed comes from, not for figures. A turn is what one connection costs between two
system calls, from the bytes read to the bytes written, with one command or sixteen (`redis-benchmark -P 16`); parsing
is hiredis and the limits around it; store is `Store.get` or `Store.put` alone. CPU time, and the fastest of the rounds:
whatever is slower than that is other programs' work.
"""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import click
from rich.console import Console
from rich.table import Table

from raycache.config import Limits
from raycache.resp.parse import RequestParser
from raycache.shard.core import ShardCore
from raycache.store import Store, make_policy

NOW_MS = 1_700_000_000_000
VALUE = b"v" * 100
ROOMY_BYTES = 1 << 30
TIGHT_BYTES = 16 << 20  # some 50,000 entries: far fewer than one round writes


@dataclass(frozen=True, slots=True)
class Case:
    """One command as clients send it, and what it asks of the store."""

    label: str
    name: bytes
    fresh_keys: bool = False
    """Every key is new, and the shard is full: each write evicts."""

    def argv(self, key: bytes) -> list[bytes]:
        return [self.name, key] if self.name == b"GET" else [self.name, key, VALUE]


CASES = (Case("GET hit", b"GET"), Case("SET replace", b"SET"), Case("SET evicting", b"SET", fresh_keys=True))


def frame(argv: list[bytes]) -> bytes:
    """Return one command as a RESP array."""
    return b"*%d\r\n%b" % (len(argv), b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in argv))


def reads_of(commands: list[list[bytes]], batch: int) -> list[bytes]:
    """Return `commands` as the bytes that arrive, `batch` of them a read."""
    return [b"".join(map(frame, commands[at : at + batch])) for at in range(0, len(commands), batch)]


def parse_ns(commands: list[list[bytes]], batch: int) -> float:
    """Return the nanoseconds per command of taking commands out of the bytes, and nothing else."""
    reads, parser = reads_of(commands, batch), RequestParser(Limits())
    began_ns = time.thread_time_ns()
    for read in reads:
        parser.feed(read)
        for _ in parser.commands():
            pass
        parser.finish(has_taken=True, has_all=True)
    return (time.thread_time_ns() - began_ns) / len(commands)


def turn_ns(core: ShardCore, commands: list[list[bytes]], batch: int) -> float:
    """Return the nanoseconds per command from the bytes of a request to those of the reply."""
    reads, parser = reads_of(commands, batch), RequestParser(Limits())
    session = core.open_session("127.0.0.1:1")
    began_ns = time.thread_time_ns()
    for read in reads:
        out: list[bytes] = []
        parser.feed(read)
        core.execute_many(session, parser.start(), out)
        b"".join(out)
        parser.finish(has_taken=True, has_all=True)
    spent_ns = time.thread_time_ns() - began_ns
    core.close_session(session)
    return spent_ns / len(commands)


def store_ns(store: Store, commands: list[list[bytes]]) -> float:
    """Return the nanoseconds per command of the store alone."""
    get, put = store.get, store.put
    began_ns = time.thread_time_ns()
    if len(commands[0]) == 2:
        for argv in commands:
            get(argv[1], NOW_MS)
    else:
        for argv in commands:
            put(argv[1], argv[2], 0, None, NOW_MS)
    return (time.thread_time_ns() - began_ns) / len(commands)


def measure(case: Case, policy: str, keys: int, count: int, rounds: int) -> dict[str, float]:
    """Return nanoseconds per command by layer, the fastest of `rounds` rounds of `count` commands on `keys` keys."""
    fastest: dict[str, float] = {}
    rng = random.Random(20260)
    store, core = _store(case, policy), ShardCore(store=_store(case, policy), started_ms=NOW_MS)
    core.now_ms = NOW_MS
    for number in range(rounds + 1):  # round 0 fills, and warms up
        numbers: Sequence[int] = range(number * count, (number + 1) * count)
        if not case.fresh_keys:
            numbers = [rng.randrange(keys) for _ in numbers] if number else range(keys)
        names = [b"key:%012d" % name for name in numbers]
        commands = [(case if number else CASES[1]).argv(name) for name in names]
        layers: dict[str, Callable[[], float]] = {
            "turn of 1": lambda: turn_ns(core, commands, 1),  # noqa: B023  (called before the next round)
            "turn of 16": lambda: turn_ns(core, commands, 16),  # noqa: B023
            "of which parsing": lambda: parse_ns(commands, 16),  # noqa: B023
            "of which store": lambda: store_ns(store, commands),  # noqa: B023
        }
        for layer, run in layers.items():
            spent_ns = run()
            if number:
                fastest[layer] = min(spent_ns, fastest.get(layer, spent_ns))
    return fastest


def _store(case: Case, policy: str) -> Store:
    return Store(capacity_bytes=TIGHT_BYTES if case.fresh_keys else ROOMY_BYTES, policy=make_policy(policy, seed=1))


@click.command()
@click.option("--policy", default="lru", show_default=True, help="Eviction policy of the store.")
@click.option("--keys", default=100_000, show_default=True, type=click.IntRange(min=1), help="How many there are.")
@click.option("--count", default=100_000, show_default=True, type=click.IntRange(min=1), help="Commands a round.")
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(min=1), help="The fastest is shown.")
def main(policy: str, keys: int, count: int, rounds: int) -> None:
    """Show what one command costs in each layer of a shard, in nanoseconds."""
    gc.disable()  # as in a shard
    table = Table(
        title=f"CPU ns per command, {policy}, {keys:,} keys, fastest of {rounds} rounds of {count:,}",
        title_justify="left",
    )
    results = {case.label: measure(case, policy, keys, count, rounds) for case in CASES}
    table.add_column("command")
    for layer in results[CASES[0].label]:
        table.add_column(layer, justify="right")
    for label, layers in results.items():
        table.add_row(label, *(f"{spent_ns:,.0f}" for spent_ns in layers.values()))
    Console().print(table)


if __name__ == "__main__":
    main()
