"""From a line of an access log to the key that it stands for.

What lives here: the three forms of a log. What does not: files (`files`), counting (`topk`). Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Literal

LineReader = Callable[[str], str | None]
"""Returns the key of a line, or None where it has none."""
Form = Literal["lines", "json", "pattern"]

MAX_KEY_BYTES: Final = 64 * 1024
"""What a shard takes by default: longer ones could not be cached anyway."""


def whole_lines() -> LineReader:
    """Return a reader of logs with one key a line; blanks around it do not count."""
    return lambda line: line.strip() or None


def json_field(path: str) -> LineReader:
    """Return a reader of JSON lines. The key is the string or number at `path`: "key", or "request.user.id".

    A field whose own name has dots is found under that name as well.

    Raises:
        ValueError: `path` is empty.
    """
    if not path:
        raise ValueError("the JSON field has no name")
    names = path.split(".")

    def read(line: str) -> str | None:
        try:
            record = json.loads(line)
        except ValueError:
            return None
        if isinstance(record, dict) and path in record:
            return _text(record[path])
        for name in names:
            if not isinstance(record, dict) or name not in record:
                return None
            record = record[name]
        return _text(record)

    return read


def _text(value: object) -> str | None:
    if isinstance(value, str):
        return value or None
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def pattern(regex: str) -> LineReader:
    r"""Return a reader of text logs: the key is what the group `key`, else the first group, matched in a line.

    Such as `"GET /users/(\d+)` for the common log format.

    Raises:
        ValueError: it is no regular expression, or has no group.
    """
    try:
        compiled = re.compile(regex)
    except re.error as error:
        raise ValueError(f"{regex!r} is no regular expression: {error}") from None
    if not compiled.groups:
        raise ValueError(f"{regex!r} has no group: put brackets around the part of a line that becomes the key")
    group = compiled.groupindex.get("key", 1)

    def read(line: str) -> str | None:
        match = compiled.search(line)
        return match[group] or None if match else None

    return read


class KeyLog:
    """Reads keys out of lines, and counts the lines that have none.

    Args:
        reader: finds the key in a line.
        template: what becomes of it, "{}" standing for it: "user:{}".
    Raises:
        ValueError: the template does not have exactly one "{}".
    """

    def __init__(self, reader: LineReader, template: str = "{}") -> None:
        before, found, after = template.partition("{}")
        if not found or "{}" in after:
            raise ValueError(f'the key template {template!r} needs one "{{}}", which stands for what the log has')
        self._reader = reader
        self._before, self._after = before, after
        self.lines = 0
        self.without_key = 0
        """Lines that had no key, or one that no cache would take."""

    def keys(self, lines: Iterable[str]) -> Iterator[bytes]:
        """Yield the key of each line that has one, as it goes over the wire."""
        for line in lines:
            self.lines += 1
            found = self._reader(line)
            if found is not None:
                key = f"{self._before}{found}{self._after}".encode("utf-8", "surrogateescape")
                if len(key) <= MAX_KEY_BYTES:
                    yield key
                    continue
            self.without_key += 1
