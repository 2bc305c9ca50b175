"""The table of leases: one holder, nobody forgotten, and no value stored that may be old. Time is a number."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from raycache.leases import Ending, How, LeaseTable
from raycache.leases.table import NO_LEASE

FILLED = Ending(How.FILLED, b"\x00value", 1000)
KEYS = [b"a", b"b", b"ab"]


@pytest.fixture
def changes() -> list[tuple[bytes, bool]]:
    return []


@pytest.fixture
def table(changes: list[tuple[bytes, bool]]) -> LeaseTable:
    return LeaseTable(count(1).__next__, lambda key, is_leased: changes.append((key, is_leased)), limit=3)


def test_one_has_the_lease_until_it_ends(table: LeaseTable, changes: list[tuple[bytes, bool]]) -> None:
    assert (table.take(b"a", "me", 100, 0), table.take(b"a", "you", 100, 50), table.take(b"b", "you", 100, 0)) == (
        1, None, 2)
    assert table.claim(b"a", 2, 10) is None
    assert table.claim(b"a", 1, 10) is not None
    assert table.claim(b"a", 1, 10) is None
    assert table.take(b"a", "you", 100, 60) == 3
    assert changes == [(b"a", True), (b"b", True), (b"a", False), (b"a", True)]


def test_who_waits_hears_what_came_of_it_once(table: LeaseTable) -> None:
    heard: list[Any] = []
    token = table.take(b"a", "me", 100, 0)
    table.wait(b"a", heard.append)
    gone = heard.copy
    table.wait(b"a", gone)
    table.leave(b"a", gone)
    lease = table.claim(b"a", token or 0, 10)
    assert lease is not None
    assert heard == []
    lease.tell(FILLED)
    lease.tell(FILLED)
    assert heard == [FILLED]


@pytest.mark.parametrize(("end", "how"), [
    (lambda table: table.void(b"a"), How.VOID),
    (lambda table: table.void_prefix(b""), How.VOID),
    (lambda table: table.release("me"), How.FREED),
    (lambda table: table.step(100), How.FREED),
    (lambda table: table.drop(lambda key: key != b"a"), How.MOVED),
])
def test_a_lease_that_ended_otherwise_fills_nothing(table: LeaseTable, end: Any, how: How) -> None:
    heard: list[Ending] = []
    token = table.take(b"a", "me", 100, 0)
    table.take(b"b", "you", 1000, 0)
    table.wait(b"a", heard.append)
    end(table)
    assert [one.how for one in heard] == [how]
    assert table.claim(b"a", token or 0, 10) is None
    assert table.take(b"a", "you", 100, 10) is not None


def test_void_takes_the_keys_with_a_prefix_and_no_others(table: LeaseTable) -> None:
    for key in KEYS:
        table.take(key, "me", 100, 0)
    assert table.void_prefix(b"a") == 2
    assert [key in table for key in KEYS] == [False, True, False]


def test_an_overdue_lease_is_free_even_before_anybody_looks_at_the_clock(table: LeaseTable) -> None:
    token = table.take(b"a", "me", 100, 0)
    table.step(99)
    assert b"a" in table
    assert table.take(b"a", "you", 100, 100) == 2
    assert table.claim(b"a", token or 0, 100) is None
    table.step(150)
    assert table.claim(b"a", 2, 199) is not None


def test_a_holder_who_is_too_late_fills_nothing(table: LeaseTable) -> None:
    token = table.take(b"a", "me", 100, 0)
    assert table.claim(b"a", token or 0, 100) is None
    assert len(table) == 0


def test_a_full_table_gives_no_lease(table: LeaseTable) -> None:
    assert [table.take(key, "me", 100, 0) for key in (*KEYS, b"c")] == [1, 2, 3, NO_LEASE]
    assert table.claim(b"c", NO_LEASE, 0) is None


def test_deadlines_of_leases_that_are_over_do_not_pile_up(table: LeaseTable) -> None:
    for _ in range(1000):
        token = table.take(b"a", "me", 1_000_000, 0)
        table.claim(b"a", token or 0, 0)
        table.step(0)
    assert len(table._deadlines) < 200


class Leases(RuleBasedStateMachine):
    """Any interleaving of callers, writers, time, and losses."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0
        self.table = LeaseTable(count(1).__next__, limit=100)
        self.valid: dict[bytes, tuple[int, str, int]] = {}
        """By key: the one token that may fill, its holder and its deadline."""
        self.given: list[tuple[bytes, int]] = []
        self.waiting: dict[bytes, list[list[Ending]]] = {key: [] for key in KEYS}

    keys, holders = st.sampled_from(KEYS), st.sampled_from("xyz")

    def ended(self, key: bytes, *hows: How) -> None:
        """Everybody who waited for `key` has heard one of `hows`, once."""
        self.valid.pop(key, None)
        for heard in self.waiting[key]:
            assert len(heard) == 1
            assert heard[0].how in hows
        self.waiting[key] = []

    def expire(self) -> None:
        for key, (_, _, deadline_s) in list(self.valid.items()):
            if deadline_s <= self.now_s:
                self.ended(key, How.FREED)

    @rule(key=keys, holder=holders, lease_s=st.integers(1, 50))
    def take(self, key: bytes, holder: str, lease_s: int) -> None:
        token = self.table.take(key, holder, lease_s, self.now_s)
        held = self.valid.get(key)
        if held is not None and held[2] > self.now_s:
            assert token is None
            return
        if held is not None:
            self.ended(key, How.FREED)
        assert token
        self.valid[key] = (token, holder, self.now_s + lease_s)
        self.given.append((key, token))

    @rule(key=keys)
    def wait(self, key: bytes) -> None:
        if key in self.table:
            heard: list[Ending] = []
            self.waiting[key].append(heard)
            self.table.wait(key, heard.append)

    @precondition(lambda self: self.given)
    @rule(data=st.data(), fills=st.booleans())
    def claim(self, data: st.DataObject, fills: bool) -> None:
        key, token = data.draw(st.sampled_from(self.given))
        lease = self.table.claim(key, token, self.now_s)
        held = self.valid.get(key)
        is_valid = held is not None and held[0] == token and held[2] > self.now_s
        assert (lease is not None) == is_valid
        if lease is not None:
            lease.tell(FILLED if fills else Ending(How.FAILED, text=b"x"))
            self.ended(key, How.FILLED, How.FAILED)
        elif held is not None and held[0] == token:
            self.ended(key, How.FREED)

    @rule(key=keys)
    def write(self, key: bytes) -> None:
        self.table.void(key)
        self.ended(key, How.VOID, How.FREED)

    @rule(prefix=st.sampled_from([b"", b"a"]))
    def write_many(self, prefix: bytes) -> None:
        self.table.void_prefix(prefix)
        for key in KEYS:
            if key.startswith(prefix):
                self.ended(key, How.VOID, How.FREED)

    @rule(holder=holders)
    def lose(self, holder: str) -> None:
        self.table.release(holder)
        for key, (_, whose, _) in list(self.valid.items()):
            if whose == holder:
                self.ended(key, How.FREED)

    @rule(key=keys)
    def move(self, key: bytes) -> None:
        self.table.drop(lambda each: each != key)
        self.ended(key, How.MOVED)

    @rule(seconds=st.integers(0, 60))
    def pass_time(self, seconds: int) -> None:
        self.now_s += seconds
        self.table.step(self.now_s)
        self.expire()

    @invariant()
    def nobody_waits_for_nothing(self) -> None:
        for key, waiters in self.waiting.items():
            assert all(not heard for heard in waiters)
            assert not waiters or key in self.table

    @invariant()
    def the_table_knows_who_holds_what(self) -> None:
        assert {key for key in KEYS if key in self.table} == set(self.valid)


TestLeases = Leases.TestCase
TestLeases.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
