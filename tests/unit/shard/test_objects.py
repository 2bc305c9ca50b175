"""Large values in a shard: staged, stored, within their budget, gone with their entries, and served as bytes."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from raycache.descriptor import Descriptor, descriptor_of
from raycache.shard.commands.command import Reply
from raycache.shard.objects import LINGER_S, STAGED_S, Objects, Owned
from raycache.store import LargeValue, make_policy
from tests.unit.shard.harness import Shard, parsed

RAW, ARRAY = 0, 4
CAPACITY = 1000


class FakeRef:
    """A reference to an object: what it holds is there while somebody has it."""

    def __init__(self, data: bytes) -> None:
        self.data: bytes | None = data


class FakeBackend:
    """An object store that answers when it is told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Descriptor, Any, list[str], Callable[[Any], None]]] = []

    def load(self, descriptor: Descriptor, ref: Any, holders: list[str], done: Callable[[bytes | None], None]) -> None:
        self.asked.append(("load", descriptor, ref, holders, done))

    def own(self, descriptor: Descriptor, holders: list[str], done: Callable[[Owned | None], None]) -> None:
        self.asked.append(("own", descriptor, None, holders, done))

    def answer(self, value: Any = None) -> None:
        what, _, ref, _, done = self.asked.pop(0)
        done(ref.data if what == "load" and value is None and ref is not None else value)


class LargeShard(Shard):
    """A shard with objects."""

    def __init__(self, *, capacity: int = CAPACITY, policy: str = "lru", each_copy: bool = True) -> None:
        super().__init__(policy=policy)
        self.backend = FakeBackend()
        self.objects = Objects(self.core, capacity, make_policy(policy, seed=1), self.backend, each_copy=each_copy)
        self.core.objects = self.core.slots.objects = self.objects

    def stage(self, data: bytes, kind: int = RAW, name: bytes | None = None) -> bytes | None:
        name = name or b"%016d" % self.core.rng.getrandbits(40)
        holding = self.objects.admit(name, len(data), self.core.now_ms)
        if holding is None:
            return None
        assert self.objects.stage(holding, kind, (FakeRef(data), b"where"), self.now_s)
        return name

    def put(self, key: str, data: bytes, kind: int = RAW, *more: str) -> Any:
        name = self.stage(data, kind)
        assert name is not None
        return parsed(self.raw("RC.SET", key, "8", name, "0", *more))

    def served(self, *argv: bytes | str) -> Any:
        """Run a command, and answer whatever it asks the object store for."""
        reply: Reply = self.core.execute(self.session, [one.encode() if isinstance(one, str) else one for one in argv])
        while not isinstance(reply, bytes):
            try:
                wait = next(reply)
                if wait is not None:
                    assert not wait.is_done
                    self.backend.answer()
            except StopIteration as stop:
                reply = stop.value
        return parsed(reply)

    def step(self) -> None:
        self.core.step(self.core.now_ms)


@pytest.fixture
def large() -> LargeShard:
    return LargeShard()


def test_a_staged_object_is_stored_by_its_name_and_read_by_its_descriptor(large: LargeShard) -> None:
    assert large.put("k", b"x" * 100, ARRAY) == b"OK"
    payload = parsed(large.raw("RC.GET", "k"))
    assert payload[0] == 8
    descriptor = descriptor_of(payload[1:])
    assert (descriptor.kind, descriptor.size_bytes, descriptor.holder, descriptor.where) == (ARRAY, 100, "s0", b"where")
    assert large.objects.lend(descriptor.name).data == b"x" * 100
    assert parsed(large.raw("RC.MGET", "k", "absent")) == [payload, None]
    assert parsed(large.raw("RC.GETV", "k"))[1] == payload
    assert large.objects.figures()["object_bytes"] == 100
    assert large.run("TYPE k") == b"string"


@pytest.mark.parametrize("end", ["DEL k", "SET k small", "RC.SET k 0 other 0", "PEXPIRE k 1", "FLUSHALL", "RC.CLEAR",
                                 "GETSET k other"])  # fmt: skip
def test_the_object_dies_with_its_entry(large: LargeShard, end: str) -> None:
    large.put("k", b"x" * 100)
    value = large.store.peek(b"k", large.core.now_ms)
    assert value is not None
    gone = weakref.ref(value.value.holding.ref)
    del value
    large.served(*end.split())
    large.advance(5)
    large.step()
    assert gone() is None
    assert large.objects.used_bytes == len(large.objects) == 0


