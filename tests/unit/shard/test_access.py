"""Users on a shard: every command there is, tried by somebody who may not; and what changes under way.

The commands are taken from the table, so one that is added later is tried, too.
"""

from __future__ import annotations

import hiredis
import pytest

from raycache.access.user import user_of
from raycache.shard.commands import CATALOGUE, TABLE
from raycache.shard.commands.command import Command
from raycache.shard.guard import MAX_FAILURES
from raycache.shard.reach import HARMLESS
from raycache.shard.session import Session
from tests.unit.shard.harness import Shard, parsed

ALL = [each for command in TABLE.values() for each in ([*command.subcommands.values()] or [command])]
WITH_KEYS = [command for command in ALL if command.first_key and command.needs_auth]
KEYLESS = [command for command in ALL if not command.first_key and command.needs_auth]
WALKS = {"scan", "keys", "rc.scan", "rc.void"}


@pytest.fixture
def shard() -> Shard:
    shard = Shard(secret="sesame", users=[user_of("user ada on >pw ~mine:* +@all"),
                                          user_of("user bob on >pw ~* +@read +@connection")])
    assert shard.run("SET theirs secret") == b"OK"
    assert shard.run("SET mine:1 value") == b"OK"
    return shard


def as_user(shard: Shard, name: str) -> Session:
    session = shard.another()
    assert shard.run(f"AUTH {name} pw", session) == b"OK"
    return session


def words(command: Command, key: bytes) -> list[bytes]:
    """Return a call of `command` with a right number of arguments, and `key` wherever a key stands."""
    argc = command.min_argc
    if command.last_key < 0:
        argc = max(argc, command.first_key - command.last_key, command.first_key + command.key_step)
    argv = [*command.full_name.encode().split(b"|"), *[b"1"] * argc][:argc]
    if not command.first_key:
        return argv
    for at in range(command.first_key, (command.last_key if command.last_key > 0 else argc + command.last_key) + 1,
                    command.key_step or 1):
        argv[at] = key
    return argv


def answer(shard: Shard, session: Session, argv: list[bytes]) -> str:
    value = parsed(shard.raw(*argv, session=session))
    return str(value) if isinstance(value, hiredis.ReplyError) else "fine"


@pytest.mark.parametrize("command", WITH_KEYS, ids=lambda command: command.full_name)
def test_no_command_reaches_keys_of_others(shard: Shard, command: Command) -> None:
    argv = words(command, b"theirs")
    assert command.keys(argv), argv
    before = shard.run("GET theirs")
    assert answer(shard, as_user(shard, "ada"), argv).startswith("NOPERM")
    assert shard.run("GET theirs") == before == b"secret"
    mixed = [b"mine:1" if word == b"theirs" and at == argv.index(b"theirs") else word for at, word in enumerate(argv)]
    if len(command.keys(argv)) > 1:
        assert answer(shard, as_user(shard, "ada"), mixed).startswith("NOPERM")


@pytest.mark.parametrize("command", KEYLESS, ids=lambda command: command.full_name)
def test_a_command_without_keys_is_harmless_or_for_those_with_all_keys(shard: Shard, command: Command) -> None:
    if command.full_name in HARMLESS or command.parent in HARMLESS or command.name == "rc.write":
        return
    assert answer(shard, as_user(shard, "ada"), words(command, b"")).startswith("NOPERM")
    assert shard.run("DBSIZE") == 2


@pytest.mark.parametrize("command", [command for command in ALL if command.needs_auth],
                         ids=lambda command: command.full_name)
def test_no_command_runs_that_is_not_allowed(shard: Shard, command: Command) -> None:
    shard.run("ACL SETUSER nobody on >pw ~* -@all")
    assert answer(shard, as_user(shard, "nobody"), words(command, b"k")).startswith("NOPERM")


@pytest.mark.parametrize("line", ["SCAN 0", "SCAN 0 MATCH *", "SCAN 0 MATCH mine:* MATCH *", "KEYS *", "KEYS m*",
                                  "SCAN 0 match theirs", "RC.SCAN 0 m 10", 'RC.SCAN 0 "" 10', "RC.VOID m"])
