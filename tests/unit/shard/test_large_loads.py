"""Large values that are loaded under leases: what is stored, what readers and those who wait get, what is let go of."""

from __future__ import annotations

import weakref
from typing import Any

import pytest

from raycache.codec import LOADED, RAW
from raycache.codec.loaded import frame, header_of
from raycache.descriptor import DESCRIPTOR_BYTES, descriptor_of
from raycache.shard.objects import LINGER_S
from raycache.store import LargeValue
from tests.unit.shard.harness import Shard, parsed
from tests.unit.shard.test_leases import Waiting, lease
from tests.unit.shard.test_objects import FakeRef, LargeShard
from tests.unit.shard.test_tracking import TOKEN, told, tracker

HEAD = frame(RAW, b"", number=7, load_s=0.25, grace_ms=100, tags=((b"tag", 5),))
WHOLE = HEAD + b"x" * 100
OTHER = b"fedcba9876543210"
NEVER = b"\xff" * 8


@pytest.fixture
def large() -> LargeShard:
    return LargeShard()


def fill(shard: Shard, token: int, value: bytes, kind: int = 8, px: int = 0) -> Any:
    return parsed(shard.raw("RC.FILL", "k", str(token), str(kind), value, str(px)))[0]


def load(large: LargeShard, px: int = 0) -> Any:
    """Load the value as a handle does; return the shard's answer."""
    name = large.stage(WHOLE, LOADED)
    assert name is not None
    return fill(large, lease(large), name + HEAD, px=px)


def test_it_is_stored_as_an_object_with_its_head_and_read_so(large: LargeShard) -> None:
    assert load(large, px=500) == 1
    payload = parsed(large.raw("RC.GET", "k"))
    assert (payload[0], header_of(payload, 1 + DESCRIPTOR_BYTES).tags) == (8, ((b"tag", 5),))
    assert descriptor_of(payload[1:]).kind == LOADED
    aged = (500).to_bytes(8, "big") + payload
    assert parsed(large.raw("RC.GETL", "k")) == aged
    assert parsed(large.raw("RC.MGETL", "absent", "k")) == [None, aged]
    assert lease(large) == b"h" + aged
    assert large.served("RC.WHOLEL", "k") == aged[:8] + bytes([LOADED]) + WHOLE
    assert parsed(large.raw("RC.WHOLEL", "absent")) is None
    assert large.raw("RC.WHOLEL", "x" * 70_000).startswith(b"-ERR key is too large")
    assert large.served("GET", "k") == WHOLE  # as if it were small
    assert large.objects.used_bytes == len(WHOLE)
    large.store.check_invariants()


def test_reading_it_counts_for_the_budget(large: LargeShard) -> None:
    load(large)
    for name in ("b", "c"):
        large.put(name, b"x" * 300)
    large.raw("RC.GETL", "k")
    large.put("d", b"d" * 500)
    assert [large.run(f"EXISTS {name}") for name in "kbcd"] == [1, 0, 1, 1]


def test_who_has_seen_it_gets_the_lease_and_others_the_value(large: LargeShard) -> None:
    load(large)
    mark = header_of(HEAD).mark
    assert lease(large, seen=mark) > 0
    assert lease(large, seen=mark[:-1] + b"?")[:1] == b"h"
    large.put("k", b"x" * 100)  # without a head: nothing tells it from others
    assert lease(large, seen=mark)[:1] == b"h"


def test_those_who_wait_get_the_descriptor(large: LargeShard) -> None:
    token = lease(large)
    waiting = Waiting(large)
    name = large.stage(WHOLE, LOADED)
    assert name is not None
    assert fill(large, token, name + HEAD) == 1
    assert waiting.go_on() == b"h" + NEVER + parsed(large.raw("RC.GET", "k"))
    large.run("DEL k")
    assert large.objects.used_bytes == 0  # nothing lingers for them: who comes too late loads


