"""Which question a reader asks next: popular airports more often, or what a recorded trace says.

What lives here: a Zipf popularity with a seed, reading a trace, and turning a key's number into a question. What does
not: asking. Pure but for reading the trace's file.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from raycache.demo.database import Question
from raycache.warming.read_log import request_of

MAX_RADIUS_KM = 300
"""The radius of the first question about an airport; each further one about the same airport asks 1 km less."""

_BLOCK = 4096


class Workload(Protocol):
    """A sequence of key numbers, dealt to readers. Pickles into tasks."""

    @property
    def requests(self) -> int | None:
        """How many there are in all; None: no end."""

    def numbers(self, reader: int, readers: int) -> Iterator[int]:
        """Yield the numbers that reader `reader` of `readers` (counted from 0) asks for, in order."""


@dataclass(frozen=True, slots=True)
class ZipfWorkload:
    """Requests without end: the r-th most popular of `keys` keys is asked for in proportion to 1 / r ** skew."""

    keys: int
    skew: float = 1.0
    seed: int = 1

    @property
    def requests(self) -> int | None:
        return None

    def numbers(self, reader: int, readers: int) -> Iterator[int]:
        weights = 1.0 / np.arange(1, self.keys + 1) ** self.skew
        cumulative = np.cumsum(weights) / weights.sum()
        # Every reader must find the same keys popular, and each must ask in an order of its own.
        popular = np.random.default_rng(self.seed).permutation(self.keys)
        rng = np.random.default_rng((self.seed, reader))
        while True:
            ranks = np.searchsorted(cumulative, rng.random(_BLOCK), side="right")
            yield from popular[np.minimum(ranks, self.keys - 1)].tolist()


@dataclass(frozen=True, slots=True)
class TraceWorkload:
    """A recorded sequence, dealt out in turns: reader 0 takes the first request, reader 1 the second, and so on."""

    keys: npt.NDArray[np.int64]

    @property
    def requests(self) -> int | None:
        return len(self.keys)

    def numbers(self, reader: int, readers: int) -> Iterator[int]:
        yield from self.keys[reader::readers].tolist()


def read_trace(path: Path) -> TraceWorkload:
    """Read a trace: a request a line, the key's number first; gzip or plain text. Anything after the number is ignored.

    Raises:
        ValueError: a line has no key number, or there is no line; the text says which.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    keys: list[int] = []
    with opener(path, "rt") as lines:
        try:
            keys.extend(request_of(line)[0] for line in lines)
        except (ValueError, IndexError, gzip.BadGzipFile):
            raise ValueError(
                f"{path.name}, line {len(keys) + 1}: each line must start with the number of the key asked for"
            ) from None
    if not keys or min(keys) < 0:
        raise ValueError(f"{path.name}: {'it is empty' if not keys else 'a key number is negative'}")
    return TraceWorkload(np.array(keys, dtype=np.int64))


def question_of(number: int, airports: int) -> Question:
    """Return the question that key `number` stands for. Different numbers are different questions.

    Raises:
        ValueError: the number is too large for this many airports.
    """
    variant, airport = divmod(number, airports)
    if variant >= MAX_RADIUS_KM:
        questions = airports * MAX_RADIUS_KM
        raise ValueError(f"key {number} is too large: {airports} airports give {questions} different questions")
    return Question(airport, MAX_RADIUS_KM - variant)