def test_walks_beyond_ones_own_keys_are_refused(shard: Shard, line: str) -> None:
    assert shard.run(line, as_user(shard, "ada")).startswith("NOPERM")


def test_walks_over_ones_own_keys(shard: Shard) -> None:
    ada = as_user(shard, "ada")
    assert shard.run("KEYS mine:*", ada) == [b"mine:1"]
    assert shard.run("SCAN 0 COUNT 100 MATCH mine:*", ada)[1] == [b"mine:1"]
    assert shard.run("RC.SCAN 0 mine: 100", ada)[1] == [b"mine:1"]


def test_a_key_is_explained_to_those_who_may_read_it(shard: Shard) -> None:
    shard.run("ACL SETUSER eve on >pw %W~w:* %R~r:* +@all")
    ada, bob, eve = (as_user(shard, name) for name in ("ada", "bob", "eve"))
    for session, key in ((ada, "mine:1"), (ada, "mine:none"), (bob, "theirs"), (eve, "r:1")):
        assert isinstance(shard.run(f"RC.EXPLAIN {key}", session), bytes), key
    for session, key in ((ada, "theirs"), (ada, "nobodys"), (eve, "w:1")):
        assert shard.run(f"RC.EXPLAIN {key}", session).startswith("NOPERM"), key
    shard.run("ACL SETUSER ada -rc.explain")
    assert "rc.explain" in shard.run("RC.EXPLAIN mine:1", ada)


def test_a_wrapped_command_is_looked_into(shard: Shard) -> None:
    ada, bob = as_user(shard, "ada"), as_user(shard, "bob")
    shard.run("ACL SETUSER bob +rc.write")
    assert shard.run("RC.WRITE x SET theirs 1", ada).startswith("NOPERM")
    assert shard.run("RC.WRITE x RC.WRITE x SET theirs 1", ada).startswith("ERR")
    assert shard.run("RC.WRITE x SET mine:1 1", bob) == (
        "NOPERM this user has no permissions to access one of the keys used as arguments")
    assert shard.run("RC.WRITE x SET mine:1 1", ada) == "ERR options must be a msgpack map"


def test_reading_and_writing_are_two_rights(shard: Shard) -> None:
    shard.run("ACL SETUSER eve on >pw %W~w:* %R~r:* +@all")
    eve = as_user(shard, "eve")
    assert shard.run("SET w:1 x", eve) == b"OK"
    for line in ("GET w:1", "SET w:1 y GET", "GETDEL w:1", "INCR w:1", "SET r:1 x", "COPY w:1 w:2", "APPEND r:1 x",
                 "RENAME w:1 w:2", "COPY r:1 r:2"):
        assert shard.run(line, eve).startswith("NOPERM"), line
    assert shard.run("GET r:1", eve) is None
    assert shard.run("COPY r:1 w:2", eve) == 0


def test_a_transaction_is_refused_when_it_is_queued(shard: Shard) -> None:
    ada = as_user(shard, "ada")
    shard.run("MULTI", ada)
    assert shard.run("SET theirs x", ada).startswith("NOPERM")
    assert shard.run("SET mine:1 x", ada) == b"QUEUED"
    assert shard.run("EXEC", ada).startswith("EXECABORT")
    assert shard.run("GET mine:1") == b"value"


def test_rights_that_are_taken_away_count_for_what_is_queued(shard: Shard) -> None:
    ada = as_user(shard, "ada")
    shard.run("MULTI", ada)
    assert shard.run("SET mine:1 x", ada) == b"QUEUED"
    shard.run("ACL SETUSER ada -set")
    replies = hiredis_list(shard.raw("EXEC", session=ada))
    assert str(replies[0]).startswith("NOPERM")
    assert shard.run("GET mine:1") == b"value"


def hiredis_list(reply: bytes) -> list[object]:
    value = parsed(reply)
    assert isinstance(value, list)
    return value


