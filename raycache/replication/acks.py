"""Which writes wait for other copies, and which of them have come far enough.

What lives here: how many copies count as having a write, and the queues of those who wait. What does not: waiting
(`raycache.shard.careful`), and the streams' numbers (`outbox`). Belongs to one shard's loop.

Writes that go to the same outboxes are acknowledged in their order, so news are looked at from the front of a queue,
and no further than the first that must go on waiting. To ask each waiting command would cost a shard with too much to
do the more, the further it is behind.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from raycache.replication.neighbours import Boxes

Offsets = tuple[int, ...]
"""The number of a write in each of its outboxes."""


class Acks:
    """The writes of one shard that wait.

    Args:
        is_whole: whether a peer has everything that it should, so that it would be promoted.
    """

    def __init__(self, is_whole: Callable[[str], bool]) -> None:
        self._is_whole = is_whole
        self._queues: dict[tuple[Boxes, int], deque[tuple[Offsets, float, Callable[[], None]]]] = {}

    def copies(self, boxes: Boxes, offsets: Offsets) -> int:
        """Return how many others count as having a write.

        A copy that is being filled counts only beside a whole one that has the write, if there is a whole one: that one
        would be promoted, and what it lacks would be gone.
        """
        return _count(boxes, [self._is_whole(box.peer) for box in boxes], offsets)

    def wait(self, boxes: Boxes, offsets: Offsets, wanted: int, deadline_s: float, done: Callable[[], None]) -> None:
        """Call `done` when `wanted` others have a write; never after `deadline_s`, monotonic seconds."""
        queue = self._queues.get((boxes, wanted))
        if queue is None:
            queue = self._queues[boxes, wanted] = deque()
        queue.append((offsets, deadline_s, done))

    def step(self, now_s: float) -> None:
        """Look for what has come far enough, after news."""
        for key in list(self._queues):
            boxes, wanted = key
            queue = self._queues[key]
            wholes = [self._is_whole(box.peer) for box in boxes]
            kept = []
            # What was given up is had by nobody, though later ones may be.
            is_ordered = not any(box.gave_up(offset) for box, offset in zip(boxes, queue[0][0], strict=True))
            while queue:
                offsets, deadline_s, done = queue.popleft()
                if deadline_s < now_s:
                    continue
                if _count(boxes, wholes, offsets) >= wanted:
                    done()
                    continue
                kept.append((offsets, deadline_s, done))
                if is_ordered:
                    break
            queue.extendleft(reversed(kept))
            if not queue:
                del self._queues[key]


def _count(boxes: Boxes, wholes: list[bool], offsets: Offsets) -> int:
    count, is_known_to_whole = 0, False
    for box, is_whole, offset in zip(boxes, wholes, offsets, strict=True):
        if box.has(offset):
            count += 1
            is_known_to_whole = is_known_to_whole or is_whole
    return count if is_known_to_whole or True not in wholes else 0
