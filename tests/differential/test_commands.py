"""Random commands to the shard core and to a real Redis 7 in the same run; every byte of the answers is compared.

Two clients take turns, so that WATCH has somebody to watch. Bytes are compared, not values: a status
line in place of a bulk string is a difference. What differs on purpose is in `DIFFERENCES`, each with
its reason, and in docs/redis-differences.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import hiredis
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from raycache.shard.commands import TABLE
from tests.differential.conftest import RedisPeer
from tests.differential.strategies import Argv
from tests.differential.strategies import steps as random_steps
from tests.unit.shard.harness import Shard, parsed

pytestmark = pytest.mark.redis_server

Same = Callable[[bytes, bytes], bool]

CLOCKS_APART_MS = 2_000
"""The two sides look at their clocks at different moments; a loaded machine puts some time between them."""


def _same_set(ours: bytes, theirs: bytes) -> bool:
    return sorted(parsed(ours)) == sorted(parsed(theirs))


def _same_scan(ours: bytes, theirs: bytes) -> bool:
    a, b = parsed(ours), parsed(theirs)
    if isinstance(a, hiredis.ReplyError):
        return ours == theirs
    return bool(a[0] == b[0] == b"0" and sorted(a[1]) == sorted(b[1]))


def _near(unit_ms: int) -> Same:
    def near(ours: bytes, theirs: bytes) -> bool:
        a, b = parsed(ours), parsed(theirs)
        if not isinstance(a, int) or a < 0 or not isinstance(b, int) or b < 0:
            return ours == theirs
        return abs(a - b) * unit_ms <= CLOCKS_APART_MS

    return near


def _same_kind(ours: bytes, theirs: bytes) -> bool:
    a, b = parsed(ours), parsed(theirs)
    return type(a) is type(b) if not isinstance(a, hiredis.ReplyError) else ours == theirs


DIFFERENCES: dict[bytes, tuple[Same, str]] = {
    b"TTL": (_near(1000), "clocks"),
    b"PTTL": (_near(1), "clocks"),
    b"EXPIRETIME": (_near(1000), "clocks"),
    b"PEXPIRETIME": (_near(1), "clocks"),
    b"KEYS": (_same_set, "order: of our segments, not of Redis' hash table"),
    b"SCAN": (_same_scan, "order, and cursors: a small store is done in one call either way"),
    b"RANDOMKEY": (_same_kind, "random"),
    b"MEMORY USAGE": (_same_kind, "what an entry costs here, not there"),
    b"OBJECT ENCODING": (_same_kind,
                         "worked out from the value: how it came about (APPEND, INCRBYFLOAT) is not remembered"),
    b"OBJECT REFCOUNT": (_same_kind, "values are not shared; Redis shares small integers"),
    b"OBJECT IDLETIME": (_near(1000), "clocks"),
    b"TIME": (_same_kind, "clocks"),
}
"""Command to how its answers are compared, and why not by equality. Everything else is equal, byte for byte."""


def same(argv: Argv, ours: bytes, theirs: bytes) -> bool:
    """Return whether two answers to `argv` are the same, known differences aside."""
    if ours == theirs:
        return True
    for name in (argv[0].upper(), b" ".join(argv[:2]).upper()):
        if name in DIFFERENCES:
            return DIFFERENCES[name][0](ours, theirs)
    return False


def play(peers: list[RedisPeer], protocol: int, steps: list[tuple[int, Argv]]) -> None:
    """Run `steps`, each on the client it names, on both sides; fail at the first answer that differs."""
    shard = Shard()
    sessions = [shard.session, shard.another()]
    for peer, session in zip(peers, sessions, strict=True):
        peer.raw(b"RESET")
        peer.raw(b"HELLO", b"%d" % protocol)
        shard.raw("HELLO", str(protocol), session=session)
    peers[0].raw(b"FLUSHALL")
    queued: list[list[Argv]] = [[], []]
    for at, (who, argv) in enumerate(steps):
        shard.core.now_ms = time.time_ns() // 1_000_000
        theirs = peers[who].raw(*argv)
        ours = shard.raw(*argv, session=sessions[who])
        ran = argv[0].upper() == b"EXEC" and theirs[:1] == ours[:1] == b"*" and parsed(ours) is not None
        if ran:
            pairs = zip(queued[who], pieces(ours), pieces(theirs), strict=True)
            agree = all(same(inner, a, b) for inner, a, b in pairs)
        else:
            agree = same(argv, ours, theirs)
        assert agree, f"step {at}, RESP{protocol}, {argv!r}:\n  ours   {ours!r}\n  Redis' {theirs!r}"
        if theirs == b"+QUEUED\r\n":
            queued[who].append(argv)
        elif argv[0].upper() in (b"EXEC", b"DISCARD", b"MULTI") and sessions[who].multi in (None, []):
            queued[who] = []
    assert shard.core.failures == 0
    shard.store.check_invariants()


def pieces(reply: bytes) -> list[bytes]:
    """Cut an array reply into the bytes of its elements."""
    header, _, rest = reply.partition(b"\r\n")
    found = []
    for _ in range(int(header[1:])):
        end = 0
        while True:  # the shortest prefix of whole lines that is a whole reply
            end = rest.index(b"\r\n", end) + 2
            reader = hiredis.Reader(notEnoughData=...)
            reader.feed(rest[:end])
            if reader.gets() is not ...:
                break
        found.append(rest[:end])
        rest = rest[end:]
    return found


thorough = settings(max_examples=250, deadline=None, derandomize=True,
                    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@thorough
@given(steps=random_steps)
@example(steps=[(0, (b"WATCH", b"a")), (1, (b"SET", b"a", b"1")), (0, (b"MULTI",)), (0, (b"GET", b"a")),
                (0, (b"EXEC",))])
@example(steps=[(0, (b"MULTI",)), (0, (b"SET", b"a")), (0, (b"EXEC",)), (0, (b"EXEC",))])
def test_random_commands_answer_as_redis_in_resp2(peers: list[RedisPeer], steps: list[tuple[int, Argv]]) -> None:
    play(peers, 2, steps)


@thorough
@given(steps=random_steps)
def test_random_commands_answer_as_redis_in_resp3(peers: list[RedisPeer], steps: list[tuple[int, Argv]]) -> None:
    play(peers, 3, steps)


def _facts(entry: list[object]) -> dict[str, object]:
    """Return what a COMMAND entry says, in an order of its own."""
    name, arity, flags, first, last, step, acl, tips, specs, subs = entry
    assert isinstance(name, bytes)
    assert isinstance(flags, list | set)
    assert isinstance(acl, list | set)
    assert isinstance(specs, list)
    assert isinstance(subs, list)
    specs = [spec[2:] if spec[0] == b"notes" else spec for spec in specs]  # remarks for people
    return {"name": name, "arity": arity, "flags": sorted(flags), "keys": (first, last, step), "acl": sorted(acl),
            "tips": tips,
            "specs": specs, "subs": {sub[0]: _facts(sub) for sub in subs}}


NEWER_OR_OURS = {b"client|setinfo": "from Redis 7.2, sent by every newer driver"}
VARIABLE_USES = {b"SET": "Redis looks whether GET is among the arguments; here the use is what SET may do at most"}


def test_the_command_table_says_of_each_command_what_redis_says(peers: list[RedisPeer]) -> None:
    shard = Shard()
    for name in TABLE:
        if name.startswith(b"RC."):
            continue
        replies = shard.raw("COMMAND", "INFO", name), peers[0].raw(b"COMMAND", b"INFO", name)
        ours, theirs = (_facts(parsed(raw)[0]) for raw in replies)
        our_subs, their_subs = ours.pop("subs"), theirs.pop("subs")
        assert ours == theirs
        assert isinstance(our_subs, dict)
        assert isinstance(their_subs, dict)
        for sub, facts in our_subs.items():
            if sub not in NEWER_OR_OURS:
                assert facts == their_subs[sub]


OTHER_ARGUMENTS = dict.fromkeys((b"command|getkeys", b"command|getkeysandflags"), "Redis 7.0 tells of none there")


def _arguments(docs: Any) -> dict[bytes, set[tuple[bytes, bytes]]]:
    """Return the leaves of each command's arguments: their types and tokens; names are each server's own."""
    found = {}
    for name, told in zip(docs[::2], docs[1::2], strict=True):
        facts = dict(zip(told[::2], told[1::2], strict=True))
        found[name] = set(_leaves(facts.get(b"arguments", [])))
        found |= _arguments(facts.get(b"subcommands", []))
    return found


def _leaves(arguments: Any, token: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
    for each in arguments:
        facts = dict(zip(each[::2], each[1::2], strict=True))
        own = facts.get(b"token", token)
        if b"arguments" in facts:
            yield from _leaves(facts[b"arguments"], own if facts[b"type"] == b"block" else b"")
        else:
            yield facts[b"type"], own


def test_arguments_have_the_types_and_words_that_redis_tells_of(peers: list[RedisPeer]) -> None:
    shard = Shard()
    names = [name for name in TABLE if not name.startswith(b"RC.")]
    ours, theirs = (_arguments(parsed(raw)) for raw in (
        shard.raw("COMMAND", "DOCS", *names), peers[0].raw(b"COMMAND", b"DOCS", *names)))
    assert len(ours) > 100
    beyond = {name: leaves - theirs[name] for name, leaves in ours.items() if name not in NEWER_OR_OURS}
    assert {name for name, leaves in beyond.items() if leaves} == OTHER_ARGUMENTS.keys()


def test_every_key_use_of_ours_is_extracted_as_redis_does(peers: list[RedisPeer]) -> None:
    shard = Shard()
    for name, command_ in TABLE.items():
        argv = [b"COMMAND", b"GETKEYSANDFLAGS", name,
                *[b"%d" % at for at in range(1, 5 if command_.arity < 0 else command_.arity)]]
        if command_.first_key and not name.startswith(b"RC.") and name not in VARIABLE_USES:
            assert shard.raw(*argv) == peers[0].raw(*argv)


@pytest.mark.parametrize("value",
                         [b"", b"0", b"-1", b"01", b"1" * 19, b"9223372036854775807", b"9223372036854775808", b"1" * 44,
                                   b"x" * 44, b"x" * 45, b" 1"])
def test_object_encoding_of_a_value_that_was_set(peers: list[RedisPeer], value: bytes) -> None:
    shard = Shard()
    for argv in ((b"SET", b"k", value), (b"OBJECT", b"ENCODING", b"k")):
        assert shard.raw(*argv) == peers[0].raw(*argv)


@settings(max_examples=300, deadline=None, derandomize=True,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pattern=st.text("ab*?[]^-\\\xff", max_size=8), key=st.text("ab*[]^-\\\xff\x80", max_size=6))
@example(pattern="[^", key="x")
@example(pattern="[a-", key="-")
@example(pattern="[a-]", key="^")
@example(pattern="[\xff-b]", key="a")
@example(pattern="a\\", key="a\\")
@example(pattern="**", key="")
def test_patterns_match_as_in_redis(peers: list[RedisPeer], pattern: str, key: str) -> None:
    """Through SCAN, which has no shortcut of its own for patterns."""
    shard = Shard()
    peers[0].raw(b"FLUSHALL")
    for argv in ((b"SET", key.encode("latin-1"), b""),
                 (b"SCAN", b"0", b"MATCH", pattern.encode("latin-1"), b"COUNT", b"1000")):
        assert shard.raw(*argv) == peers[0].raw(*argv)