def test_rights_change_under_a_connection_at_once(shard: Shard) -> None:
    ada = as_user(shard, "ada")
    shard.run("ACL SETUSER ada ~theirs")
    assert shard.run("GET theirs", ada) == b"secret"
    shard.run("ACL SETUSER ada resetkeys")
    assert shard.run("GET theirs", ada).startswith("NOPERM")
    shard.run("ACL SETUSER ada allkeys")
    assert ada.plain  # with full rights: today's way, and nothing to look at


def test_a_deleted_user_is_disconnected(shard: Shard) -> None:
    ada = as_user(shard, "ada")
    killed: list[bool] = []
    ada.kill = lambda: killed.append(True)
    assert shard.run("ACL DELUSER ada nobody") == 1
    assert killed == [True]
    assert shard.run("GET mine:1", ada).startswith("NOAUTH")
    assert shard.run("AUTH ada pw", shard.another()).startswith("WRONGPASS")


def test_default_may_be_narrowed_and_the_secret_stays_above_it(shard: Shard) -> None:
    before, member = shard.another(), shard.another()
    assert shard.run("AUTH sesame", member) == b"OK"
    shard.run("ACL SETUSER default -@all +ping", member)
    assert shard.run("GET theirs", before).startswith("NOPERM")
    assert shard.run("PING", before) == b"PONG"
    shard.run("ACL SETUSER default off", member)
    assert shard.run("PING", before).startswith("NOAUTH")
    assert shard.run("PING", shard.another()).startswith("NOAUTH")
    assert shard.run("GET theirs", member) == b"secret"
    assert shard.run("ACL DELUSER default", member).startswith("ERR The 'default' user")


def test_a_password_of_default(shard: Shard) -> None:
    member = shard.another()
    shard.run("AUTH sesame", member)
    shard.run("ACL SETUSER default >open -@all +get", member)
    session = shard.another()
    assert shard.run("GET mine:1", session).startswith("NOAUTH")
    assert shard.run("AUTH closed", session).startswith("WRONGPASS")
    assert shard.run("AUTH open", session) == b"OK"
    assert shard.run("GET mine:1", session) == b"value"
    assert not session.is_peer


def test_who_guesses_is_disconnected() -> None:
    shard = Shard(secret="sesame", require_auth=True)
    session = shard.another()
    for number in range(MAX_FAILURES):
        assert not session.closing
        assert shard.run(f"AUTH guess{number}", session).startswith("WRONGPASS")
    assert session.closing


def test_nopass_lets_nobody_in_beyond_loopback() -> None:
    shard = Shard(secret="sesame", require_auth=True, users=[user_of("user open on nopass ~* +@all")])
    assert shard.run("AUTH open x").startswith("WRONGPASS")
    assert shard.run("GET a").startswith("NOAUTH")
    shard.run("AUTH sesame")
    assert shard.run("ACL SETUSER other on nopass ~* +@all").startswith("ERR nopass is refused")
    assert shard.run("ACL SETUSER default on nopass ~* +@all") == b"OK"
    assert shard.run("GET a", shard.another()).startswith("NOAUTH")


@pytest.mark.parametrize("line", ["HELLO 3 AUTH ada pw", "HELLO 2 AUTH ada pw SETNAME x", "AUTH ada pw"])
def test_ways_in(shard: Shard, line: str) -> None:
    session = shard.another()
    shard.raw(*line.split(), session=session)
    assert (session.user, session.authenticated) == ("ada", True)
    assert b" user=ada " in shard.run("CLIENT LIST")
    assert shard.run("RESET", session) == b"RESET"
    assert (session.user, session.rights) == ("default", None)


def test_members_only(shard: Shard) -> None:
    ada = as_user(shard, "ada")
    shard.run("ACL SETUSER ada allkeys")
    for line in ("RC.PEER router x", "RC.ACCESS x", "RC.ACCESS MERGE x"):
        assert shard.run(line, ada).startswith("NOAUTH"), line
        assert shard.run(line, shard.another()).startswith("NOAUTH"), line
    member = shard.another()
    shard.run("AUTH sesame", member)
    assert b"ada" in shard.run("RC.ACCESS x", member)
    assert shard.run("RC.ACCESS MERGE x", member).startswith("ERR this is no list of users")
    shard.core.guard.needs_certificate = True
    assert shard.run("RC.ACCESS x", member).startswith("NOAUTH RC.ACCESS is for those who have shown a certificate")
    member.has_certificate = True
    assert b"ada" in shard.run("RC.ACCESS x", member)


