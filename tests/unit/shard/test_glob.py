"""Patterns against a plain, slow reading of Redis' rules. (A real Redis is asked in tests/differential.)"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raycache.shard.commands.command import Refusal
from raycache.shard.commands.glob import MAX_PATTERN_BYTES, matcher


@pytest.mark.parametrize(("pattern", "yes", "no"), [
    (b"h?llo", b"hello", b"hllo"), (b"h*llo", b"heeeello", b"hell"), (b"h[ae]llo", b"hallo", b"hillo"),
    (b"h[^e]llo", b"hbllo", b"hello"),
    (b"h[a-b]llo", b"hbllo", b"hcllo"), (b"h[b-a]llo", b"hallo", b"hcllo"), (b"\\*x", b"*x", b"ax"),
    (b"[\\]]", b"]", b"\\"),
    (b"a\\", b"a\\", b"a"), (b"[^", b"x", b""), (b"[", b"", b"["), (b"[abc", b"b", b"d"), (b"*", b"", b""),
    (b"", b"", b"a"),
    (b"a.c", b"a.c", b"abc"), (b"*\n*", b"a\nb", b"ab"), (b"[a-]", b"^", b"b"), (b"*a*b*c*", b"xaybzc", b"xcyb"),
    (b"\xff?", b"\xff\xfe", b"\xfe\xff"),
])
def test_examples(pattern: bytes, yes: bytes, no: bytes) -> None:
    if not (pattern == b"[" and yes == b""):
        assert matcher(pattern)(yes)
    if no != yes:
        assert not matcher(pattern)(no)


def slow(pattern: bytes, key: bytes) -> bool:
    """Stars and question marks, by trying everything."""
    if not pattern:
        return not key
    if pattern[:1] == b"*":
        return any(slow(pattern[1:], key[at:]) for at in range(len(key) + 1))
    return bool(key) and pattern[:1] in (b"?", key[:1]) and slow(pattern[1:], key[1:])


@given(st.text("ab*?", max_size=8), st.text("ab", min_size=1, max_size=8))
def test_stars_commit_early_and_lose_nothing(pattern: str, key: str) -> None:
    assert bool(matcher(pattern.encode())(key.encode())) == slow(pattern.encode(), key.encode())


def test_many_stars_stay_linear() -> None:
    """The pattern that takes exponential time where a star may try again."""
    assert not matcher(b"*a" * 200 + b"b")(b"a" * 20_000)


def test_case_can_be_ignored_and_length_is_limited() -> None:
    assert matcher(b"MAX*", ignore_case=True)(b"maxmemory")
    with pytest.raises(Refusal):
        matcher(b"a" * (MAX_PATTERN_BYTES + 1))
