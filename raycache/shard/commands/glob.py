r"""Redis' glob patterns, for KEYS, SCAN MATCH and CONFIG GET.

What lives here: a pattern becomes a regular expression over bytes. `*` any run, `?` any byte,
`[abc]`, `[^a]`, `[a-z]` classes, `\x` a literal x; what is malformed means what Redis makes of it:
a class that is not closed reaches to the end of the pattern, `[a-]` is a range that ends at `]`.

Each star commits to the first match of what follows it (an atomic group): since every other piece
matches exactly one byte, giving back could never help, and no pattern takes more than length of
pattern times length of key.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from raycache.shard.commands.command import Refusal

MAX_PATTERN_BYTES: Final = 4096
"""Longer patterns would take milliseconds to compile; Redis has no limit of its own."""

Matcher = Callable[[bytes], object]


def matcher(pattern: bytes, *, ignore_case: bool = False) -> Matcher:
    """Return a function that is true for the keys that `pattern` matches.

    Raises:
        Refusal: the pattern is too long.
    """
    if len(pattern) > MAX_PATTERN_BYTES:
        raise Refusal(f"ERR pattern is too long ({len(pattern)} bytes, at most {MAX_PATTERN_BYTES})")
    return _compiled(pattern, ignore_case)


@lru_cache(maxsize=128)
def _compiled(pattern: bytes, ignore_case: bool) -> Matcher:
    match = re.compile(_translate(pattern), re.DOTALL | (re.IGNORECASE if ignore_case else 0)).fullmatch
    # Redis' loop never runs for an empty key, so that only these two match it.
    matches_empty = pattern in (b"", b"*")
    return lambda key: match(key) if key else matches_empty


def _translate(pattern: bytes) -> bytes:
    """Return the regular expression of `pattern`."""
    pieces: list[list[bytes]] = [[]]  # one list of single-byte pieces per stretch between stars
    at = 0
    while at < len(pattern):
        byte = pattern[at : at + 1]
        if byte == b"*":
            pieces.append([])
        elif byte == b"?":
            pieces[-1].append(b".")
        elif byte == b"[":
            piece, at = _class(pattern, at + 1)
            pieces[-1].append(piece)
        else:
            if byte == b"\\" and at + 1 < len(pattern):
                at += 1
                byte = pattern[at : at + 1]
            pieces[-1].append(re.escape(byte))
        at += 1
    head, *tails = (b"".join(stretch) for stretch in pieces)
    if not tails:
        return head
    return head + b"".join(b"(?>.*?%b)" % stretch for stretch in tails[:-1] if stretch) + b".*" + tails[-1]


def _class(pattern: bytes, at: int) -> tuple[bytes, int]:
    """Return the piece of the class whose first byte is at `at`, and the place of its last byte."""
    negated = pattern[at : at + 1] == b"^"
    at += negated
    members: set[int] = set()
    while at < len(pattern) and pattern[at] != 0x5D:
        if pattern[at] == 0x5C and at + 1 < len(pattern):
            at += 1
            members.add(pattern[at])
        elif at + 2 < len(pattern) and pattern[at + 1] == 0x2D:
            members.update(_range(pattern[at], pattern[at + 2]))
            at += 2
        else:
            members.add(pattern[at])
        at += 1
    wanted = set(range(256)) - members if negated else members
    if not wanted:
        return b"(?!)", at
    return b"[%b]" % b"".join(b"\\x%02x" % member for member in sorted(wanted)), at


def _range(first: int, last: int) -> set[int]:
    """Return the bytes from `first` to `last`, in either order, compared as C's signed chars."""
    low, high = sorted((first - 256 if first > 127 else first, last - 256 if last > 127 else last))
    return {member & 0xFF for member in range(low, high + 1)}
