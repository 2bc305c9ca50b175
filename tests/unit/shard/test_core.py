"""Dispatch: the order of its checks, its limits, and that nothing a handler does gets out."""

from __future__ import annotations

import logging

import pytest

from raycache.config import Limits
from raycache.shard.commands import DISPATCH, TABLE
from tests.unit.shard.harness import Shard


@pytest.mark.parametrize("name", ["GET", "get", "GeT"])
def test_names_are_known_in_any_case(shard: Shard, name: str) -> None:
    assert shard.run(f"{name} k") is None


def test_unknown_commands_are_named_with_what_followed(shard: Shard) -> None:
    assert shard.run("LPUSH list 1") == "ERR unknown command 'LPUSH', with args beginning with: 'list' '1' "
    newer = shard.run("CLIENT MAINT_NOTIFICATIONS on")
    assert newer == "ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP."
    assert shard.session.closing is False


def test_a_long_unknown_command_is_cut(shard: Shard) -> None:
    reply = shard.run("X" * 500 + " " + "y" * 500)
    assert reply == f"ERR unknown command '{'X' * 128}', with args beginning with: '{'y' * 128}' "


def test_wrong_arity_names_the_command(shard: Shard) -> None:
    assert shard.run("GET") == "ERR wrong number of arguments for 'get' command"
    assert shard.run("CLIENT SETNAME") == "ERR wrong number of arguments for 'client|setname' command"
    assert shard.run("CLIENT") == "ERR wrong number of arguments for 'client' command"