def test_no_secret_in_what_is_shown(shard: Shard) -> None:
    ada = as_user(shard, "ada")
    shard.run("ACL SETUSER new on >hunter2")
    shard.run("AUTH ada hunter2", ada)
    shown = [repr(shard.run(line)) for line in ("INFO", "CLIENT LIST", "ACL LIST", "ACL GETUSER new", "ACL LOG",
                                                "CONFIG GET *", "RC.STATS", "RC.TOP 10")]
    assert not [text for text in shown if "hunter2" in text or "sesame" in text]
    assert "sesame" not in repr(ada) + repr(shard.core)


def test_the_log_says_who_was_refused_what(shard: Shard) -> None:
    ada = as_user(shard, "ada")
    shard.run("GET theirs", ada)
    shard.run("GET theirs", ada)
    shard.run("AUTH ada wrong", ada)
    shard.run("ACL SETUSER ada -get")
    shard.run("GET mine:1", ada)
    rows = [dict(zip(row[::2], row[1::2], strict=True)) for row in shard.run("ACL LOG")]
    assert [(row[b"reason"], row[b"object"], row[b"username"], row[b"count"]) for row in rows] == [
        (b"command", b"get", b"ada", 1), (b"auth", b"AUTH", b"ada", 1), (b"key", b"theirs", b"ada", 2)]
    assert len(shard.run("ACL LOG 1")) == 1
    assert shard.run("ACL LOG RESET") == b"OK"
    assert shard.run("ACL LOG") == []


def test_acl_speaks_as_redis_does(shard: Shard) -> None:
    assert shard.run("ACL WHOAMI") == b"default"
    assert shard.run("ACL USERS") == [b"ada", b"bob", b"default"]
    assert shard.run("ACL GETUSER nobody") is None
    assert shard.run("ACL SETUSER ada +nothing") == (
        "ERR Error in ACL SETUSER modifier '+nothing': Unknown command or category name in ACL")
    assert shard.run("ACL DRYRUN ada GET theirs") == b"This user has no permissions to access the 'theirs' key"
    assert shard.run("ACL DRYRUN bob SET a b") == b"This user has no permissions to run the 'set' command"
    assert shard.run("ACL DRYRUN ada GET mine:1") == b"OK"
    assert shard.run("ACL DRYRUN ada RANDOMKEY") == (
        b"This user has no permissions to use all keys that the command is about")
    assert shard.run("ACL DRYRUN default GET a") == b"OK"
    assert shard.run("ACL DRYRUN nobody GET a") == "ERR User 'nobody' not found"
    assert shard.run("ACL DRYRUN ada NOTHING") == "ERR Command 'NOTHING' not found"
    assert shard.run("ACL DRYRUN ada GET").startswith("ERR wrong number of arguments for 'get'")
    assert set(shard.run("ACL CAT")) == {name.encode() for name in CATALOGUE.by_category}
    assert b"get" in shard.run("ACL CAT read")
    assert shard.run("ACL CAT nothing") == "ERR Unknown category 'nothing'"
    assert len(shard.run("ACL GENPASS")) == 64
    assert len(shard.run("ACL GENPASS 5")) == 2
    assert shard.run("ACL GENPASS 0").startswith("ERR ACL GENPASS")
    assert shard.run("ACL SAVE").startswith("ERR This Redis instance is not configured")


def test_both_ways_of_running_commands_refuse_the_same(shard: Shard) -> None:
    from raycache.resp.parse import NO_MORE

    ada, out = as_user(shard, "ada"), []
    queue = [[b"GET", b"theirs"], [b"SET", b"theirs", b"x"], [b"RC.GET", b"theirs"], [b"GET", b"mine:1"], NO_MORE]
    shard.core.execute_many(ada, lambda: queue.pop(0), out)
    text = b"".join(out)
    assert text.count(b"-NOPERM") == 3
    assert text.endswith(b"$5\r\nvalue\r\n")
    assert shard.run("GET theirs") == b"secret"
