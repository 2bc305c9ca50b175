"""A body and what HTTP says of it."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raycache.codec import DESCRIBED, decode
from raycache.codec.described import MAX_WORD_BYTES, Described, describe, described
from raycache.store.typed import TYPED_KIND, TypedValue, held

WORDS = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=MAX_WORD_BYTES)


@given(st.binary(max_size=300), WORDS, WORDS, st.integers(0, 2**63))
def test_all_of_it_comes_back_and_the_store_finds_the_same_body(body: bytes, media_type: str, coding: str,
                                                                written_ms: int) -> None:
    data = describe(body, media_type, coding, written_ms)
    assert described(data) == described(b"\x07" + data, 1) == Described(body, media_type, coding, written_ms)
    assert TypedValue(data).body == body
    assert decode(DESCRIBED, memoryview(data)) == body


@given(st.binary(max_size=40))
def test_any_bytes_are_refused_or_read_and_never_break(data: bytes) -> None:
    assert len(TypedValue(data).body) <= len(data)
    with contextlib.suppress(ValueError):
        described(data)


@pytest.mark.parametrize("word", ["a" * 256, "a\nb", "a\rb"])
def test_a_word_is_one_short_line(word: str) -> None:
    with pytest.raises(ValueError, match="one line"):
        describe(b"", word, "", 0)


def test_only_that_kind_is_held_otherwise() -> None:
    assert (type(held(b"x", TYPED_KIND)), type(held(b"x", 0))) == (TypedValue, bytes)
    assert TYPED_KIND == DESCRIBED
