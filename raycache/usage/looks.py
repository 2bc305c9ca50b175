"""Which keys the sketch gets to see, and how they fade: what a shard knows of its own use.

What lives here: taking one key out of a piece of the stream, and time. What does not: when a look is taken
(`raycache.shard.server`), and which arguments of a command are keys. Pure: time and randomness are handed in.

Sampling. A shard does not count every key: that would cost its hot loop a tenth of its throughput. Instead it looks at
one piece of input every 2 ms at most, from whoever sends it, as it comes off the socket, and takes one key of it at
random. So a key's share of the looks is its share of the pieces: of the requests, where clients wait for each answer
before they ask again. A pipeline, or a batch of a thousand keys, counts as one look.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from raycache.usage.functions import FunctionTable
from raycache.usage.sketch import SpaceSaving

COUNTERS: Final = 128
"""Error at most 1/128 of all looks: a key with 1 % of the traffic is surely kept."""
FADE_EVERY_MS: Final = 1000
FADE: Final = 0.5**0.1
"""After 10 s a look counts half."""
MAX_KEY_BYTES: Final = 256
"""Of longer keys the sketch keeps the beginning: all of a shard's sketch stays within 64 KiB."""
MOST_ARGUMENTS: Final = 32
"""So many arguments of one command are looked at, some 10 us; the keys behind them are not seen."""

KeysOf = Callable[[list[bytes]], list[bytes]]


class Usage:
    """What one shard knows of its use.

    Args:
        keys_of: returns the keys among the first arguments of a command, none where the command is unknown.
    """

    def __init__(self, keys_of: KeysOf, rng: random.Random) -> None:
        self.functions = FunctionTable()
        self.sketch = SpaceSaving(COUNTERS)
        self._keys_of = keys_of
        self._rng = rng
        self._faded_ms: int | None = None

    def look(self, data: bytes) -> None:
        """Look at what has come off a socket: one key of it, at random, is seen. Broken input is nothing to see."""
        at = 0
        if len(data) > 64:  # perhaps a pipeline: the next command after a random place, else the first
            at = data.find(b"\r\n*", self._rng.randrange(len(data))) + 2
            if at == 1:
                at = 0
        argv = arguments_at(data, at)
        keys = self._keys_of(argv) if argv else argv
        if keys:
            key = keys[0] if len(keys) == 1 else keys[self._rng.randrange(len(keys))]
            self.sketch.add(key[:MAX_KEY_BYTES])

    def step(self, now_ms: int) -> None:
        """Let old looks fade. To be called every now and then."""
        if self._faded_ms is None or now_ms < self._faded_ms:  # the clock may have been set back
            self._faded_ms = now_ms
        passed = (now_ms - self._faded_ms) // FADE_EVERY_MS
        if passed:
            self._faded_ms += passed * FADE_EVERY_MS
            self.sketch.fade(FADE ** min(passed, 1000))


def arguments_at(data: bytes, at: int) -> list[bytes]:
    """Return the first arguments of the command whose frame begins at `at`: those that are complete in `data`."""
    argv: list[bytes] = []
    end = data.find(b"\r\n", at, at + 12)
    if end < 0 or data[at] != 0x2A or not data[at + 1 : end].isdigit():
        return argv
    for _ in range(min(int(data[at + 1 : end]), MOST_ARGUMENTS)):
        at = end + 2
        end = data.find(b"\r\n", at, at + 12)
        size = data[at + 1 : end]
        if end < 0 or data[at] != 0x24 or not size.isdigit():
            break
        start, end = end + 2, end + 2 + int(size)
        if end + 2 > len(data):
            break
        argv.append(data[start:end])
    return argv