def test_a_handler_that_breaks_becomes_an_error_and_is_counted(
    shard: Shard, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(shard.core, "get", broken)
    with caplog.at_level(logging.ERROR):
        assert shard.run("GET k") == "ERR internal error, see the shard's log"
    assert shard.core.failures == 1
    assert "get failed" in caplog.text
    assert shard.run("PING") == b"PONG"


def test_a_long_command_that_breaks_midway_becomes_an_error(shard: Shard, monkeypatch: pytest.MonkeyPatch) -> None:
    reply = shard.core.execute(shard.session, [b"MGET", *[b"%d" % at for at in range(2000)]])
    assert not isinstance(reply, bytes)
    next(reply)
    monkeypatch.setattr(shard.core, "get", None)
    with pytest.raises(StopIteration) as stop:
        next(reply)
    assert stop.value.value == b"-ERR internal error, see the shard's log\r\n"


def test_nothing_but_the_greeting_before_the_secret() -> None:
    shard = Shard(secret="s3cret", require_auth=True)
    assert shard.run("GET k") == "NOAUTH Authentication required."
    assert shard.run("CLIENT ID") == "NOAUTH Authentication required."
    assert shard.run("NOSUCH").startswith("ERR unknown command")
    assert shard.run("HELLO 3").startswith("NOAUTH HELLO must be called")
    assert shard.run("AUTH wrong") == "WRONGPASS invalid username-password pair or user is disabled."
    assert shard.run("AUTH default s3cret") == b"OK"
    assert shard.run("GET k") is None
    assert shard.run("RESET") == b"RESET"
    assert shard.run("GET k") == "NOAUTH Authentication required."


def test_a_secret_that_is_not_demanded_can_be_shown() -> None:
    shard = Shard(secret="s3cret")
    assert shard.run("GET k") is None
    assert shard.run("AUTH s3cret") == b"OK"
    assert shard.run("AUTH other").startswith("WRONGPASS")


@pytest.mark.parametrize("line",
                         ["GET {}", "SET {} v", "SET {} v EX 10", "DEL {}", "EXISTS {}", "TTL {}", "INCR {}",
                          "APPEND {} x",
                                  "MSET a 1 {} 2", "RENAME a {}", "COPY a {}", "EXPIRE {} 10", "SETRANGE {} 5 x",
                                  "STRLEN {}",
                                  "RC.GET {}", "RC.SET {} 0 v 0", "RC.CAS {} 0 0 v 0", "RC.INCRBY {} 1 0", "WATCH {}",
                                  "GETEX {}",
                                  "OBJECT ENCODING {}", "MSETNX {} 1", "TYPE {}", "PERSIST {}", "SETNX {} 1"])
def test_a_key_over_the_limit_is_refused_and_changes_nothing(shard: Shard, line: str) -> None:
    shard.run("SET a 1")
    reply = shard.run(line.format("k" * 65_537))
    assert reply == "ERR key is too large (65537 bytes, at most 65536)"
    assert len(shard.store) == 1
    assert shard.run("GET a") == b"1"


@pytest.mark.parametrize("line",
                         ["SET k {}", "SET k {} EX 5", "SETNX k {}", "SETEX k 5 {}", "GETSET k {}", "APPEND k {}",
                          "MSET a 1 k {}",
                                  "SETRANGE k 2097152 x", "RC.SET k 0 {} 0", "RC.MSET 0 0 k {}"])
def test_a_value_over_the_limit_is_refused_and_changes_nothing(line: str) -> None:
    shard = Shard(limits=Limits(max_value_bytes=1 << 20))
    reply = shard.run(line.format("v" * ((1 << 20) + 1)))
    assert reply == "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
    assert len(shard.store) == 0


@pytest.mark.parametrize("line",
                         ["SET k {}", "RC.SET k 0 {} 0", "APPEND k {}", "SETRANGE k 3000000 x", "SET k {} EX 7"])
def test_a_value_larger_than_the_shard_says_so(line: str) -> None:
    shard = Shard(capacity_bytes=1 << 20)
    shard.run("SET other 1")
    assert shard.run(line.format("v" * (1 << 20))) == "ERR value is larger than the shard's memory"
    assert shard.run(line.format("v" * ((1 << 20) - 50))) == "ERR value is larger than the shard's memory"
    assert shard.run("GET other") == b"1"


def test_a_full_shard_that_may_not_evict_refuses_writes_but_not_deletes() -> None:
    shard = Shard(capacity_bytes=1 << 20, policy="noeviction")
    replies = [shard.run(f"SET k{at} {'v' * 10_000}") for at in range(200)]
    assert replies[-1] == "OOM command not allowed when used memory > 'maxmemory'."
    assert shard.run("DEL k0") == 1
    assert shard.run(f"SET again {'v' * 9_000}") == b"OK"


def test_a_large_value_makes_its_room_in_steps() -> None:
    shard = Shard(capacity_bytes=4 << 20)
    for at in range(20_000):
        shard.raw("SET", f"k{at}", "v" * 100)
    reply, steps = shard.drive(["SET", "large", "v" * (3 << 20)])
    assert reply == b"+OK\r\n"
    assert steps > 5
    assert shard.run("STRLEN large") == 3 << 20


@pytest.mark.parametrize("name", ["MGET", "DEL", "UNLINK", "EXISTS", "TOUCH", "RC.MGET"])
def test_many_keys_run_in_steps(shard: Shard, name: str) -> None:
    keys = [f"k{at}" for at in range(2000)]
    for key in keys:
        shard.raw("SET", key, "v")
    _, few = shard.drive([name, *keys[:512]])
    assert few == 1
    reply, steps = shard.drive([name, *keys[512:]])
    assert steps == 4
    assert reply.startswith((b"*1488\r\n", b":1488\r\n"))


def test_many_pairs_are_written_in_steps(shard: Shard) -> None:
    words = [word for at in range(1000) for word in (f"k{at}", "v")]
    reply, steps = shard.drive(["MSET", *words])
    assert (reply, len(shard.store)) == (b"+OK\r\n", 1000)
    assert steps > 1
    triples = [word for at in range(1000) for word in ("3", f"h{at}", "v")]
    reply, steps = shard.drive(["RC.MSET", "0", *triples])
    assert (reply, len(shard.store)) == (b"+OK\r\n", 2000)
    assert steps > 1


def test_steps_expire_and_free(shard: Shard) -> None:
    shard.run("SET gone v PX 5")
    shard.advance(10_000)
    while shard.core.step(shard.core.now_ms):
        pass
    assert shard.core.stats()["expired"] == 1


def test_statistics_count_what_happened(shard: Shard) -> None:
    for line in ("SET a 1", "GET a", "GET b", "NOSUCH", "DEL a"):
        shard.run(line)
    stats = shard.core.stats()
    assert {name: stats[name]
            for name in ("hits", "misses", "commands", "errors", "deleted", "entries", "connections")} == {
        "hits": 1, "misses": 1, "commands": 5, "errors": 1, "deleted": 1, "entries": 0, "connections": 1}


def test_an_unexpected_wrong_type_is_refused_everywhere(shard: Shard) -> None:
    """Later data types are other Python types; until they come, one is put in by hand."""
    shard.store = shard.core.store = type(shard.store)(capacity_bytes=1 << 20, policy=shard.store.policy.fresh(),
                                                       weigh=lambda key, value: 100)
    shard.core.get, shard.core.put = shard.store.get, shard.store.put
    for line in ("GET k", "GETSET k v", "APPEND k v", "INCR k", "INCRBYFLOAT k 1", "STRLEN k", "GETRANGE k 0 1",
                 "SETRANGE k 0 v",
                 "GETDEL k", "GETEX k", "SET k v GET", "RC.GET k", "RC.GETV k", "RC.INCRBY k 1 0"):
        shard.store.put(b"k", ["a", "list"], 0, None, shard.core.now_ms)
        assert shard.run(line) == "WRONGTYPE Operation against a key holding the wrong kind of value"
    assert shard.run("MGET k") == [None]
    assert shard.run("SET k v") == b"OK"


def test_every_command_is_found_in_both_usual_spellings() -> None:
    for name, command in TABLE.items():
        assert command.name == name.decode().lower()
        if not command.subcommands:
            assert DISPATCH[name] is DISPATCH[name.lower()] is command
        for sub_name, sub in command.subcommands.items():
            assert (sub.parent, sub.name) == (command.name, sub_name.decode().lower())
