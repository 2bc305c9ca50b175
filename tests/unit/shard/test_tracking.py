"""CLIENT TRACKING: who is told of which changes, in every mode."""

from __future__ import annotations

from typing import Any

import hiredis
import pytest

from raycache.access.user import user_of
from raycache.shard.session import Session
from raycache.shard.tracking import KEY_BYTES, MAX_DUE_BYTES
from tests.unit.shard.harness import Shard, parsed


def tracker(shard: Shard, options: str = "", session: Session | None = None) -> Session:
    """Return a session in RESP3 that tracks."""
    session = session or shard.another()
    shard.run("HELLO 3", session=session)
    assert shard.run(f"CLIENT TRACKING ON {options}", session=session) == b"OK"
    return session


def told(shard: Shard, session: Session) -> Any:
    """Return the keys that `session` is told of now, None for everything, [] for nothing."""
    messages = [parsed(message) for one, message in shard.core.tracking.take() if one is session]
    assert all(isinstance(message, hiredis.PushNotification) and message[0] == b"invalidate" for message in messages)
    return messages[0][1] if messages else []


WRITES = ["SET k 2", "SET k 22222", "DEL k", "EXPIRE k 100", "PERSIST k", "APPEND k 1", "INCR k", "GETDEL k",
          "GETEX k PX 500", "RENAME k other", "RENAME other k", "COPY other k REPLACE", "MSET k 2", "SETRANGE k 0 9",
          "INCRBYFLOAT k 1", "RC.SET k 0 v 0", "RC.INCRBY k 1 0", "RC.MSET 0 0 k v", "SETEX k 5 v", "GETSET k v",
          "UNLINK k", "EXPIRE k -1"]


@pytest.mark.parametrize("line", WRITES)
def test_whoever_has_read_a_key_hears_of_a_change_once(shard: Shard, line: str) -> None:
    shard.run("MSET k 1 other 1")
    shard.run("PEXPIRE k 1000")
    reader = tracker(shard)
    shard.run("GET k", session=reader)
    shard.run(line)
    assert told(shard, reader) == [b"k"]
    shard.run("SET k 3")
    assert told(shard, reader) == []  # it has not read it since


def test_expiry_and_eviction_are_announced() -> None:
    shard = Shard(capacity_bytes=64 * 1024)
    reader = tracker(shard)
    shard.run("SET short 1 PX 50")
    for key in ("short", "long", "absent"):
        shard.run(f"GET {key}", session=reader)
    shard.advance(60)
    shard.core.step(shard.core.now_ms)
    assert told(shard, reader) == [b"short"]
    shard.run("SET long 1")
    assert told(shard, reader) == [b"long"]  # it was absent when it was read
    shard.run("GET long", session=reader)
    for number in range(400):
        shard.run(f"SET filler{number} {'x' * 200}")
    assert shard.core.store.stats.evicted
    assert b"long" in told(shard, reader)


@pytest.mark.parametrize("line", ["FLUSHALL", "FLUSHDB", "RC.CLEAR"])
def test_clearing_is_a_null(shard: Shard, line: str) -> None:
    shard.run("SET k 1")
    reader, listener = tracker(shard), tracker(shard, "BCAST")
    shard.run("GET k", session=reader)
    shard.run(line)
    due = dict(shard.core.tracking.take())
    assert due[reader] == due[listener] == b">2\r\n$10\r\ninvalidate\r\n_\r\n"
    assert shard.core.tracking.key_count == 0


def test_all_keys_of_a_command_and_of_a_transaction_are_tracked(shard: Shard) -> None:
    reader = tracker(shard)
    shard.run("MGET a b", session=reader)
    for line in ("MULTI", "GET c", "SET d 1", "EXISTS e", "EXEC"):
        shard.run(line, session=reader)
    shard.core.tracking.take()
    for key in "abcde":
        shard.run(f"SET {key} 1")
    assert told(shard, reader) == [b"a", b"b", b"c", b"e"]


def test_a_key_read_and_written_in_one_transaction_is_announced(shard: Shard) -> None:
    reader = tracker(shard)
    for line in ("MULTI", "GET k", "SET k 1", "EXEC"):
        shard.run(line, session=reader)
    assert told(shard, reader) == [b"k"]