def test_what_cannot_be_stored_stays_for_those_who_wait_and_goes_then() -> None:
    large = LargeShard(policy="noeviction")
    token = lease(large)
    waiting = Waiting(large)
    name = large.stage(WHOLE, LOADED)
    assert name is not None
    while not large.raw("SET", b"%d" % len(large.store), b"x" * 1000).startswith(b"-OOM"):
        pass
    assert fill(large, token, name + HEAD) == 2
    assert waiting.go_on()[:10] == b"h" + NEVER + b"\x08"
    assert large.objects.used_bytes == len(WHOLE)
    large.advance(int(LINGER_S * 1000) + 1)
    large.step()
    assert large.objects.used_bytes == 0


def test_a_lease_that_was_lost_leaves_no_object(large: LargeShard) -> None:
    name = large.stage(WHOLE, LOADED)
    assert name is not None
    token = lease(large)
    large.run("DEL k")
    assert fill(large, token, name + HEAD) == 0
    assert (large.objects.used_bytes, large.run("EXISTS k")) == (0, 0)


@pytest.mark.parametrize("objects", [True, False])
def test_an_object_that_is_not_here_keeps_the_lease_for_the_value_itself(objects: bool) -> None:
    shard = LargeShard() if objects else Shard()
    token = lease(shard)
    assert fill(shard, token, b"n" * 16 + HEAD) == 3
    assert fill(shard, token, WHOLE, LOADED) == 1
    assert parsed(shard.raw("RC.GETL", "k")) == NEVER + bytes([LOADED]) + WHOLE


@pytest.mark.parametrize("end", ["DEL k", "RC.SET k 0 other 0", "PEXPIRE k 1", "FLUSHALL", "RC.FILL"])
def test_the_object_dies_with_its_entry(large: LargeShard, end: str) -> None:
    load(large)
    entry = large.store.peek(b"k", 0)
    assert entry is not None
    gone = weakref.ref(entry.value.holding.ref)
    del entry
    if end == "RC.FILL":
        assert fill(large, lease(large, seen=header_of(HEAD).mark), b"new", kind=RAW) == 1
    else:
        large.served(*end.split())
    large.advance(5)
    large.step()
    assert gone() is None
    assert large.objects.used_bytes == 0


def test_the_head_stays_when_another_owner_copies_the_object(large: LargeShard) -> None:
    data = descriptor_of(load_elsewhere()).pack() + HEAD
    large.core.whole.put(b"k", data, 8, None, large.core.now_ms)
    charge = large.store.used_bytes
    large.step()
    large.backend.answer((FakeRef(WHOLE), b"here"))
    entry = large.store.peek(b"k", 0)
    assert entry is not None
    assert (descriptor_of(entry.value).where, entry.value[DESCRIPTOR_BYTES:]) == (b"here", HEAD)
    assert large.store.used_bytes == charge
    assert large.served("RC.WHOLEL", "k") == NEVER + bytes([LOADED]) + WHOLE


def load_elsewhere() -> LargeValue:
    """Return what an entry has at a shard that has loaded it."""
    other = LargeShard()
    load(other)
    entry = other.store.peek(b"k", 0)
    assert entry is not None
    value: LargeValue = entry.value
    return value


def test_a_near_cache_gets_the_descriptor_or_the_value_as_its_link_has_said(large: LargeShard) -> None:
    load(large)
    descriptor, whole = NEVER + parsed(large.raw("RC.GET", "k")), NEVER + bytes([LOADED]) + WHOLE
    session = tracker(large, "OPTIN")
    assert large.raw("RC.LINK", TOKEN, "HALF", session=session).startswith(b"-ERR syntax")
    for words, expected in (([], descriptor), (["WHOLE"], whole)):
        assert large.raw("RC.LINK", TOKEN if words else OTHER, *words, session=session) == b"+OK\r\n"
        token = TOKEN if words else OTHER
        assert large.served("RC.NEAR", "k", token) == b"\x01" + expected
        assert large.served("RC.MNEAR", token, "absent", "k") == [None, b"\x01" + expected]
        assert large.served("RC.MNEAR", token, *["absent"] * 600, "k")[-1] == b"\x01" + expected
        assert large.served("RC.NEAR", "k", b"nobody's") == b"\x00" + descriptor
    large.run("DEL k")
    assert told(large, session) == [b"k"]
