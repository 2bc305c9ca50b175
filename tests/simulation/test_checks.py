"""Every check finds the breach that it is there for, and lets pass what only looks like one."""

from __future__ import annotations

from typing import Any

import pytest

from raycache.testing.simulation import checks
from raycache.testing.simulation.checks import Evidence
from raycache.testing.simulation.history import Death, Execution, History, Kind, Loss, Operation

KEY, SLOT = b"k", 7


class Story:
    """A history told step by step: what happens next happens a second later."""

    def __init__(self, mode: str = "primary-replica", **about: Any) -> None:
        self.now_s = 0.0
        self.history = History()
        self.evidence = Evidence(mode, 2, self.history, is_gentle=False, evicts=False)
        self.evidence.owners = {SLOT: ["s0", "s1"]}
        for name, value in about.items():
            setattr(self.evidence, name, value)

    def _operation(self, kind: Kind, value: bytes | None, **fields: Any) -> Operation:
        self.now_s += 1.0
        number = len(self.history.operations) + 1
        operation = Operation(number, "c0", kind, KEY, SLOT, value, self.now_s, self.now_s + 2.0)
        operation.returned_s, operation.outcome = self.now_s + 0.5, "ok"
        for name, given in fields.items():
            setattr(operation, name, given)
        self.history.begin(operation)
        return operation

    def write(self, value: bytes | None, version: int, *, shard: str = "s0", epoch: int = 1,
              ran_s: float | None = None, **fields: Any) -> Operation:
        operation = self._operation("set" if value else "delete", value, version=version, **fields)
        at_s = self.now_s + 0.2 if ran_s is None else ran_s
        self.history.executed(Execution(operation, 1, shard, 1, epoch, at_s, version))
        return operation

    def read(self, result: bytes | None, **fields: Any) -> Operation:
        return self._operation("get", None, result=result, **fields)

    def end(self, **copies: tuple[int, bytes | None] | None) -> Evidence:
        for shard, held in copies.items():
            self.evidence.final[shard] = {KEY: held} if held is not None else {}
        return self.evidence

    def found(self, check: checks.Check) -> int:
        return len(list(check(self.evidence)))


def test_a_value_out_of_nowhere() -> None:
    story = Story()
    story.write(b"a", 1)
    story.read(b"a")
    assert not story.found(checks.only_written_values)
    story.read(b"b")
    story.write(b"b", 2)
    assert story.found(checks.only_written_values) == 1


def test_an_acknowledged_write_that_is_gone() -> None:
    story = Story()
    story.write(b"a", 1)
    story.write(b"b", 2)
    story.end(s0=(1, b"a"), s1=None)
    assert story.found(checks.acknowledged_writes_last) == 1
    story.history.losses.append(Loss(9.0, "s0", KEY, left=1, held=2))
    assert not story.found(checks.acknowledged_writes_last)


def test_more_is_lost_than_was_announced() -> None:
    story = Story()
    lost = (story.write(b"a", 1), story.write(b"b", 2))
    story.history.deaths.append(Death(5.0, "s0", window=2, lost=lost))
    assert not story.found(checks.losses_were_announced)
    story.history.deaths.append(Death(6.0, "s0", window=1, lost=lost))
    assert story.found(checks.losses_were_announced) == 1


def test_what_was_lost_where_a_shard_said_it_was_alone_was_announced() -> None:
    story = Story()
    lost = (story.write(b"a", 1),)
    story.history.deaths.append(Death(5.0, "s0", window=0, lost=lost, alone=frozenset({SLOT})))
    assert not story.found(checks.losses_were_announced)


def test_an_acknowledgement_without_a_copy() -> None:
    story = Story()
    story.history.deaths.append(Death(5.0, "s0", window=2, lost=(story.write(b"a", 1), story.write(b"b", 2, acks=1))))
    assert story.found(checks.acknowledged_copies_exist) == 1


def test_an_older_write_with_a_larger_version_comes_back() -> None:
    story = Story()
    story.write(b"old", 900, shard="s0")
    story.write(b"new", 100, shard="s1")
    story.end(s0=(900, b"old"), s1=(900, b"old"))
    assert story.found(checks.later_writes_win) == 1
    assert not story.found(checks.acknowledged_writes_last)


