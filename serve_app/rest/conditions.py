"""Versions in HTTP's words: ETag, If-Match and If-None-Match.

What lives here: reading the headers, and what they mean for a read or a write of a key. Pure; any thread. Source: RFC
9110, sections 8.8.3 and 13. An ETag here is the version in quotes, and strong: equal versions, equal bytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

_TAG: Final = re.compile(r'(W/)?"([1-9][0-9]{0,18})"')

ANYTHING: Final = "*"

Versions = frozenset[int] | Literal["*"]
"""Versions that a header names (those that are none of ours are left out: they never fit), or "*": any."""


def etag(version: int) -> bytes:
    """Return the ETag of a version."""
    return b'"%d"' % version


def versions_in(header: str | None, *, weak: bool) -> Versions | None:
    """Return what If-Match or If-None-Match names; None: there is no such header.

    What is no tag of ours fits no version, whatever it looks like: an If-Match of such then refuses.

    Args:
        weak: whether a weak tag may fit, as If-None-Match has it; for If-Match it never does.
    """
    if header is None:
        return None
    if header.strip() == ANYTHING:
        return ANYTHING
    # No tag has a comma or a quote in it that could mislead this: those that have are not ours.
    tags = (_TAG.fullmatch(part.strip()) for part in header.split(","))
    return frozenset(int(tag[2]) for tag in tags if tag is not None and (weak or not tag[1]) and int(tag[2]) < 2**63)


@dataclass(frozen=True, slots=True)
class Conditions:
    """The conditions of one request."""

    match: Versions | None
    none_match: Versions | None

    @classmethod
    def of(cls, if_match: str | None, if_none_match: str | None) -> Conditions:
        """Return what the two headers say."""
        return cls(versions_in(if_match, weak=False), versions_in(if_none_match, weak=True))

    @property
    def known_version(self) -> int:
        """The only version that a reader says to have; 0: none, or several."""
        known = self.none_match
        return next(iter(known)) if isinstance(known, frozenset) and len(known) == 1 else 0

    def reading(self, version: int) -> int:
        """Return the status of a read of a key that is at `version`: 200, 304 or 412. 0: it is absent."""
        if self.match is not None and not _fits(self.match, version):
            return 412
        if version and self.none_match is not None and _fits(self.none_match, version):
            return 304
        return 200

    @property
    def at_once(self) -> Literal["ANY", "NX", "XX"] | int | None:
        """The condition of a write in the shard's words; None: the version has to be looked at first (`writing`)."""
        if self.match is None:
            if self.none_match is None:
                return "ANY"
            return "NX" if self.none_match == ANYTHING else None
        if self.none_match is not None:
            return None
        if self.match == ANYTHING:
            return "XX"
        return next(iter(self.match)) if len(self.match) == 1 else None

    def writing(self, version: int) -> Literal["NX"] | int | None:
        """Return under which condition to write a key that is at `version` (0: absent); None: it may not be written."""
        if self.match is not None and not _fits(self.match, version):
            return None
        if self.none_match is not None and version and _fits(self.none_match, version):
            return None
        return version or "NX"


UNCONDITIONAL: Final = Conditions(None, None)
"""What most requests say."""


def _fits(versions: Versions, version: int) -> bool:
    return version > 0 if isinstance(versions, str) else version in versions