def test_an_evicted_entry_takes_its_object_with_it() -> None:
    large = LargeShard(capacity=1 << 20)
    large.put("k", b"x" * 100)
    entry = large.store.peek(b"k", 0)
    assert entry is not None
    large.store.evict(entry)
    del entry
    assert large.objects.used_bytes == 0


def test_the_budget_evicts_by_the_policy_and_takes_the_entry(large: LargeShard) -> None:
    for name in ("a", "b", "c"):
        large.put(name, name.encode() * 300)
    large.raw("RC.GET", "a")  # so that b is the oldest
    large.put("d", b"d" * 300)
    assert [large.run(f"EXISTS {name}") for name in "abcd"] == [1, 0, 1, 1]
    assert large.objects.used_bytes == 900
    assert large.store.departures.of(b"b").cause == "evicted"
    large.put("small", b"x")
    large.run("SET plain value")
    assert large.run("GET plain") == b"value"


def test_a_budget_that_may_not_evict_refuses() -> None:
    large = LargeShard(policy="noeviction")
    large.put("a", b"x" * 900)
    assert large.stage(b"y" * 200) is None
    assert large.objects.used_bytes == 900
    assert large.stage(b"z" * (CAPACITY + 1)) is None


def test_a_name_nobody_staged_and_a_descriptor_somebody_made_up_are_refused(large: LargeShard) -> None:
    made_up = Descriptor(b"n" * 16, RAW, 10, "s0", b"anywhere").pack()
    for argv in (["RC.SET", "k", "8", b"n" * 16, "0"], ["RC.SET", "k", "8", made_up, "0"],
                 ["RC.CAS", "k", "0", "8", made_up, "0"], ["RC.PUT", "k", "8", made_up, "0", "ANY"],
                 ["RC.MSET", "0", "8", "k", made_up]):  # fmt: skip
        assert large.raw(*argv).startswith(b"-NOOBJECT"), argv
    assert large.raw("RC.MADD", "k", "8", "0", made_up).startswith(b"-NOOBJECT")
    assert large.run("EXISTS k") == 0
    assert Shard().raw("RC.SET", "k", "8", b"n" * 16, "0").startswith(b"-NOOBJECT")  # a shard without objects


def test_conditions_hold_for_large_values_and_what_is_not_stored_is_let_go(large: LargeShard) -> None:
    assert large.put("k", b"one" * 10, RAW, "NX") == b"OK"
    assert large.put("k", b"two" * 10, RAW, "NX") is None
    assert large.put("absent", b"two" * 10, RAW, "XX") is None
    assert large.objects.used_bytes == 30
    version = parsed(large.raw("RC.GETV", "k"))[0]
    name = large.stage(b"four" * 10)
    assert name is not None
    assert parsed(large.raw("RC.CAS", "k", b"%d" % version, "8", name, "0")) == 1
    assert large.served("GET", "k") == b"four" * 10


def test_what_nobody_comes_for_is_let_go_after_a_while(large: LargeShard) -> None:
    name = large.stage(b"x" * 100)
    assert name is not None
    large.advance(int(STAGED_S * 1000) - 1)
    large.step()
    assert large.objects.used_bytes == 100
    large.advance(2)
    large.step()
    assert large.objects.used_bytes == 0
    assert large.raw("RC.SET", "k", "8", name, "0").startswith(b"-NOOBJECT")


def test_an_object_whose_place_was_taken_is_not_staged(large: LargeShard) -> None:
    holding = large.objects.admit(b"first name 00000", 600, large.core.now_ms)
    assert holding is not None
    assert large.stage(b"y" * 600) is not None
    assert not large.objects.stage(holding, RAW, (FakeRef(b""), b""), 0.0)
    del holding
    gc.collect()
    assert large.objects.used_bytes == 600