def test_two_writers_at_once() -> None:
    story = Story()
    story.write(b"a", 1, shard="s0", epoch=1)
    story.write(b"b", 2, shard="s1", epoch=2)
    assert not story.found(checks.one_writer_per_slot)
    story.write(b"c", 3, shard="s0", epoch=1)
    assert story.found(checks.one_writer_per_slot) == 1
    story.write(b"d", 4, shard="s0", epoch=3)
    assert story.found(checks.one_writer_per_slot) == 1


def test_a_token_that_does_not_help() -> None:
    story = Story()
    write = story.write(b"a", 1)
    later = story.write(b"b", 2)
    story.read(b"b", covered=(write,))
    assert not story.found(checks.tokens_give_own_writes)
    story.read(b"a", covered=(later,))
    story.read(None, covered=(later,))
    assert story.found(checks.tokens_give_own_writes) == 2


def test_what_was_written_later_is_not_older_whatever_its_version() -> None:
    story = Story("quorum")
    ahead = story.write(b"a", 900)
    story.write(b"b", 100, shard="s1")
    story.read(b"b", covered=(ahead,))
    assert not story.found(checks.tokens_give_own_writes)
    assert not story.found(checks.reads_see_acknowledged_writes)


@pytest.mark.parametrize(("result", "breaches"), [(b"a", 1), (b"b", 0), (None, 1)])
def test_a_read_of_something_older(result: bytes | None, breaches: int) -> None:
    story = Story("quorum")
    story.write(b"a", 1)
    story.write(b"b", 2)
    story.read(result)
    assert story.found(checks.reads_see_acknowledged_writes) == breaches


def test_a_miss_after_a_later_delete_is_right_and_after_an_earlier_one_is_not() -> None:
    story = Story("quorum")
    story.write(None, 1)
    story.write(b"b", 2)
    story.read(None)
    assert story.found(checks.reads_see_acknowledged_writes) == 1
    story.write(None, 3, outcome="timeout")
    story.read(None)
    assert story.found(checks.reads_see_acknowledged_writes) == 1


@pytest.mark.parametrize(("one", "other", "breaches"), [
    ((2, b"b"), (2, b"b"), 0), ((2, b"b"), (1, b"a"), 1), ((2, b"b"), None, 1), ((3, None), None, 0),
    ((3, None), (2, b"b"), 1)])
def test_copies_that_differ(one: Any, other: Any, breaches: int) -> None:
    story = Story("multi-primary")
    story.write(b"a", 1)
    story.end(s0=one, s1=other)
    assert story.found(checks.copies_converge) == breaches


def test_a_deleted_key_comes_back() -> None:
    story = Story("multi-primary")
    story.write(b"a", 1)
    story.write(None, 2)
    story.end(s0=(1, b"a"), s1=(1, b"a"))
    assert story.found(checks.largest_version_wins) == 1
    story.end(s0=None, s1=None)
    assert not story.found(checks.largest_version_wins)
    story.end(s0=(3, b"newer"), s1=None)
    assert not story.found(checks.largest_version_wins)


def test_digests_epochs_tables_service_and_hanging() -> None:
    story = Story()
    story.evidence.digests = {SLOT: {"s0": 1, "s1": 2}}
    assert story.found(checks.digests_agree) == 1
    story.history.epochs = [("s0", 1, 5, 0), ("s0", 2, 3, 0), ("s0", 2, 3, 0)]
    assert story.found(checks.epochs_grow) == 1
    story.evidence.tables = {"s0": (5, b"x"), "router": (6, b"x")}
    assert story.found(checks.tables_agree) == 1
    story.evidence.probes = {SLOT: "CLUSTERDOWN", 8: ""}
    assert story.found(checks.every_slot_is_served) == 1
    story.evidence.unsettled = "something goes on"
    assert story.found(checks.everything_settles) == 1
    story.read(None, outcome="open", returned_s=float("inf"))
    assert story.found(checks.nothing_hangs) == 1


def test_every_check_states_its_promise_in_words() -> None:
    for found in {*checks.ALWAYS, *(one for mode in checks.BY_MODE.values() for one in mode)}:
        assert found.__doc__, found.__name__
        assert len(found.__doc__) > 40, found.__name__
