"""What one shard still has to tell another: the stream to a replica, and the hints for one that is away.

What lives here: order, offsets, what is acknowledged, and the bound. What does not: sending. Belongs to one shard's
loop.

Mutations are numbered from 1. `take` gives what has not been sent; `rewind`, after a connection broke, what has not
been acknowledged, once more. Over its bound the box forgets everything and says so: the receiver then sees a gap in
the numbers and repairs by digests, so memory is bounded and nothing is lost in silence.

What was sent is kept batch by batch, since it is acknowledged so: a write costs its place in a deque, and a share of
its batch.
"""

from __future__ import annotations

from collections import deque
from itertools import chain
from typing import Final

from raycache.replication.mutation import Mutation, size_of

BATCH_MUTATIONS: Final = 512
"""A batch of plain writes takes its receiver about a millisecond."""
BATCH_BYTES: Final = 256 * 1024


class Outbox:
    """The stream to one peer."""

    __slots__ = ("_fresh", "_hole", "_sent", "_sent_bytes", "_times", "acked", "adrift", "adrift_bytes",
                 "backlog_bytes", "bytes", "dropped", "offset", "peer")

    def __init__(self, peer: str, backlog_bytes: int, offset: int = 0) -> None:
        self.peer = peer
        self.backlog_bytes = backlog_bytes
        self.offset = offset
        """Number of the last mutation put in."""
        self.acked = offset
        """Number of the last one that the peer has applied."""
        self.bytes = 0
        self.dropped = 0
        """Mutations given up because the box was full."""
        self._sent: deque[tuple[int, list[Mutation]]] = deque()
        """Batches, with their sizes."""
        self._sent_bytes = 0
        self._fresh: deque[Mutation] = deque()
        self._times: deque[tuple[int, float]] = deque()
        self._hole = (offset, offset)
        self.adrift = self.adrift_bytes = 0
        """What was given up and may be missing at the peer: counted until the peer says that nothing is."""

    def __len__(self) -> int:
        """Mutations that the peer has not acknowledged."""
        return sum(len(batch) for _, batch in self._sent) + len(self._fresh)

    @property
    def has_fresh(self) -> bool:
        """Whether something waits to be sent."""
        return bool(self._fresh)

    def waiting(self) -> list[Mutation]:
        """Return what the peer has not acknowledged, oldest first."""
        return [*chain.from_iterable(batch for _, batch in self._sent), *self._fresh]

    def add(self, mutation: Mutation, size: int = 0) -> None:
        """Put `mutation` behind the others; `size` is what `size_of` says, where the caller knows."""
        self._fresh.append(mutation)
        self.offset += 1
        self.bytes += size or size_of(mutation)
        if self.bytes > self.backlog_bytes:
            self.drop()

    def drop(self) -> int:
        """Forget everything that waits; return how much that was."""
        count = len(self)
        self.dropped += count
        self.adrift += count
        self.adrift_bytes += self.bytes
        self._hole = (self._hole[0] if self._hole[1] > self.acked else self.acked, self.offset)
        self._sent.clear()
        self._fresh.clear()
        self._times.clear()
        self.bytes = self._sent_bytes = 0
        return count

    def mark(self, now_s: float) -> None:
        """Note the time, so that `age_s` can tell how long the oldest mutation has been waiting."""
        if len(self) and (not self._times or self._times[-1][0] < self.offset):
            self._times.append((self.offset, now_s))

    def take(self) -> tuple[int, list[Mutation]]:
        """Return the number of the first mutation not sent yet, and a batch that starts there."""
        fresh, size = self._fresh, self.bytes - self._sent_bytes
        first = self.offset - len(fresh) + 1
        if not fresh:
            return first, []
        if len(fresh) <= BATCH_MUTATIONS and size <= BATCH_BYTES:
            batch = list(fresh)
            fresh.clear()
        else:
            batch, size = [], 0
            while fresh and len(batch) < BATCH_MUTATIONS and size < BATCH_BYTES:
                mutation = fresh.popleft()
                size += size_of(mutation)
                batch.append(mutation)
        self._sent.append((size, batch))
        self._sent_bytes += size
        return first, batch

    def rewind(self) -> bool:
        """Take what was sent and not acknowledged as not sent; return whether there was any."""
        if not self._sent:
            return False
        self._fresh = deque(self.waiting())
        self._sent.clear()
        self._sent_bytes = 0
        return True

    def acknowledge(self, offset: int) -> None:
        """Take note that the peer has applied everything up to `offset`; not more than was sent since `rewind`."""
        sent = self._sent
        offset = min(offset, self.offset - len(self._fresh))
        if offset <= self.acked:
            return
        left = offset - (self.offset - len(self))
        while left > 0 and sent:
            size, batch = sent.popleft()
            if left < len(batch):  # a part of it, and the rest was refused
                size = sum(map(size_of, batch[:left]))
                sent.appendleft((sum(map(size_of, batch[left:])), batch[left:]))
            self.bytes -= size
            self._sent_bytes -= size
            left -= len(batch)
        self.acked = offset
        times = self._times
        while times and times[0][0] <= self.acked:
            times.popleft()

    def is_whole(self) -> None:
        """Take note that the peer misses nothing of what it was sent, nor of what was given up before that."""
        if self.acked > self._hole[1] or self.acked == self.offset:
            self.adrift = self.adrift_bytes = 0

    def has(self, offset: int) -> bool:
        """Return whether the peer surely has the mutation of this number."""
        return self.acked >= offset and not self._hole[0] < offset <= self._hole[1]

    def gave_up(self, offset: int) -> bool:
        """Return whether the mutation of this number, or a later one, was given up."""
        return self._hole[0] < self._hole[1] and offset <= self._hole[1]

    def age_s(self, now_s: float) -> float:
        """Return for how long the oldest unacknowledged mutation has waited, 0 if there is none."""
        return now_s - self._times[0][1] if len(self) and self._times else 0.0