@pytest.mark.parametrize(("argv", "expected"), [
    (["GET", "k"], b"abc" * 10), (["STRLEN", "k"], 30), (["GETRANGE", "k", "0", "2"], b"abc"),
    (["MGET", "x", "k"], [None, b"abc" * 10]), (["GETDEL", "k"], b"abc" * 10), (["GETEX", "k"], b"abc" * 10),
    (["APPEND", "k", "!"], 31), (["RC.WHOLE", "k"], b"\0" + b"abc" * 10), (["RC.STORED", "k"], None),
    (["RC.WHOLEL", "k"], b"\xff" * 8 + b"\0" + b"abc" * 10),
    (["RC.MPEEK", "k"], [[b"\0" + b"abc" * 10, 0]]), (["OBJECT", "ENCODING", "k"], b"embstr"),
    (["MGET", "k", *["x"] * 600], None), (["SET", "k", "v", "GET"], b"abc" * 10),
])  # fmt: skip
def test_commands_that_want_bytes_wait_for_them(large: LargeShard, argv: list[str], expected: Any) -> None:
    large.put("k", b"abc" * 10)
    found = large.served(*argv)
    if expected is not None:
        assert found == expected
    elif argv[0] == "MGET":
        assert (found[0], len(found)) == (b"abc" * 10, 601)
    else:
        assert found[1:] == [-1, b"\0" + b"abc" * 10]


def test_several_large_values_are_fetched_one_after_the_other(large: LargeShard) -> None:
    large.put("a", b"a" * 100)
    large.put("b", b"b" * 100)
    assert large.served("MGET", "a", "b", "a") == [b"a" * 100, b"b" * 100, b"a" * 100]
    for key in (b"a", b"b"):  # nothing of it is kept
        entry = large.store.peek(key, 0)
        assert entry is not None
        assert entry.value.whole is None


def test_a_lost_object_is_a_miss_with_that_cause(large: LargeShard) -> None:
    large.put("k", b"x" * 100)
    entry = large.store.peek(b"k", 0)
    assert entry is not None
    entry.value.holding.ref.data = None
    del entry
    assert large.served("GET", "k") is None
    assert large.run("EXISTS k") == 0
    assert large.store.departures.of(b"k").cause == "lost"
    assert large.objects.figures() | {"objects_lost": 1, "object_bytes": 0} == large.objects.figures()


def test_a_value_that_does_not_come_in_time_is_asked_for_again_by_the_caller(large: LargeShard) -> None:
    large.put("k", b"x" * 100)
    reply = large.core.execute(large.session, [b"GET", b"k"])
    assert not isinstance(reply, bytes)
    next(reply)
    with pytest.raises(StopIteration) as stop:
        next(reply)  # the deadline has passed
    assert stop.value.value.startswith(b"-TRYAGAIN")
    assert large.run("EXISTS k") == 1


def test_a_transaction_does_not_wait(large: LargeShard) -> None:
    large.put("k", b"x" * 100)
    large.run("MULTI")
    large.run("GET k")
    large.run("SET other 1")
    failed, done = parsed(large.raw("EXEC"))
    assert str(failed).startswith("TRYAGAIN")
    assert done == b"OK"


def test_a_key_that_was_written_while_its_value_came_is_read_anew(large: LargeShard) -> None:
    large.put("k", b"x" * 100)
    reply = large.core.execute(large.session, [b"GET", b"k"])
    assert not isinstance(reply, bytes)
    next(reply)
    large.run("SET k new")
    large.backend.answer()
    with pytest.raises(StopIteration) as stop:
        next(reply)
    assert parsed(stop.value.value) == b"new"


def test_a_renamed_and_a_copied_value_keep_their_object(large: LargeShard) -> None:
    large.put("k", b"x" * 100)
    assert large.run("RENAME k n") == b"OK"
    assert large.served("GET", "n") == b"x" * 100
    assert large.run("COPY n m") == 1
    large.run("DEL n")
    assert large.served("GET", "m") == b"x" * 100
    large.run("DEL m")
    assert large.objects.used_bytes == 0


def foreign(large: LargeShard, key: bytes = b"k", size: int = 100) -> LargeValue:
    """Let an entry come from another shard."""
    data = Descriptor(b"%016d" % size, RAW, size, "s7", b"there").pack()
    return large.core.whole.put(key, data, 8, None, large.core.now_ms).value  # type: ignore[no-any-return]


