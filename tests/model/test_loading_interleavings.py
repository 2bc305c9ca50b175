"""Every order of things: readers in several processes, writers, slow loaders and dying processes, on one real core.

The engines are the handles' own, and so is the shard's core; what lies between is a scheduler that chooses who does the
next step. A database keeps one number for each key, which only grows. Nobody may read a number that was replaced, and
whose key or tag was invalidated, before the call began; and at no time may two valid tokens for one key exist.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from raycache.client.leasing import generation_of
from raycache.errors import LoadFailedError, LoadTimeoutError
from raycache.loading import steps
from raycache.loading.basics import Source, tag_key
from raycache.loading.engine import Engine
from raycache.loading.many import Many
from raycache.loading.options import LoadOptions
from raycache.loading.steps import Flight, Outcome
from raycache.shard.commands.command import Reply
from tests.unit.shard.harness import Shard, finished, parsed

KEYS = [b"a", b"b"]
SEEDS = 120
STEPS = 400
TAGGED = LoadOptions(tags=["t"], wait_s=5, lease_s=1, on_load_error="retry")
PLAIN = LoadOptions(ttl=0.8, stale_ttl=0.5, wait_s=5, lease_s=1)


class Done:
    """What a flight of this world is waited for with."""

    is_set = False

    def set(self) -> None:
        self.is_set = True


class Process:
    """One handle: its engine, its flights, its connection."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.session = world.shard.another()
        self.flights: dict[bytes, Flight] = {}
        self.engine = Engine(self, "c", world.now_s, world.rng, 5.0)
        self.tasks: list[Task] = []

    def join(self, key: bytes) -> tuple[Flight, bool]:
        if key in self.flights:
            return self.flights[key], False
        self.flights[key] = Flight(key, Done())
        return self.flights[key], True

    def finish(self, flight: Flight, outcome: Outcome) -> None:
        if self.flights.get(flight.key) is flight:
            del self.flights[flight.key]
        flight.outcome = outcome
        flight.done.set()


class Task:
    """One call, or one refresh; it has always one thing that it waits to have done."""

    def __init__(self, process: Process, work: Any, floors: dict[bytes, int] | None) -> None:
        self.process, self.work, self.floors = process, work, floors
        self.wanted: Any = next(work)
        self.loading: Any = None
        self.waiting: Reply | None = None
        self.wait: Any = None
        self.until_s = 0.0

    def step(self) -> None:
        """Do what is wanted, or a part of it."""
        world, process, wanted = self.process.world, self.process, self.wanted
        if isinstance(wanted, steps.Call):
            if self.loading is None:  # the database is read now, and answers later
                names = wanted.arguments[0] if wanted.arguments else [wanted.keys[0]]
                self.loading = {name: world.rows[name] for name in names}
                return None
            loaded, self.loading = self.loading, None
            if world.rng.random() < 0.1:
                return self.go_on(error=OSError("database"))
            return self.go_on(loaded if wanted.arguments else loaded[wanted.keys[0]])
        if isinstance(wanted, steps.Join):
            self.until_s = self.until_s or world.now_s() + wanted.timeout_s
            if wanted.flight.done.is_set or world.now_s() >= self.until_s:
                self.until_s = 0.0
                self.go_on(wanted.flight.done.is_set)
            return None
        if isinstance(wanted, steps.Spawn):
            with contextlib.suppress(StopIteration):  # somebody has gone past it before it began
                process.tasks.append(Task(process, wanted.work, None))
            return self.go_on(True)
        if isinstance(wanted, steps.WaitForLease):
            return self.wait_at_the_shard(wanted)
        return self.go_on(ANSWERS[type(wanted)](world, process, wanted))

    def wait_at_the_shard(self, wanted: steps.WaitForLease) -> None:
        world = self.process.world
        if self.waiting is None:
            self.waiting = world.shard.core.execute(self.process.session, [
                b"RC.LEASE", b"%d" % (wanted.lease_s * 1000), b"%d" % (wanted.wait_s * 1000), wanted.key, wanted.seen])
            self.until_s = world.now_s() + wanted.wait_s
        if not isinstance(self.waiting, bytes) and (self.wait is None or self.wait.is_done
                                                    or world.now_s() >= self.until_s):
            try:
                self.wait = next(self.waiting)
            except StopIteration as stop:
                self.waiting = stop.value
        if isinstance(self.waiting, bytes):
            reply, self.waiting, self.wait, self.until_s = self.waiting, None, None, 0.0
            self.go_on(parsed(reply)[0])

    def go_on(self, result: Any = None, error: Exception | None = None) -> None:
        try:
            self.wanted = self.work.send(result) if error is None else self.work.throw(error)
        except StopIteration as stop:
            self.ended(stop.value)
        except (OSError, LoadFailedError, LoadTimeoutError):
            self.ended(None)

    def ended(self, value: Any) -> None:
        self.process.tasks.remove(self)
        if self.floors is not None and value is not None:
            got = value if isinstance(value, dict) else {next(iter(self.floors)): value}
            for key, number in got.items():
                assert number >= self.floors[key], f"{key!r}: read {number}, was invalidated at {self.floors[key]}"
                self.process.world.read += 1


def _run(world: World, process: Process, *words: bytes) -> Any:
    return parsed(finished(world.shard.core.execute(process.session, list(words)))[0])


