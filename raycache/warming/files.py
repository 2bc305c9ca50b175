"""Files that warming reads and writes: logs, and how far it is.

What lives here: opening text and gzip alike, and a small progress file that is whole or absent. What does not: what
stands in a log (`logs`).
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Final

_GZIP: Final = b"\x1f\x8b"
VERSION: Final = 1


@contextlib.contextmanager
def opened(path: Path) -> Iterator[IO[str]]:
    """Open a text file, gzip or plain (told by its first bytes), for reading. Bytes that are no UTF-8 survive.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as raw:
        is_gzip = raw.read(2) == _GZIP
    opener: Any = gzip.open if is_gzip else open
    with opener(path, "rt", encoding="utf-8", errors="surrogateescape") as lines:
        yield lines


def lines_of(paths: Iterable[Path]) -> Iterator[str]:
    """Yield the lines of several files. One that was cut off in the middle gives what it has.

    Raises:
        OSError: a file cannot be read, or is no gzip file although it begins as one.
    """
    for path in paths:
        with opened(path) as lines, contextlib.suppress(EOFError):
            try:
                yield from lines
            except zlib.error as error:
                raise OSError(f"{path}: {error}") from error


def fingerprint(keys: Iterable[bytes]) -> str:
    """Return a short text that is the same for the same keys in the same order, and else another."""
    digest = hashlib.blake2b(digest_size=16)
    for key in keys:
        digest.update(b"%d:" % len(key))
        digest.update(key)
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Position:
    """How far a warming is: `done` keys of the list with this fingerprint, into the cluster of this name."""

    cluster: str
    keys: str
    done: int


class ProgressFile:
    """Remembers a position from one run to the next."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Position | None:
        """Return what was saved; None if nothing was.

        Raises:
            ValueError: there is a file, and it is something else.
            OSError: it cannot be read.
        """
        try:
            record = json.loads(self._path.read_text())
            if record["version"] != VERSION:
                raise ValueError("of another version")
            position = Position(str(record["cluster"]), str(record["keys"]), int(record["done"]))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            text = f"{self._path} is no progress file of raycache ({error}): name another, or remove it"
            raise ValueError(text) from None
        return position

    def save(self, position: Position) -> None:
        """Save a position; a crash leaves the one before."""
        beside = self._path.with_name(f"{self._path.name}.new")
        beside.write_text(json.dumps({"version": VERSION, **asdict(position)}) + "\n")
        os.replace(beside, self._path)

    def remove(self) -> None:
        """Forget it: everything is done."""
        self._path.unlink(missing_ok=True)
