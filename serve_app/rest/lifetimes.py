"""Lifetimes in HTTP's words: Cache-Control and Age on one side, a time to live on the other.

What lives here: reading and writing the two headers. Pure; any thread. Source: RFC 9111, sections 4.2 and 5.
"""

from __future__ import annotations

from typing import Final

from serve_app.problems import refuse

MAX_AGE_S: Final = 2**31
"""What RFC 9111 (1.2.2) lets a number of seconds be counted down to: 68 years."""


def seconds_of(header: str | None) -> int | None:
    """Return the time to live that a Cache-Control header asks for; None: none. `s-maxage`, for caches, goes first.

    Raises:
        Refused: 422, the number is no number, or 0: who wants no value deletes it.
    """
    if not header:
        return None
    found: dict[str, str] = {}
    for directive in header.split(","):
        name, _, value = directive.strip().partition("=")
        found.setdefault(name.strip().lower(), value.strip().strip('"'))
    for name in ("s-maxage", "max-age"):
        text = found.get(name)
        if text is None:
            continue
        if not (text.isascii() and text.isdigit()):
            raise refuse(422, "invalid", f"Cache-Control: {name} must be a whole number of seconds, not {text!r:.40}")
        seconds = int(text) if len(text) < 12 else MAX_AGE_S
        if seconds == 0:
            raise refuse(422, "invalid", f"Cache-Control: {name}=0 would store nothing; use DELETE to remove a key")
        return min(seconds, MAX_AGE_S)
    return None


def headers_of(left_ms: int | None, written_ms: int | None, now_ms: int) -> list[tuple[bytes, bytes]]:
    """Return Age and Cache-Control of a value; what is left of its lifetime is max-age less Age, to the nearest second.

    Args:
        left_ms: of its lifetime; None: it never expires, and then there is no Cache-Control.
        written_ms: when it was written, unix milliseconds; None: not known, and then there is no Age.
    """
    # A clock that is behind the writer's must not make a value younger than new.
    age_s = max(0, now_ms - written_ms) // 1000 if written_ms is not None else 0
    headers = [(b"age", b"%d" % age_s)] if written_ms is not None else []
    if left_ms is not None:
        headers.append((b"cache-control", b"max-age=%d" % (age_s + (left_ms + 500) // 1000)))
    return headers
