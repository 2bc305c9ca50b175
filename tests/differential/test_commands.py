"""Random commands to the shard core and to a real Redis 7 in the same run; every byte of the answers is compared.

Two clients take turns, so that WATCH has somebody to watch. Bytes are compared, not values: a status
line in place of a bulk string is a difference. What differs on purpose is in `DIFFERENCES`, each with
its reason, and in docs/redis-differences.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import hiredis
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from raycache.shard.commands import TABLE
from tests.differential.conftest import RedisPeer
from tests.unit.shard.harness import Shard, parsed

pytestmark = pytest.mark.redis_server

Argv = tuple[bytes, ...]
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


def _same_unless_number(ours: bytes, theirs: bytes) -> bool:
    a, b = parsed(ours), parsed(theirs)
    return ours == theirs if a is None or b is None else isinstance(b, int | hiredis.ReplyError)


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
    b"OBJECT IDLETIME": (_same_unless_number, "not tracked: no memory is spent on it"),
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


KEYS = [b"a", b"b", b"c", b"num", b"{t}x", b"{t}y", b"", b"k\x00\xff"]
keys = st.sampled_from(KEYS)
values = st.one_of(
    st.sampled_from([b"", b"0", b"1", b"-1", b"10", b"9223372036854775807", b"-9223372036854775808", b"3.5", b"-0",
                     b"1e3",
                     b"hello", b" 1", b"01", b"+1", b"x" * 44, b"x" * 45, b"\x00\r\n\xff"]),
    st.binary(max_size=12),
    st.integers(-(1 << 64), 1 << 64).map(lambda n: b"%d" % n),
)
numbers = st.one_of(st.sampled_from([b"0", b"1", b"-1", b"5", b"-7", b"9223372036854775807", b"-9223372036854775808",
                                     b"9223372036854775808", b"abc", b"", b"1.5", b" 2"]),
                    st.integers(-100, 100).map(lambda n: b"%d" % n))
floats = st.one_of(st.sampled_from([b"0.1", b"1e10", b"-2.5", b"inf", b"-inf", b"nan", b"1e400", b"1e5000", b"0x10",
                                    b"abc", b"",
                                    b" 1", b"1 ", b"3.0e-5", b".5", b"5.", b"1_0", b"infinity"]),
                   st.floats(-1e6, 1e6, allow_nan=False).map(lambda f: repr(f).encode()), numbers)
# Far enough from now that nothing expires between the two sides, or surely in the past.
seconds = st.sampled_from([b"1000", b"100000", b"0", b"-1", b"9223372036854775", b"9223372036854775807", b"x",
                           b"-9223372036854775808"])
millis = st.sampled_from([b"1000000", b"100000000", b"0", b"-5", b"9223372036854775807", b"9223372035000000000",
                          b"1.5"])
unix_s = st.sampled_from([b"1", b"4000000000", b"-3", b"0", b"9223372036854775807", b"zz"])
unix_ms = st.sampled_from([b"1", b"4000000000000", b"-3", b"0", b"9223372036854775807"])
offsets = st.one_of(st.integers(-20, 20).map(lambda n: b"%d" % n),
                    st.sampled_from([b"536870912", b"9223372036854775807", b"-9223372036854775808", b"q"]))
time_options = st.one_of(
    st.tuples(st.sampled_from([b"EX", b"ex"]), seconds), st.tuples(st.just(b"PX"), millis),
    st.tuples(st.just(b"EXAT"), unix_s), st.tuples(st.just(b"PXAT"), unix_ms),
)
words = st.sampled_from([(b"NX",), (b"XX",), (b"GET",), (b"KEEPTTL",), (b"nx",), (b"PERSIST",), (b"EX",), (b"bogus",)])
patterns = st.one_of(st.just(b"*"), st.text("ab*?[]^-\\xt{}cnum", max_size=6).map(str.encode), st.binary(max_size=5))
conditions = st.lists(st.sampled_from([b"NX", b"XX", b"GT", b"LT", b"gt", b"no"]), max_size=2).map(tuple)


def command(name: bytes, *parts: st.SearchStrategy[object]) -> st.SearchStrategy[Argv]:
    """Return commands called `name`, whose parts are words or tuples of words."""

    def flat(pieces: tuple[object, ...]) -> Argv:
        out: list[bytes] = [name]
        for piece in pieces:
            if isinstance(piece, bytes):
                out.append(piece)
            else:
                assert isinstance(piece, tuple)
                out.extend(flat(piece)[1:])
        return tuple(out)

    return st.tuples(*parts).map(flat)


def several(strategy: st.SearchStrategy[object], least: int = 1,
            most: int = 4) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(strategy, min_size=least, max_size=most).map(tuple)


STRINGS = [
    command(b"GET", keys), command(b"SET", keys, values),
    command(b"SET", keys, values, several(st.one_of(time_options, words), 0, 3)),
    command(b"SETNX", keys, values), command(b"SETEX", keys, seconds, values), command(b"PSETEX", keys, millis, values),
    command(b"GETSET", keys, values), command(b"GETDEL", keys),
    command(b"GETEX", keys, several(st.one_of(time_options, words), 0, 2)),
    command(b"MGET", several(keys)), command(b"MSET", several(st.tuples(keys, values))),
    command(b"MSETNX", several(st.tuples(keys, values), 1, 2)),
    command(b"MSET", several(values, 2, 5)), command(b"APPEND", keys, values), command(b"STRLEN", keys),
    command(b"INCR", keys), command(b"DECR", keys), command(b"INCRBY", keys, numbers),
    command(b"DECRBY", keys, numbers),
    command(b"INCRBYFLOAT", keys, floats), command(b"GETRANGE", keys, offsets, offsets),
    command(b"SUBSTR", keys, offsets, offsets),
    command(b"SETRANGE", keys, offsets, values),
]
GENERIC = [
    command(b"DEL", several(keys)), command(b"UNLINK", several(keys)), command(b"EXISTS", several(keys)),
    command(b"TOUCH", several(keys)),
    command(b"TYPE", keys), command(b"EXPIRE", keys, seconds, conditions),
    command(b"PEXPIRE", keys, millis, conditions),
    command(b"EXPIREAT", keys, unix_s, conditions), command(b"PEXPIREAT", keys, unix_ms, conditions),
    command(b"TTL", keys), command(b"PTTL", keys), command(b"EXPIRETIME", keys), command(b"PEXPIRETIME", keys),
    command(b"PERSIST", keys),
    command(b"RENAME", keys, keys), command(b"RENAMENX", keys, keys), command(b"RANDOMKEY"), command(b"DBSIZE"),
    command(b"COPY", keys, keys,
            several(st.sampled_from([(b"REPLACE",), (b"DB", b"0"), (b"DB", b"1"), (b"DB", b"x"),
                                     (b"DB", b"99999999999"), (b"DB",), (b"no",)]), 0, 2)),
    command(b"KEYS", patterns),
    command(b"SCAN", st.sampled_from([b"0", b"x", b"+0", b"", b" 0", b"99999999999999999999"]),
            several(st.one_of(st.tuples(st.just(b"MATCH"), patterns),
                              st.tuples(st.just(b"COUNT"), st.sampled_from([b"1000", b"5000", b"0", b"-1", b"z"])),
                              st.tuples(st.just(b"TYPE"), st.sampled_from([b"string", b"STRING", b"list", b"bogus"])),
                              st.just((b"MATCH",))), 0, 2)),
    command(b"OBJECT", st.sampled_from([b"ENCODING", b"freq", b"REFCOUNT", b"IDLETIME", b"bogus"]), keys),
    command(b"MEMORY", st.just(b"USAGE"), keys,
            several(st.sampled_from([(b"SAMPLES", b"5"), (b"SAMPLES", b"-1"), (b"x",)]), 0, 1)),
    command(b"FLUSHDB", several(st.sampled_from([b"ASYNC", b"SYNC", b"bogus"]), 0, 1)), command(b"FLUSHALL"),
]
CONNECTION = [
    command(b"PING", several(values, 0, 2)), command(b"ECHO", values),
    command(b"SELECT", st.sampled_from([b"0", b"1", b"x", b"99999999999", b"-1"])),
    command(b"AUTH", several(values, 1, 3)), command(b"TIME"),
    command(b"WAIT", st.just(b"0"), st.sampled_from([b"0", b"-1", b"x"])),
    command(b"CLIENT", st.sampled_from([b"GETNAME", b"bogus", b"GETREDIR", b"ID2"])),
    command(b"CLIENT", st.just(b"SETNAME"), st.sampled_from([b"worker", b"a b", b"", b"\xff"])),
    command(b"CLIENT", st.just(b"KILL"),
            st.sampled_from([(b"1.2.3.4:5",), (b"ID", b"0"), (b"ID", b"x"), (b"ID", b"999999"),
                                                          (b"TYPE", b"bogus"), (b"ADDR", b"1.1.1.1:1"), (b"ID",),
                                                          (b"USER", b"nobody")])),
    command(b"CLIENT", st.just(b"LIST"),
            st.sampled_from([(b"TYPE", b"bogus"), (b"TYPE", b"pubsub"), (b"ID", b"x"), (b"bogus",)])),
    command(b"CLIENT", st.just(b"NO-EVICT"), st.sampled_from([b"on", b"off", b"x"])),
    command(b"CONFIG", st.just(b"GET"),
            several(st.sampled_from([b"save", b"appendonly", b"databases", b"nothing", b"SAVE"]), 1, 1)),
    command(b"CONFIG",
            st.sampled_from([(b"SET", b"nothing", b"1"), (b"SET", b"a"), (b"SET", b"databases", b"5"),
                             (b"SET", b"proto-max-bulk-len", b"x"),
                                        (b"SET", b"save", b""), (b"SET", b"appendonly", b"no"), (b"BOGUS",),
                                        (b"REWRITE",), (b"RESETSTAT",)])),
    command(b"COMMAND",
            st.sampled_from([(b"GETKEYS", b"GET", b"k"), (b"GETKEYS", b"MSET", b"a", b"1", b"b", b"2"),
                             (b"GETKEYS", b"PING"),
                                         (b"GETKEYS", b"BOGUS", b"x"), (b"GETKEYS", b"GET"),
                                         (b"GETKEYS", b"GET", b"a", b"b"),
                                         (b"GETKEYS", b"OBJECT", b"ENCODING", b"k"), (b"INFO", b"nothing"),
                                         (b"LIST", b"bogus"), (b"DOCS", b"nothing"),
                                         (b"LIST", b"FILTERBY", b"MODULE", b"x"),
                                         (b"GETKEYSANDFLAGS", b"RENAME", b"a", b"b"), (b"COUNT", b"x")])),
    command(b"HELLO",
            st.sampled_from([(b"4",), (b"x",), (b"3", b"bogus"), (b"2", b"SETNAME", b"a b"),
                             (b"3", b"AUTH", b"nobody", b"x")])),
    command(b"CLUSTER",
            st.sampled_from([(b"INFO",), (b"SLOTS",), (b"KEYSLOT", b"a"), (b"BOGUS",), (b"COUNTKEYSINSLOT", b"1")])),
    command(b"READONLY"), command(b"READWRITE"), command(b"ASKING"),
]
TRANSACTIONS = [command(b"MULTI"), command(b"EXEC"), command(b"EXEC"), command(b"DISCARD"),
                command(b"WATCH", several(keys, 1, 2)),
                command(b"UNWATCH")]
WRONG = [
    st.tuples(st.sampled_from([b"GET", b"set", b"DEL", b"MSET", b"CLIENT", b"Client", b"OBJECT", b"EXPIRE", b"TTL",
                               b"CONFIG", b"MULTI", b"EXEC",
                               b"nosuch", b"NoSuch\r\n", b"RENAME", b"FLUSHALL", b"SCAN", b"CLUSTER", b"MEMORY",
                               b"x" * 200])
              ).flatmap(lambda name: st.lists(values, max_size=4).map(lambda rest: (*name, *rest))),
]
commands = st.one_of(st.one_of(STRINGS), st.one_of(STRINGS), st.one_of(GENERIC), st.one_of(CONNECTION),
                     st.one_of(TRANSACTIONS),
                     st.one_of(WRONG))


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
        if argv[0].upper() == b"EXEC" and theirs[:1] == ours[:1] == b"*" and len(argv) == 1 and parsed(ours) is not None:
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


steps_strategy = st.lists(st.tuples(st.sampled_from([0, 0, 0, 1]), commands), min_size=1, max_size=25)
thorough = settings(max_examples=250, deadline=None, derandomize=True,
                    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@thorough
@given(steps=steps_strategy)
@example(steps=[(0, (b"WATCH", b"a")), (1, (b"SET", b"a", b"1")), (0, (b"MULTI",)), (0, (b"GET", b"a")),
                (0, (b"EXEC",))])
@example(steps=[(0, (b"MULTI",)), (0, (b"SET", b"a")), (0, (b"EXEC",)), (0, (b"EXEC",))])
def test_random_commands_answer_as_redis_in_resp2(peers: list[RedisPeer], steps: list[tuple[int, Argv]]) -> None:
    play(peers, 2, steps)


@thorough
@given(steps=steps_strategy)
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