def test_a_key_that_changes_during_a_long_read_is_announced(shard: Shard) -> None:
    reader = tracker(shard)
    keys = [b"key%d" % number for number in range(600)]
    steps = shard.core.execute(reader, [b"MGET", *keys])
    assert not isinstance(steps, bytes)
    next(steps)
    shard.run("SET key1 1")
    assert told(shard, reader) == [b"key1"]


def test_optin_and_optout(shard: Shard) -> None:
    optin, optout = tracker(shard, "OPTIN"), tracker(shard, "OPTOUT")
    for session, answer in ((optin, "YES"), (optout, "NO")):
        shard.run("GET before", session=session)
        assert shard.run(f"CLIENT CACHING {answer}", session=session) == b"OK"
        shard.run("GET k", session=session)
        shard.run("GET after", session=session)
    shard.run("MSET before 1 k 1 after 1")
    due = {session.id: parsed(message)[1] for session, message in shard.core.tracking.take()}
    assert due == {optin.id: [b"k"], optout.id: [b"before", b"after"]}


def test_caching_counts_for_a_whole_transaction(shard: Shard) -> None:
    reader = tracker(shard, "OPTIN")
    for line in ("CLIENT CACHING YES", "MULTI", "GET a", "GET b", "EXEC", "GET c"):
        shard.run(line, session=reader)
    shard.run("MSET a 1 b 1 c 1")
    assert told(shard, reader) == [b"a", b"b"]


def test_noloop_leaves_out_ones_own_writes(shard: Shard) -> None:
    reader = tracker(shard, "NOLOOP")
    shard.run("MGET own other", session=reader)
    shard.run("SET own 1", session=reader)
    shard.run("SET other 1")
    assert told(shard, reader) == [b"other"]
    looping = tracker(shard)
    shard.run("GET own", session=looping)
    shard.run("SET own 2", session=looping)
    assert told(shard, looping) == [b"own"]


def test_noloop_knows_the_writes_of_long_commands(shard: Shard) -> None:
    reader, other = tracker(shard, "BCAST NOLOOP"), tracker(shard, "BCAST")
    words = [b"MSET"] + [word for number in range(600) for word in (b"key%d" % number, b"1")]
    shard.drive(words, reader)
    due = {session.id: len(parsed(message)[1]) for session, message in shard.core.tracking.take()}
    assert due == {other.id: 600}
    assert shard.core.tracking.writer is None


def test_broadcast_by_prefix(shard: Shard) -> None:
    some, everything = tracker(shard, "BCAST PREFIX user: PREFIX o"), tracker(shard, "BCAST")
    for line in ("SET user:1 1", "SET order:1 1", "SET x 1", "DEL none", "DEL x"):
        shard.run(line)
    due = {session.id: parsed(message)[1] for session, message in shard.core.tracking.take()}
    assert due == {some.id: [b"user:1", b"order:1"], everything.id: [b"user:1", b"order:1", b"x"]}
    assert shard.core.tracking.prefix_count == 3
    shard.run("CLIENT TRACKING OFF", session=some)
    assert shard.core.tracking.prefix_count == 1


def test_more_prefixes_are_added(shard: Shard) -> None:
    session = tracker(shard, "BCAST PREFIX a")
    tracker(shard, "BCAST PREFIX b", session)
    assert session.tracking is not None
    assert session.tracking.prefixes == {b"a", b"b"}
    assert (shard.run("CLIENT TRACKING ON BCAST PREFIX ab", session=session)
            == "ERR Prefix 'ab' overlaps with an existing prefix 'a'. Prefixes for a single client must not overlap.")


