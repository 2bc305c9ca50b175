"""Operations on many keys: one command per shard and round, and the puzzle of their replies.

What lives here: the state of one such operation: which keys are done, what to send next. What does not: sending.
Both handles drive it in the same way: `rounds`, send all of a round, `accept` each reply, and start again with what
failed. One object per operation, used by one thread or task.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import hiredis

from raycache.client import frames
from raycache.client.arguments import TimeToLive, encoded, ttl_ms
from raycache.client.guarded import Guarded, opened, or_guarded
from raycache.client.requests import MISSING, Encode
from raycache.client.retry import RETRIED, reply_failure
from raycache.client.routes import NOBODY, Choice
from raycache.codec import decode_payloads, encode
from raycache.errors import ProtocolError

# A command may have 65,536 arguments (config.Limits), three of them for each key that is written; and a shard works
# in steps of 512 keys, so a longer command gains nothing.
MAX_KEYS: Final = 8192
# One write is one buffer on both sides; above this, fewer round trips save nothing.
MAX_BYTES: Final = 4 * 1024 * 1024


class Part:
    """The share of one shard in one round: which positions, and what makes them a command."""

    __slots__ = ("_command", "positions", "shard")

    def __init__(self, shard: int, positions: list[int], command: Callable[[list[int]], bytes]) -> None:
        self.shard = shard
        self.positions = positions
        self._command = command

    @property
    def frame(self) -> bytes:
        """The command. It is made when asked for: the shards that were sent theirs are at work by then."""
        return self._command(self.positions)


class Batch(ABC):
    """One operation on `keys`; `pending` are the positions not yet answered."""

    def __init__(self, keys: list[bytes]) -> None:
        self.keys = keys
        self.pending = list(range(len(keys)))

    def time_limit_s(self, timeout_s: float) -> float:
        """Return the whole operation's limit: `timeout_s` for every round that one shard alone could need."""
        return timeout_s * (1 + len(self.keys) // MAX_KEYS)

    def rounds(self, choice: Choice) -> tuple[list[int], Iterator[list[Part]]]:
        """Return the pending positions that nobody serves, and rounds of at most one part per shard, shards ascending.

        One command per shard and round, because a shard stops reading from a client that leaves replies unread.
        """
        if len(self.pending) == len(self.keys):
            groups = choice.group(self.keys)
        else:
            chosen = choice.group([self.keys[position] for position in self.pending])
            groups = [(shard, [self.pending[each] for each in positions]) for shard, positions in chosen]
        orphans = groups.pop(0)[1] if groups and groups[0][0] == NOBODY else []
        self.pending = []
        return orphans, self._rounds(groups)

    def _rounds(self, groups: list[tuple[int, list[int]]]) -> Iterator[list[Part]]:
        while groups:
            parts, rest = [], []
            for shard, positions in groups:
                count = self.fitting(positions)
                parts.append(Part(shard, positions[:count], self.frame))
                if count < len(positions):
                    rest.append((shard, positions[count:]))
            yield parts
            groups = rest

    def fitting(self, positions: list[int]) -> int:
        """Return how many of `positions`, at least one, go into one command."""
        return MAX_KEYS

    @abstractmethod
    def frame(self, positions: list[int]) -> bytes:
        """Return the command for `positions`."""

    @abstractmethod
    def accept(self, part: Part, reply: Any) -> None:
        """Take the reply to `part`, which is no error.

        Raises:
            ProtocolError: it is no reply to that command.
        """

    def take(self, part: Part, reply: Any) -> Exception | None:
        """Take any reply to `part`; return the failure, if it is one that may be tried again.

        Raises:
            RayCacheError: the command was refused for good.
        """
        if isinstance(reply, hiredis.ReplyError):
            failure = reply_failure(str(reply))
            if not isinstance(failure, RETRIED):
                raise failure
            self.failed(part.positions)
            return failure
        self.accept(part, reply)
        return None

    def failed(self, positions: Sequence[int]) -> None:
        """Take `positions` back: their command failed."""
        self.pending.extend(positions)

    def _keys(self, positions: list[int]) -> list[bytes]:
        keys = self.keys
        return [keys[position] for position in positions]


class GetMany(Batch):
    """RC.MGET; `values` are in the order of the keys, MISSING for a miss, a Guarded for what needs another look."""

    is_guarded = False
    """Whether there is one that does."""

    def __init__(self, keys: list[bytes]) -> None:
        super().__init__(keys)
        self.values: list[Any] = [MISSING] * len(keys)

    def frame(self, positions: list[int]) -> bytes:
        return frames.get_many(self._keys(positions))

    def accept(self, part: Part, reply: Any) -> None:
        if type(reply) is not list or len(reply) != len(part.positions):
            raise ProtocolError(f"a shard answered RC.MGET of {len(part.positions)} keys with {reply!r:.100}")
        values = self.values
        for position, value in zip(part.positions, self.read(reply), strict=True):
            values[position] = value

    def read(self, payloads: list[Any]) -> list[Any]:
        """Return what stands for each of `payloads` in `values`."""
        try:
            return decode_payloads(payloads, MISSING, opened)
        except Guarded:
            self.is_guarded = True
            return decode_payloads(payloads, MISSING, or_guarded)


class SetMany(Batch):
    """RC.MSET of values that are encoded when this is built, so that an unsupported one writes nothing.

    Raises:
        UnsupportedTypeError, ValueError: see `raycache.codec.encode` and `ttl_ms`.
    """

    def __init__(self, keys: list[bytes], values: Sequence[object], ttl: TimeToLive, encode: Encode = encode) -> None:
        super().__init__(keys)
        self._values = [encoded(value, encode) for value in values]
        self._px = b"%d" % ttl_ms(ttl)

    def fitting(self, positions: list[int]) -> int:
        size = 0
        for count, position in enumerate(positions[:MAX_KEYS]):
            size += len(self._values[position][1])
            if size > MAX_BYTES and count:
                return count
        return MAX_KEYS

    def frame(self, positions: list[int]) -> bytes:
        parts = [b"RC.MSET", self._px]
        for position in positions:
            kind, data = self._values[position]
            parts += (b"%d" % kind, self.keys[position], data)
        return frames.command(*parts)

    def accept(self, part: Part, reply: Any) -> None:
        if reply != b"OK":
            raise ProtocolError(f"a shard answered RC.MSET with {reply!r:.100}")


class DeleteMany(Batch):
    """DEL; `deleted` counts the keys that were there. A key given twice is deleted once."""

    def __init__(self, keys: list[bytes]) -> None:
        super().__init__(list(dict.fromkeys(keys)))
        self.deleted = 0

    def frame(self, positions: list[int]) -> bytes:
        return frames.command(b"DEL", *self._keys(positions))

    def accept(self, part: Part, reply: Any) -> None:
        if type(reply) is not int or not 0 <= reply <= len(part.positions):
            raise ProtocolError(f"a shard answered DEL of {len(part.positions)} keys with {reply!r:.100}")
        self.deleted += reply
