"""The commands of loading, at a shard without sockets: answers, waiting, filling, and what makes a token void."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from raycache.shard.commands.command import Reply
from raycache.shard.session import Session
from raycache.shard.wait import Wait
from tests.unit.shard.harness import Shard, finished, parsed

SYNTAX = "ERR syntax error"


def lease(shard: Shard, key: str = "k", seen: str | bytes = "", *, session: Session | None = None) -> Any:
    return parsed(shard.raw("RC.LEASE", "1000", "0", key, seen, session=session))[0]


class Waiting:
    """One RC.LEASE that waits."""

    def __init__(self, shard: Shard, session: Session | None = None, key: str = "k", seen: str = "") -> None:
        self.shard = shard
        words = [b"RC.LEASE", b"1000", b"500", key.encode(), seen.encode()]
        self.reply: Reply = shard.core.execute(session or shard.another(), words)
        self.wait: Wait | None = None if isinstance(self.reply, bytes) else next(self.reply)

    def go_on(self) -> Any:
        """Do the next step; return the answer if there is one."""
        assert not isinstance(self.reply, bytes)
        try:
            self.wait = next(self.reply)
        except StopIteration as stop:
            return parsed(stop.value)[0]
        return None


def fill(shard: Shard, token: int, value: str = "v", px: int = 0, key: str = "k") -> Any:
    return parsed(shard.raw("RC.FILL", key, str(token), "3", value, str(px)))[0]


def aged(left_ms: int, value: bytes, kind: int = 3) -> bytes:
    return struct.pack(">q", left_ms) + bytes([kind]) + value


def test_reads_tell_what_is_left_by_the_shards_clock(shard: Shard) -> None:
    shard.run("RC.SET k 3 v 1000")
    shard.run("SET plain x")
    shard.advance(400)
    assert parsed(shard.raw("RC.GETL", "k")) == aged(600, b"v")
    assert parsed(shard.raw("RC.MGETL", "k", "absent", "plain")) == [aged(600, b"v"), None, aged(-1, b"x", 0)]
    assert parsed(shard.raw("RC.GETL", "absent")) is None
    reply, steps = shard.drive(["RC.MGETL", *["k"] * 1500])
    assert (parsed(reply), steps) == ([aged(600, b"v")] * 1500, 4)
    assert shard.store.stats.hits == 1503
    assert "key is too large" in shard.run("RC.GETL " + "x" * 70_000)


def test_the_first_who_misses_gets_a_token_and_the_next_ones_do_not(shard: Shard) -> None:
    token = lease(shard)
    assert token > 0
    assert (lease(shard), lease(shard, "other") > 0) == (0, True)
    assert fill(shard, token + 1) == 0
    assert fill(shard, token, px=1000) == 1
    assert lease(shard) == b"h" + aged(1000, b"v")
    assert fill(shard, token) == 0
    assert shard.core.watched.keys() == {b"other"}


@pytest.mark.parametrize("jump_ms", [3_600_000, -3_600_000])
def test_a_clock_that_jumps_neither_ends_a_lease_nor_keeps_it(shard: Shard, jump_ms: int) -> None:
    token = lease(shard)
    shard.core.step(shard.core.now_ms + jump_ms)
    assert (lease(shard), fill(shard, token)) == (0, 1)
    lease(shard, "other")
    shard.advance(1001)
    shard.core.step(shard.core.now_ms - jump_ms)
    assert lease(shard, "other") > 0


def test_a_value_that_was_seen_and_is_not_wanted_counts_as_absent(shard: Shard) -> None:
    shard.run("RC.SET k 3 version1 0")
    assert lease(shard, seen="version2") == b"h" + aged(-1, b"version1")
    token = lease(shard, seen="version")
    assert token > 0
    assert fill(shard, token, "version2") == 1


WRITES = [
    "SET k x", "SET k v EX 5", "APPEND k x", "INCR k", "GETSET k x", "DEL k", "UNLINK k", "GETDEL k", "MSET a 1 k 2",
    "MSETNX a 1 k 2", "SETRANGE k 1 x", "RC.SET k 3 x 0", "RC.CAS k 0 3 x 0", "RC.INCRBY k 1 0", "FLUSHALL", "FLUSHDB",
    "RC.CLEAR", "RC.VOID", "COPY other k REPLACE", "RENAME other k", "RC.MSET 0 3 k v",
]


@pytest.mark.parametrize("line", WRITES)
def test_any_write_or_delete_voids_the_token(shard: Shard, line: str) -> None:
    if line.startswith(("RENAME", "COPY")):
        shard.run("SET other x")
    token = lease(shard)
    waiting = Waiting(shard)
    reply = shard.run(line) if line != "RC.VOID" else parsed(shard.raw("RC.VOID", "k"))
    if line.startswith("COPY") and "unknown command" in str(reply):
        return
    assert "ERR" not in str(reply)
    assert waiting.wait is not None
    assert waiting.wait.is_done
    assert (fill(shard, token), shard.core.leases.voided) == (0, 1)


@pytest.mark.parametrize("line", [
    "SET other x", "GET k", "EXISTS k", "SET k v XX", "EXPIRE k 10", "RC.VOID ka", "TTL k",
])
def test_what_writes_nothing_voids_nothing(shard: Shard, line: str) -> None:
    token = lease(shard)
    shard.run(line)
    assert fill(shard, token) == 1


def test_writes_of_transactions_void_too_and_leases_are_no_part_of_them(shard: Shard) -> None:
    token = lease(shard)
    shard.run("MULTI")
    assert "inside MULTI" in shard.run("RC.LEASE 1000 0 k x")
    shard.run("SET k x")
    shard.run("EXEC")
    assert fill(shard, token) == 0


def test_watching_and_leasing_one_key_do_not_disturb_each_other(shard: Shard) -> None:
    watcher = shard.another()
    shard.run("WATCH k", session=watcher)
    token = lease(shard)
    shard.run("DEL k")  # absent: nothing to who watches, much to who loads
    assert (watcher.dirty, fill(shard, token)) == (False, 0)
    token = lease(shard)
    shard.run("UNWATCH", session=watcher)
    assert shard.core.watched
    assert fill(shard, token) == 1
    assert not shard.core.watched


def test_who_waits_gets_the_value_that_was_filled(shard: Shard) -> None:
    token = lease(shard)
    one, two = Waiting(shard), Waiting(shard)
    assert fill(shard, token, "value", px=700) == 1
    assert one.go_on() == two.go_on() == b"h" + aged(700, b"value")


def test_a_lease_that_ends_before_the_first_step_of_a_wait_is_not_waited_for(shard: Shard) -> None:
    token = lease(shard)
    words = [b"RC.LEASE", b"1000", b"500", b"k", b""]
    replies = [shard.core.execute(shard.another(), words) for _ in range(2)]
    shard.run("DEL k")
    assert fill(shard, token) == 0
    first = parsed(finished(replies[0])[0])[0]
    assert first > 0
    fill(shard, first, "value")
    assert parsed(finished(replies[1])[0]) == [b"h" + aged(-1, b"value")]


def test_a_value_may_be_for_those_who_wait_alone(shard: Shard) -> None:
    token = lease(shard)
    waiting = Waiting(shard)
    assert fill(shard, token, "value", px=-1) == 1
    assert (waiting.go_on(), shard.run("EXISTS k")) == (b"h" + aged(-1, b"value"), 0)


def test_a_value_that_does_not_fit_still_goes_to_those_who_wait() -> None:
    shard = Shard(capacity_bytes=4096, policy="noeviction")
    token = lease(shard)
    waiting = Waiting(shard)
    assert fill(shard, token, "x" * 5000) == 2
    assert waiting.go_on() == b"h" + aged(-1, b"x" * 5000)


def test_who_waits_hears_why_a_loader_failed_or_tries_itself(shard: Shard) -> None:
    token = lease(shard)
    waiting = Waiting(shard)
    assert parsed(shard.raw("RC.FREE", "k", str(token), "OSError: down")) == 1
    assert waiting.go_on() == b"fOSError: down"
    token = lease(shard)
    one, two = Waiting(shard), Waiting(shard)
    assert parsed(shard.raw("RC.FREE", "k", str(token), "", "j", "1", "")) == 1
    assert one.go_on() > 0
    assert two.go_on() is None  # it waits on


def test_a_holder_that_goes_or_is_too_slow_is_replaced(shard: Shard) -> None:
    holder = shard.another()
    lease(shard, session=holder)
    waiting = Waiting(shard)
    shard.core.close_session(holder)
    assert waiting.go_on() > 0
    slow = lease(shard, "slow")
    waiting = Waiting(shard, key="slow")
    shard.advance(1000)
    shard.core.step(shard.core.now_ms)
    assert waiting.go_on() > 0
    assert fill(shard, slow, key="slow") == 0


def test_a_wait_ends_with_its_deadline_and_leaves_nothing(shard: Shard) -> None:
    token = lease(shard)
    waiting = Waiting(shard)
    assert waiting.go_on() == 0  # driven on without an answer: the deadline has passed
    closed = Waiting(shard)
    closed.reply.close()  # type: ignore[union-attr]
    held = shard.core.leases.claim(b"k", token, shard.now_s)
    assert held is not None
    assert not held.waiters


def test_one_who_waits_for_a_value_that_somebody_set_gets_that(shard: Shard) -> None:
    lease(shard)
    waiting = Waiting(shard)
    shard.run("SET k x")
    assert waiting.go_on() == b"h" + aged(-1, b"x", 0)


def test_generations_are_made_once_and_never_again_the_same(shard: Shard) -> None:
    first = parsed(shard.raw("RC.GENS", "a", "b", "a"))
    assert (first[0], first[0] != first[1], parsed(shard.raw("RC.GENS", "b", "a"))) == (first[2], True, first[1::-1])
    shard.run("DEL a")
    assert parsed(shard.raw("RC.GENS", "a"))[0] not in first
    shard.run("SET text x")
    assert "not an integer" in shard.run("RC.GENS text")


def test_a_large_value_is_filled_in_steps_and_checked_at_the_end(shard: Shard) -> None:
    token, void = lease(shard), lease(shard, "void")
    shard.run("DEL void")
    big = "x" * 300_000
    reply, steps = shard.drive(["RC.FILL", "k", str(token), "3", big, "0", "void", str(void), "3", big, "0"])
    assert (parsed(reply), steps > 2, shard.run("STRLEN k")) == ([1, 0], True, 300_000)


@pytest.mark.parametrize("words", [
    ["RC.LEASE", "0", "0", "k", ""], ["RC.LEASE", "1000", "-1", "k", ""], ["RC.LEASE", "1000", "0", "k", "", "j"],
    ["RC.LEASE", "9999999999", "0", "k", ""], ["RC.LEASE", "1000", "0", *["k", ""] * 600],
    ["RC.FILL", "k", "1", "3", "v", "0", "j"], ["RC.FILL", "k", "1", "256", "v", "0"],
    ["RC.FILL", "k", "1", "3", "v", "-2"], ["RC.FREE", "k", "1", "", "j"], ["RC.GENS", *["k"] * 600],
])
def test_nonsense_is_refused(shard: Shard, words: list[str | bytes]) -> None:
    assert str(parsed(shard.raw(*words))) == SYNTAX


def test_a_full_table_lets_callers_load_without_a_lease(shard: Shard) -> None:
    shard.core.leases._limit = 1
    assert (lease(shard) > 0, lease(shard, "j")) == (True, -1)


def test_waiting_inside_a_list_of_keys_is_not_waiting(shard: Shard) -> None:
    lease(shard)
    reply = shard.core.execute(shard.session, [b"RC.LEASE", b"1000", b"500", b"k", b"", b"j", b""])
    assert isinstance(reply, bytes)
    assert finished(reply)[1] == 1