@pytest.mark.parametrize(("before", "line", "error"), [
    ("", "CLIENT TRACKING maybe", "ERR syntax error"),
    ("", "CLIENT TRACKING ON PREFIX", "ERR syntax error"),
    ("", "CLIENT TRACKING ON PREFIX a", "ERR PREFIX option requires BCAST mode to be enabled"),
    ("", "CLIENT TRACKING ON BCAST OPTIN", "ERR OPTIN and OPTOUT are not compatible with BCAST"),
    ("", "CLIENT TRACKING ON OPTIN OPTOUT", "ERR You can't use both OPTIN mode and OPTOUT mode"),
    ("", "CLIENT TRACKING ON BCAST PREFIX a PREFIX ab", "ERR Prefix 'a' overlaps with another provided prefix 'ab'. "
                                                        "Prefixes for a single client must not overlap."),
    ("", "CLIENT TRACKING ON REDIRECT 1", "ERR REDIRECT is not supported, as there is no publish/subscribe here: use "
                                          "RESP3, which tells of changes on the same connection"),
    ("ON", "CLIENT TRACKING ON BCAST", "ERR You can't switch BCAST mode on/off before disabling tracking for this "
                                       "client, and then re-enabling it with a different mode."),
    ("ON OPTIN", "CLIENT TRACKING ON OPTOUT", "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for "
                                              "this client, and then re-enabling it with a different mode."),
    ("", "CLIENT CACHING YES", "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN "
                               "or OPTOUT mode enabled"),
    ("ON", "CLIENT CACHING YES", "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode."),
    ("ON", "CLIENT CACHING NO", "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode."),
    ("ON OPTIN", "CLIENT CACHING perhaps", "ERR syntax error"),
])
def test_what_makes_no_sense_is_refused(shard: Shard, before: str, line: str, error: str) -> None:
    if before:
        shard.run(f"CLIENT TRACKING {before}")
    assert shard.run(line) == error


def test_trackinginfo_and_getredir(shard: Shard) -> None:
    assert shard.run("CLIENT TRACKINGINFO") == [b"flags", [b"off"], b"redirect", -1, b"prefixes", []]
    assert shard.run("CLIENT GETREDIR") == -1
    shard.run("CLIENT TRACKING ON BCAST NOLOOP PREFIX b PREFIX a")
    assert shard.run("CLIENT TRACKINGINFO") == [b"flags", [b"on", b"bcast", b"noloop"], b"redirect", 0,
                                                b"prefixes", [b"a", b"b"]]
    assert shard.run("CLIENT GETREDIR") == 0
    assert b"flags=tB " in shard.run("CLIENT INFO")
    assert b"redir=0 " in shard.run("CLIENT INFO")
    shard.run("CLIENT TRACKING OFF")
    shard.run("CLIENT TRACKING ON OPTIN")
    shard.run("CLIENT CACHING YES")
    assert shard.run("CLIENT TRACKINGINFO")[1] == [b"on", b"optin", b"caching-yes"]
    for line in ("tracking_clients:1", "tracking_total_keys:0"):
        assert line.encode() in shard.run("INFO")


def test_resp2_tracks_and_hears_nothing(shard: Shard) -> None:
    assert shard.run("CLIENT TRACKING ON") == b"OK"
    shard.run("GET k")
    shard.run("SET k 1")
    assert shard.core.tracking.take() == []


@pytest.mark.parametrize("end", ["CLIENT TRACKING OFF", "RESET", "close"])
def test_when_nobody_tracks_any_more_nothing_is_left(shard: Shard, end: str) -> None:
    reader = tracker(shard)
    shard.run("GET k", session=reader)
    assert shard.core.watched
    assert shard.store.on_leave is not None
    assert not reader.plain
    if end == "close":
        shard.core.close_session(reader)
    else:
        shard.run(end, session=reader)
        assert reader.plain
    assert not shard.core.watched
    assert shard.store.on_leave is None
    assert (shard.core.tracking.key_count, shard.core.tracking.due) == (0, {})
    shard.run("SET k 1")
    assert shard.core.tracking.take() == []


def test_a_full_table_announces_what_it_forgets(shard: Shard) -> None:
    shard.core.tracking.limit_bytes = 10 * KEY_BYTES
    one, two = tracker(shard), tracker(shard)
    for number in range(9):
        shard.run(f"GET {number}", session=one)
        shard.run(f"GET {number}", session=two)
    tracking = shard.core.tracking
    due = {session.id: parsed(message)[1] for session, message in tracking.take()}
    assert due[one.id]
    assert due[one.id] == [b"%d" % number for number in range(len(due[one.id]))]
    assert set(due[two.id]) <= set(due[one.id])
    assert tracking.dropped == len(due[one.id]) == 9 - tracking.key_count
    shard.run("MSET " + " ".join(f"{number} 1" for number in range(9)))
    assert tracking._bytes == 0  # what was charged is given back


