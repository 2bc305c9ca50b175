"""Whom a handle asks for a newer topology, and what no answer means."""

from __future__ import annotations

import random
from typing import Any

import pytest

from raycache.client.discovery import candidates, search
from raycache.client.info import ConnectionInfo
from raycache.client.retry import Lost, Moved, Silent
from raycache.errors import AuthenticationError, DeadlineExceededError

A, B, C = ("a", 1), ("b", 2), ("c", 3)
INFO = ConnectionInfo("x", (A, B, C))


def asked(failure: Exception, suspects: tuple[Any, ...] = (), live: tuple[Any, ...] = ()) -> list[Any]:
    return candidates(None, INFO, failure, set(live), random.Random(1), suspects)


def answered(*answers: Any) -> Any:
    steps, taken = search(None, [A, B, C][: len(answers)]), iter(answers)
    next(steps)
    while True:
        steps.send(next(taken))


def test_who_has_not_answered_lately_is_not_asked() -> None:
    assert set(asked(Lost("x"))) == {A, B, C}
    assert set(asked(Lost("x"), (A,))) == {B, C}
    assert A not in asked(Moved("MOVED 1 a:1"), (A,))


def test_unless_there_is_nobody_else() -> None:
    assert set(asked(Lost("x"), (A, B, C))) == {A, B, C}


def test_a_question_that_ran_out_of_time_does_not_end_the_operation() -> None:
    with pytest.raises(Silent, match="too late") as caught:
        answered(Lost("refused"), DeadlineExceededError("too late"))
    assert not caught.value.sent


def test_a_refused_secret_says_more_than_silence() -> None:
    with pytest.raises(AuthenticationError):
        answered(AuthenticationError("no"), DeadlineExceededError("too late"))


def test_one_who_knows_nothing_newer_is_an_answer() -> None:
    with pytest.raises(StopIteration) as stop:
        answered(None, Lost("refused"))
    assert stop.value.value is None
