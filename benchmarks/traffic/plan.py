"""What a generator is told: whom to load, with what, how fast. Plain values that survive JSON."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from raycache.ring.slots import slot_of


@dataclass(frozen=True, slots=True)
class Load:
    """One generator's work. The keys are its own: nobody else writes them, so it knows what they must hold."""

    target: Literal["raycache", "redis"]
    addresses: tuple[str, ...]
    """"host:port" of shards or nodes, any of which knows the others."""
    prefix: str
    cluster: str = ""
    secret: str = ""
    keys: int = 20_000
    value_bytes: int = 100
    rate: float = 2_500.0
    """Operations a second, begun at their time whether or not earlier ones have ended."""
    write_share: float = 0.5
    handles: int = 4
    """Of raycache, in turns: each has one connection to each shard. (redis-py opens one an operation under way.)"""
    seed: int = 1
    options: dict[str, Any] = field(default_factory=dict)
    """For every read ("read") and write ("write"), such as {"write": {"acks": 1}}."""
    only_slots: tuple[int, ...] = ()
    """Where the keys may lie; empty: anywhere."""

    def as_json(self) -> str:
        """Return it for the command line of a generator."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Load:
        """Return what `as_json` wrote."""
        given = json.loads(text)
        return cls(**{**given, "addresses": tuple(given["addresses"]), "only_slots": tuple(given["only_slots"])})

    def names(self) -> list[str]:
        """Return the keys; a key's number is its place in this list."""
        wanted = frozenset(self.only_slots)
        names = (f"{self.prefix}:{number:08d}" for number in itertools.count())
        return list(itertools.islice((n for n in names if not wanted or slot_of(n.encode()) in wanted), self.keys))

    def slots(self) -> npt.NDArray[np.int64]:
        """Return the slot of each key, by its number."""
        return np.array([slot_of(name.encode()) for name in self.names()], dtype=np.int64)

    def value(self, counter: int) -> bytes:
        """Return the value that stands for `counter`."""
        return b"%012d" % counter + b"." * (self.value_bytes - 12)


def counter_of(value: object) -> int:
    """Return the counter in a value that `Load.value` made.

    Raises:
        ValueError: it is something else, so somebody else wrote it, or it was mangled.
    """
    if type(value) is not bytes or len(value) < 12:
        raise ValueError(f"not a value of ours: {value!r:.50}")
    return int(value[:12])