def test_too_much_at_once_is_everything(shard: Shard) -> None:
    listener = tracker(shard, "BCAST")
    for number in range(MAX_DUE_BYTES // 60_000 + 1):
        shard.raw("SET", b"%060000d" % number, "1")
    assert told(shard, listener) is None


def test_users_hear_only_of_what_they_may_read() -> None:
    shard = Shard(users=[user_of("user default on nopass ~* +@all"), user_of("user ann on >pw ~a:* +@all")])
    session = shard.another()
    shard.run("HELLO 3 AUTH ann pw", session=session)
    refusal = shard.run("CLIENT TRACKING ON BCAST", session=session)
    assert refusal.startswith("NOPERM")
    assert shard.run("CLIENT TRACKING ON BCAST PREFIX b", session=session).startswith("NOPERM")
    assert shard.run("CLIENT TRACKING ON BCAST PREFIX a:", session=session) == b"OK"
    shard.run("CLIENT TRACKING OFF", session=session)
    tracker(shard, "", session)
    assert shard.run("GET b:1", session=session).startswith("NOPERM")
    shard.run("GET a:1", session=session)
    shard.run("MSET a:1 1 b:1 1")
    assert told(shard, session) == [b"a:1"]


# What near caches ask for


TOKEN = b"0123456789abcdef"


def link(shard: Shard) -> Session:
    session = tracker(shard, "OPTIN")
    assert shard.raw("RC.LINK", TOKEN, session=session) == b"+OK\r\n"
    return session


def test_others_read_for_a_link(shard: Shard) -> None:
    shard.run("RC.SET k 2 7 0")
    shard.run("RC.SET short 0 v 1000")
    session = link(shard)
    assert parsed(shard.raw("RC.NEAR", "k", TOKEN)) == b"\x01" + (-1).to_bytes(8, "big", signed=True) + b"\x027"
    assert parsed(shard.raw("RC.NEAR", "short", TOKEN)) == b"\x01" + (1000).to_bytes(8, "big") + b"\x00v"
    assert parsed(shard.raw("RC.NEAR", "absent", TOKEN)) is None
    answers = parsed(shard.raw("RC.MNEAR", TOKEN, "k", "absent", "short"))
    assert [answer and answer[:1] for answer in answers] == [b"\x01", None, b"\x01"]
    assert shard.core.tracking.key_count == 2  # what is absent is not kept
    shard.run("MSET k 1 short 1 absent 1")
    assert told(shard, session) == [b"k", b"short"]


def test_an_unknown_token_reads_and_is_told_so(shard: Shard) -> None:
    shard.run("SET k 1")
    assert parsed(shard.raw("RC.NEAR", "k", TOKEN))[:1] == b"\x00"
    assert parsed(shard.raw("RC.MNEAR", b"", "k"))[0][:1] == b"\x00"
    shard.core.close_session(link(shard))
    assert parsed(shard.raw("RC.NEAR", "k", TOKEN))[:1] == b"\x00"
    assert shard.core.tracking.key_count == 0


def test_links_are_for_those_who_track_and_tokens_for_one(shard: Shard) -> None:
    assert "track" in str(parsed(shard.raw("RC.LINK", TOKEN)))
    link(shard)
    again = tracker(shard, "OPTIN")
    for token in (TOKEN, b"short"):
        assert "16 random bytes" in str(parsed(shard.raw("RC.LINK", token, session=again)))


def test_long_near_reads_go_in_steps(shard: Shard) -> None:
    shard.run("SET key599 1")
    session = link(shard)
    reply, steps = shard.drive([b"RC.MNEAR", TOKEN, *[b"key%d" % number for number in range(600)]])
    assert steps > 1
    assert [answer for answer in parsed(reply) if answer] == [b"\x01" + b"\xff" * 8 + b"\x001"]
    shard.run("DEL key599")
    assert told(shard, session) == [b"key599"]


def test_a_shard_alone_is_always_fresh(shard: Shard) -> None:
    assert shard.run("RC.FRESH") == 0
