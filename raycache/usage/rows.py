"""What is counted of one function, as handles send it to shards and shards give it back.

What lives here: the row, adding rows, and their form on the wire. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

MAX_NAME: Final = 256
"""Characters of a function's name that are kept."""


@dataclass(slots=True)
class FunctionUse:
    """Counters of one function, from a process or from all of them."""

    hits: int = 0
    """Calls answered from the cache while the value was fresh; a None that was stored is one, too."""
    loads: int = 0
    """Times that the function itself ran, background refreshes among them, and gave a value."""
    load_s: float = 0.0
    """How long these took together, in seconds."""
    stale: int = 0
    """Calls answered with a value past its lifetime, because a refresh was under way or the load had failed."""
    waits: int = 0
    """Calls that waited for somebody else's load."""
    wait_s: float = 0.0
    """How long they waited together, in seconds."""
    failures: int = 0
    """Times that the function raised."""
    cache_errors: int = 0
    """Calls for which the cache could not be asked."""

    @property
    def calls(self) -> int:
        """Calls that got a value through the cache: hits, stale ones, waits and the callers' own loads."""
        return self.hits + self.stale + self.waits + self.loads

    @property
    def hit_ratio(self) -> float:
        """Calls that did not run the function / all, 0 to 1; 0.0 before the first."""
        return (self.hits + self.stale + self.waits) / self.calls if self.calls else 0.0

    @property
    def mean_load_s(self) -> float:
        """Mean duration of a load, in seconds; 0.0 where none was measured."""
        return self.load_s / self.loads if self.loads else 0.0

    @property
    def saved_s(self) -> float:
        """Time that callers did not spend in the function: (hits + stale) x the mean load.

        Seconds; 0.0 where no load was measured.
        """
        return (self.hits + self.stale) * self.mean_load_s

    def add(self, other: FunctionUse) -> None:
        """Count what `other` has counted, too."""
        for name in NAMES:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def since(self, earlier: FunctionUse) -> FunctionUse:
        """Return what was counted after `earlier`."""
        return FunctionUse(*[getattr(self, name) - getattr(earlier, name) for name in NAMES])

    def as_row(self) -> list[int | float]:
        """Return the counters, in the order of the fields."""
        return [getattr(self, name) for name in NAMES]

    @classmethod
    def of_row(cls, row: Any) -> FunctionUse:
        """Return what `as_row` gave; a shorter row is an older version's, a longer one a newer's.

        Raises:
            ValueError: it is no list of finite numbers from 0 up.
        """
        if not isinstance(row, Sequence) or isinstance(row, str | bytes):
            raise ValueError("a row of counters is a list")
        numbers = []
        for value, name in zip(row, NAMES, strict=False):
            kinds = (int, float) if name.endswith("_s") else (int,)
            if type(value) not in kinds or not 0 <= value < 2**63 or not math.isfinite(value):
                raise ValueError(f"{name} is a number from 0 up, not {value!r:.50}")
            numbers.append(value)
        return cls(*numbers)


NAMES: Final = tuple(field.name for field in fields(FunctionUse))
