"""Random commands, right and wrong, on few keys, so that they meet.

Expiries lie far ahead or surely in the past: nothing may expire between the two sides of a comparison.
"""

from __future__ import annotations

from hypothesis import strategies as st

Argv = tuple[bytes, ...]

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
    command(b"CLIENT", st.sampled_from([b"GETNAME", b"bogus", b"GETREDIR", b"ID2", b"TRACKINGINFO", b"TRACKING"])),
    # Never successfully on: announcements come between replies, in other pieces than Redis'.
    command(b"CLIENT", st.just(b"TRACKING"),
            st.sampled_from([(b"off",), (b"x",), (b"on", b"bogus"), (b"on", b"prefix", b"a"), (b"ON", b"PREFIX"),
                             (b"on", b"optin", b"OPTOUT"), (b"on", b"bcast", b"optin"), (b"off", b"bogus"),
                             (b"on", b"bcast", b"prefix", b"a", b"prefix", b"ab")])),
    command(b"CLIENT", st.just(b"CACHING"), st.sampled_from([b"yes", b"no", b"x"])),
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

steps = st.lists(st.tuples(st.sampled_from([0, 0, 0, 1]), commands), min_size=1, max_size=25)
"""Which of two clients sends what."""
