"""Tokens: joining keeps the latest reading of each clock, and they survive every way of being sent."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raycache.client.token import NOTHING, Token

readings = st.lists(st.tuples(st.integers(0, 1023), st.integers(0, 2**63 - 1)))


def test_a_token_keeps_the_latest_reading_of_each_clock() -> None:
    assert Token.of([(2, 5), (0, 7), (2, 9), (2, 1)]) == Token(((0, 7), (2, 9)))
    assert Token(((0, 7), (2, 9))) | Token(((1, 1), (2, 8))) == Token(((0, 7), (1, 1), (2, 9)))


def test_a_clock_that_has_never_ticked_is_nothing_to_wait_for() -> None:
    assert Token.of([(0, 0)]) == NOTHING
    assert not NOTHING
    assert Token(((0, 1),))


@given(readings, readings)
def test_joining_is_the_token_of_both_in_either_order(first: Any, second: Any) -> None:
    both = Token.of([*first, *second])
    assert Token.of(first) | Token.of(second) == Token.of(second) | Token.of(first) == both


@given(readings)
def test_a_token_comes_back_as_it_was_sent(given_readings: Any) -> None:
    token = Token.of(given_readings)
    assert Token.from_bytes(token.to_bytes()) == pickle.loads(pickle.dumps(token)) == token
    assert hash(Token.from_bytes(token.to_bytes())) == hash(token)


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x01", b"\x91\x01", b"\x91\x92\x01\xff", b"\x91\x92\x01\xa1a"])
def test_rubbish_is_no_token(data: bytes) -> None:
    with pytest.raises(ValueError, match="token"):
        Token.from_bytes(data)


@pytest.mark.parametrize("versions", [((1, 1), (0, 1)), ((0, 1), (0, 2)), ((0, -1),), ((0, 2**63),)])
def test_a_token_that_contradicts_itself_is_refused(versions: Any) -> None:
    with pytest.raises(ValueError, match="token"):
        Token(versions)