def _fetch(world: World, process: Process, wanted: steps.Fetch) -> Any:
    found = _run(world, process, b"RC.MGETL", *wanted.keys, *wanted.tags)
    at = len(wanted.keys)
    return found[:at], dict(zip(wanted.tags, map(generation_of, found[at:]), strict=True))


def _take(world: World, process: Process, wanted: steps.TakeLeases) -> Any:
    pairs = [word for pair in zip(wanted.keys, wanted.seen, strict=True) for word in pair]
    return _run(world, process, b"RC.LEASE", b"%d" % (wanted.lease_s * 1000), b"0", *pairs)


def _fill(world: World, process: Process, wanted: steps.Fill) -> Any:
    words: list[bytes] = []
    for key, token, kind, data, px, _ in wanted.fillings:
        words += (key, b"%d" % token, b"%d" % kind, data, b"%d" % px)
    return _run(world, process, b"RC.FILL", *words)


def _free(world: World, process: Process, wanted: steps.Free) -> None:
    words = [word for key, token in wanted.leases for word in (key, b"%d" % token, wanted.text)]
    _run(world, process, b"RC.FREE", *words)


def _generations(world: World, process: Process, wanted: steps.Generations) -> Any:
    return dict(zip(wanted.tags, _run(world, process, b"RC.GENS", *wanted.tags), strict=True))


ANSWERS: dict[type, Callable[[World, Process, Any], Any]] = {
    steps.Fetch: _fetch, steps.TakeLeases: _take, steps.Fill: _fill, steps.Free: _free,
    steps.Generations: _generations,
}


class World:
    """A shard, a database, processes, and time."""

    def __init__(self, seed: int, options: LoadOptions) -> None:
        self.rng = random.Random(seed)
        self.options = options
        self.shard = Shard()
        self.start_ms = self.shard.core.now_ms
        self.shard.core.monotonic_s = self.now_s
        self.rows = dict.fromkeys(KEYS, 0)
        self.floors = dict.fromkeys(KEYS, 0)
        self.read = self.written = self.killed = 0
        self.processes = [Process(self) for _ in range(3)]
        self.writers: list[Iterator[None]] = []

    def now_s(self) -> float:
        return (self.shard.core.now_ms - self.start_ms) / 1000

    def act(self) -> None:
        chance, process = self.rng.random(), self.rng.choice(self.processes)
        if chance < 0.10:
            self.call(process)
        elif chance < 0.13:
            self.writers.append(self.write(self.rng.choice(KEYS)))
        elif chance < 0.20 and self.writers:
            writer = self.rng.choice(self.writers)
            if next(writer, True):
                self.writers.remove(writer)
        elif chance < 0.21:
            self.shard.advance(self.rng.choice((10, 300, 1500)))
            self.shard.core.step(self.shard.core.now_ms)
        elif chance < 0.215:
            self.kill(process)
        elif process.tasks:
            self.rng.choice(process.tasks).step()

    def call(self, process: Process) -> None:
        key = self.rng.choice(KEYS)
        if self.rng.random() < 0.3:
            names = dict(zip(KEYS, KEYS, strict=True))
            work = Many(process.engine, names, lambda keys: None, self.options).obtain()
            process.tasks.append(Task(process, work, dict(self.floors)))
        else:
            work = process.engine.obtain(key, key, Source(lambda: None), self.options)
            process.tasks.append(Task(process, work, {key: self.floors[key]}))

    def write(self, key: bytes) -> Iterator[None]:
        """Change a row, invalidate what is cached of it, and only then count on that."""
        self.rows[key] += 1
        new = self.rows[key]
        yield None
        if self.options.tags:
            self.shard.run(f"SET {tag_key('t').decode()} {self.rng.getrandbits(60)}")
        else:
            self.shard.run(f"DEL {key.decode()}")
        self.floors[key] = max(self.floors[key], new)
        self.written += 1

    def kill(self, process: Process) -> None:
        """End a process: its connection closes, and its tasks are heard of no more."""
        for task in process.tasks:
            if task.waiting is not None and not isinstance(task.waiting, bytes):
                task.waiting.close()
            task.work.close()
        self.shard.core.close_session(process.session)
        self.processes[self.processes.index(process)] = Process(self)
        self.killed += 1

    def settle(self) -> None:
        """Let everybody end."""
        for _ in range(20_000):
            tasks = [task for process in self.processes for task in process.tasks]
            if not tasks:
                return
            self.rng.choice(tasks).step()
            self.shard.advance(5)
            self.shard.core.step(self.shard.core.now_ms)
        raise AssertionError("somebody waits for ever")


@pytest.mark.parametrize("options", [PLAIN, TAGGED], ids=["deletes", "tags"])
def test_in_no_order_is_anything_read_that_was_invalidated_before(options: LoadOptions) -> None:
    read = written = killed = 0
    for seed in range(SEEDS):
        world = World(seed, options)
        try:
            for _ in range(STEPS):
                world.act()
            world.settle()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        assert len(world.shard.core.leases) == 0
        assert not world.shard.core.watched
        read, written, killed = read + world.read, written + world.written, killed + world.killed
    assert read > SEEDS * 10
    assert written > SEEDS
    assert killed > SEEDS / 4


def test_without_voids_the_same_world_finds_old_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raycache.leases.LeaseTable.void", lambda table, key: None)
    with pytest.raises(AssertionError, match="was invalidated at"):
        test_in_no_order_is_anything_read_that_was_invalidated_before(PLAIN)
