"""MULTI, EXEC and WATCH: what makes a transaction run, and what makes it not."""

from __future__ import annotations

import pytest

from raycache.config import Limits
from tests.unit.shard.harness import Shard


def test_queued_commands_run_at_exec(shard: Shard) -> None:
    assert shard.run("MULTI") == b"OK"
    assert shard.run("SET k 1") == b"QUEUED"
    assert shard.run("INCR k") == b"QUEUED"
    assert shard.run("GET k", session=shard.another()) is None
    assert shard.run("EXEC") == [b"OK", 2]
    assert shard.session.plain


def test_an_error_while_queueing_aborts_and_one_while_running_does_not(shard: Shard) -> None:
    shard.run("MULTI")
    assert shard.run("GET") == "ERR wrong number of arguments for 'get' command"
    shard.run("SET k 1")
    assert shard.run("EXEC") == "EXECABORT Transaction discarded because of previous errors."
    assert shard.run("EXISTS k") == 0
    for line in ("MULTI", "SET k text", "INCR k", "GET k"):
        shard.run(line)
    ok, error, value = shard.run("EXEC")
    assert (ok, str(error), value) == (b"OK", "ERR value is not an integer or out of range", b"text")


def test_an_earlier_error_outside_does_not_abort(shard: Shard) -> None:
    shard.run("NOSUCH")
    shard.run("MULTI")
    assert shard.run("EXEC") == []


WRITES = ["SET k 2", "DEL k", "EXPIRE k 100", "PERSIST k", "APPEND k 1", "INCR k", "GETDEL k", "GETEX k PX 500",
          "RENAME k other",
          "RENAME other k", "COPY other k REPLACE", "MSET k 2", "FLUSHALL", "SETRANGE k 0 9", "INCRBYFLOAT k 1",
          "RC.SET k 0 v 0",
          "RC.INCRBY k 1 0", "RC.MSET 0 0 k v", "SETEX k 5 v", "GETSET k v", "UNLINK k", "EXPIRE k -1"]


@pytest.mark.parametrize("line", WRITES)
def test_a_write_to_a_watched_key_aborts(shard: Shard, line: str) -> None:
    shard.run("MSET k 1 other 1")
    shard.run("PEXPIRE k 1000")
    shard.run("WATCH k")
    shard.run(line, session=shard.another())
    shard.run("MULTI")
    shard.run("SET result 1")
    assert shard.run("EXEC") is None
    assert shard.run("EXISTS result") == 0


@pytest.mark.parametrize("line",
                         ["GET k", "TTL k", "SET other 2", "TOUCH k", "DEL none", "SETNX k 1", "RC.GETV k",
                          "MSETNX k 1 z 2"])
def test_what_leaves_the_key_alone_does_not_abort(shard: Shard, line: str) -> None:
    shard.run("SET k 1")
    shard.run("WATCH k")
    shard.run(line, session=shard.another())
    shard.run("MULTI")
    assert shard.run("EXEC") == []


def test_a_watched_key_that_expires_or_is_evicted_aborts() -> None:
    shard = Shard(capacity_bytes=1 << 20)
    shard.run("SET k 1 PX 50")
    shard.run("WATCH k")
    shard.advance(50)
    shard.run("MULTI")
    assert shard.run("EXEC") is None
    shard.run("SET k 1")
    shard.run("WATCH k")
    for at in range(2000):
        shard.run(f"SET fill{at} {'v' * 900}", session=shard.session)
    shard.run("MULTI")
    assert shard.run("EXEC") is None


def test_an_absent_key_that_comes_and_goes_aborts(shard: Shard) -> None:
    shard.run("WATCH k")
    other = shard.another()
    shard.run("SET k 1", session=other)
    shard.run("DEL k", session=other)
    shard.run("MULTI")
    assert shard.run("EXEC") is None


def test_exec_unwatch_and_discard_end_the_watch(shard: Shard) -> None:
    other = shard.another()
    for end in (["MULTI", "EXEC"], ["UNWATCH"], ["MULTI", "DISCARD"], ["RESET"]):
        shard.run("WATCH k")
        for line in end:
            shard.run(line)
        shard.run("SET k 1", session=other)
        shard.run("MULTI")
        assert shard.run("EXEC") == []
    assert shard.core.watched == {}


def test_a_closed_session_watches_nothing(shard: Shard) -> None:
    other = shard.another()
    shard.run("WATCH a b", session=other)
    assert set(shard.core.watched) == {b"a", b"b"}
    shard.core.close_session(other)
    assert shard.core.watched == {}
    shard.core.close_session(other)


def test_misplaced_commands(shard: Shard) -> None:
    assert shard.run("EXEC") == "ERR EXEC without MULTI"
    assert shard.run("DISCARD") == "ERR DISCARD without MULTI"
    shard.run("MULTI")
    assert shard.run("MULTI") == "ERR MULTI calls can not be nested"
    assert shard.run("WATCH k") == "ERR WATCH inside MULTI is not allowed"
    assert shard.run("EXEC") == []


def test_long_commands_run_whole_inside_a_transaction(shard: Shard) -> None:
    for at in range(1500):
        shard.raw("SET", f"k{at}", "v")
    shard.run("MULTI")
    shard.raw("DEL", *[f"k{at}" for at in range(1000)])
    shard.run("KEYS *")
    reply, steps = shard.drive(["EXEC"])
    assert steps == 1
    assert reply.startswith(b"*2\r\n:1000\r\n*500\r\n")


def test_a_transaction_has_the_limits_of_a_command() -> None:
    shard = Shard(limits=Limits(max_arguments=3))
    shard.run("MULTI")
    for _ in range(3):
        assert shard.run("PING") == b"QUEUED"
    assert shard.run("PING") == "ERR transaction is too large"
    assert shard.run("EXEC").startswith("EXECABORT")


def test_quit_and_reset_run_at_once(shard: Shard) -> None:
    shard.run("MULTI")
    assert shard.run("RESET") == b"RESET"
    assert shard.session.multi is None
    shard.run("MULTI")
    assert shard.run("QUIT") == b"OK"
    assert shard.session.closing


def test_watching_without_end_is_refused(shard: Shard) -> None:
    assert shard.raw("WATCH", *[f"k{at}" for at in range(1000)]) == b"+OK\r\n"
    assert shard.run("WATCH " + " ".join(f"l{at}" for at in range(25))) == "ERR too many watched keys, at most 1024"
    assert len(shard.session.watched) == 1000
    assert shard.run("WATCH last") == b"OK"