def test_an_entry_from_another_shard_gets_an_object_of_its_own(large: LargeShard) -> None:
    before = foreign(large)
    charge = large.store.used_bytes
    large.step()
    what, descriptor, _, holders, _ = large.backend.asked[0]
    assert (what, descriptor.holder, holders) == ("own", "s7", ["s7"])
    assert large.core.whole.is_copying()
    large.backend.answer((FakeRef(b"x" * 100), b"here"))
    entry = large.store.peek(b"k", 0)
    assert entry is not None
    assert entry.value is not before
    assert descriptor_of(entry.value)[3:] == ("s0", b"here")
    assert large.store.used_bytes == charge
    large.store.check_invariants()
    assert (large.objects.used_bytes, large.objects.adopted, large.core.whole.is_copying()) == (100, 1, False)
    assert large.served("GET", "k") == b"x" * 100


def test_a_foreign_object_that_cannot_be_copied_leaves_the_entry_as_it_came(large: LargeShard) -> None:
    foreign(large)
    large.step()
    large.backend.answer(None)
    assert large.objects.used_bytes == 0
    assert large.run("EXISTS k") == 1
    reply = large.core.execute(large.session, [b"GET", b"k"])
    assert not isinstance(reply, bytes)
    next(reply)
    large.backend.asked.pop()[4](None)
    with pytest.raises(StopIteration) as stop:
        next(reply)
    assert parsed(stop.value.value) is None
    assert large.store.departures.of(b"k").cause == "lost"


def test_what_was_overwritten_while_it_was_copied_is_not_touched(large: LargeShard) -> None:
    foreign(large)
    large.step()
    large.run("SET k new")
    large.backend.answer((FakeRef(b"x" * 100), b"here"))
    assert large.run("GET k") == b"new"
    assert large.objects.used_bytes == 0


def test_objects_of_entries_that_went_to_another_shard_are_kept_for_a_while(large: LargeShard) -> None:
    large.put("k", b"x" * 100)
    entry = large.store.peek(b"k", 0)
    assert entry is not None
    name = descriptor_of(entry.value).name
    large.objects.linger(entry.value)
    del entry
    large.run("DEL k")
    assert large.objects.lend(name) is not None
    large.advance(int(LINGER_S * 1000) + 1)
    large.step()
    assert large.objects.lend(name) is None
    assert large.objects.used_bytes == 0


def test_explain_tells_the_size_of_the_value_and_not_of_its_descriptor(large: LargeShard) -> None:
    import msgpack

    large.put("k", b"x" * 100)
    entry = msgpack.unpackb(parsed(large.raw("RC.EXPLAIN", "k")))["entry"]
    assert (entry["kind"], entry["size"]) == (8, 100)


def test_an_entry_that_comes_back_finds_its_object(large: LargeShard) -> None:
    large.put("k", b"x" * 100)
    entry = large.store.peek(b"k", 0)
    assert entry is not None
    gone = Descriptor(*descriptor_of(entry.value))._replace(holder="s7", where=b"there").pack()
    large.objects.linger(entry.value)
    del entry
    large.run("DEL k")
    large.core.whole.put(b"k", gone, 8, None, large.core.now_ms)
    large.step()
    assert not large.backend.asked
    entry = large.store.peek(b"k", 0)
    assert entry is not None
    assert descriptor_of(entry.value)[3:] == ("s0", b"where")
    large.advance(int(LINGER_S * 1000) + 1)
    large.step()
    assert large.served("GET", "k") == b"x" * 100


def test_a_transfer_ends_when_the_objects_are_here_but_waits_no_longer_than_that(large: LargeShard) -> None:
    from raycache.config import ClusterConfig
    from raycache.replication.arrival import Arrival
    from raycache.replication.transfers import COPYING_S

    replicator = large.core.replicate(ClusterConfig("c"), 0.0)
    transfers = replicator.transfers

    def arrived() -> Arrival:
        arrival = transfers.arrivals["t"] = Arrival("t", "s7", [1], replicator.now_s)
        transfers._arrived(arrival)
        return arrival

    assert arrived().is_done
    foreign(large)
    waiting = arrived()
    assert not waiting.is_done
    assert waiting.describe(0.0)["state"] == "copying"
    large.step()
    large.backend.answer((FakeRef(b"x" * 100), b"here"))
    transfers.step(replicator.now_s)
    assert waiting.is_done
    foreign(large, b"other", 50)
    late = arrived()
    replicator.now_s += COPYING_S + 1
    transfers.step(replicator.now_s)
    assert late.is_done
