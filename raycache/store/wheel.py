"""A hierarchical timer wheel: which entries expire soon, without sorting anything.

What lives here: timers in coarse buckets, and handing out those that are due, a bounded number
per call. What does not: removing the entries (`store.py`), and exactness: a read checks the
expiry itself, so the wheel only decides how long the dead keep their memory. Never the clock:
`now_ms` is handed in. One owner: the store.

Source: Varghese, Lauck, "Hashed and Hierarchical Timing Wheels", SOSP 1987, scheme 7.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from raycache.store.entry import Entry, Timer

# A dead entry keeps its memory for at most one tick plus one step. 128 ms is far below any TTL
# whose memory matters, and makes a step of 10 ms find nothing to do twelve times in thirteen.
TICK_BITS: Final = 7
# 5 levels of 64 buckets reach 8 s, 9 min, 9 h, 25 days, 4.4 years; what expires later waits in
# the last bucket and is placed again. More buckets a level would cost memory, fewer more moves.
LEVEL_BITS: Final = 6
LEVELS: Final = 5
_BUCKETS: Final = 1 << LEVEL_BITS
_BUCKET_MASK: Final = _BUCKETS - 1
_FARTHEST: Final = (1 << LEVEL_BITS * LEVELS) - 1
_LATEST_MS: Final = 1 << 53
"""Up to here a timer tells each millisecond from the next: 285,000 years."""


def _new_head() -> Timer:
    """Return an empty ring: a timer of no entry that follows itself."""
    head = Timer()
    head.prev = head.next = head
    return head


class TimerWheel:
    """Timers by the tick in which they expire. Every operation on one timer is O(1).

    Buckets are intrusive rings. When time passes a bucket, its whole ring is spliced onto the ring
    of due timers; `take_due` then looks at those one by one, and what turns out to expire later
    (it came from a coarser level) is placed anew. So a jump of the clock costs at most
    LEVELS * 64 splices, and the rest is bounded by the caller's budget.
    """

    def __init__(self, tick: int = 0) -> None:
        self._levels = [[_new_head() for _ in range(_BUCKETS)] for _ in range(LEVELS)]
        self._due = _new_head()
        self.tick = tick
        """Every bucket before this tick has been emptied. Only grows: a clock that goes back only delays."""
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def schedule(self, entry: Entry, expires_ms: int) -> None:
        """Give `entry` an expiry, or another one; it may lie in the past."""
        timer = entry.timer
        if timer is None:
            self._count += 1
        else:
            timer.prev.next = timer.next
            timer.next.prev = timer.prev
        timer = entry.timer = Timer(min(expires_ms, _LATEST_MS))
        timer.entry = entry
        self._place(timer)

    def cancel(self, entry: Entry) -> None:
        """Take the expiry of `entry` away. The timer's links are cut, so it dies without the cyclic collector."""
        timer = entry.timer
        if timer is None:
            return
        timer.prev.next = timer.next
        timer.next.prev = timer.prev
        entry.timer = None
        del timer.entry, timer.prev, timer.next
        self._count -= 1

    def take_due(self, now_ms: int, budget: int) -> list[Entry]:
        """Look at up to `budget` timers that may be due, and return the entries that have expired.

        The entries keep their timers: the caller must cancel them, or they are returned again.
        """
        self._advance(now_ms >> TICK_BITS)
        due = self._due
        expired: list[Entry] = []
        timer = due.next
        while timer is not due and budget > 0:
            budget -= 1
            following = timer.next
            if timer <= now_ms:
                expired.append(timer.entry)
            else:
                timer.prev.next = following
                following.prev = timer.prev
                self._place(timer)
            timer = following
        return expired

    @property
    def has_due(self) -> bool:
        """Whether there are timers to look at before time passes on."""
        return self._due.next is not self._due

    def close(self) -> None:
        """Cut the rings of an empty wheel, which would keep themselves alive where the cyclic collector is off."""
        for head in self._heads():
            del head.prev, head.next

    def timers(self) -> Iterator[Timer]:
        """Yield every timer. Cost: O(n); for tests."""
        for head in self._heads():
            timer = head.next
            while timer is not head:
                yield timer
                timer = timer.next

    def _heads(self) -> Iterator[Timer]:
        yield self._due
        for level in self._levels:
            yield from level

    def _place(self, timer: Timer) -> None:
        """Put a timer that is in no ring into the bucket that is passed soon after it expires."""
        tick = int(timer) >> TICK_BITS
        # A past expiry goes to the current bucket, not to the due ring: with a clock that went
        # back, a timer that is not due yet would otherwise come round again in the same step.
        ahead = min(max(tick - self.tick, 0), _FARTHEST)
        tick = self.tick + ahead
        level = 0
        while ahead >= _BUCKETS:
            ahead >>= LEVEL_BITS
            tick >>= LEVEL_BITS
            level += 1
        head = self._levels[level][tick & _BUCKET_MASK]
        timer.next = head
        timer.prev = head.prev
        head.prev.next = timer
        head.prev = timer

    def _advance(self, tick: int) -> None:
        """Splice every bucket that is passed on the way to `tick` onto the due ring."""
        start = self.tick
        if tick <= start:
            return
        self.tick = tick
        # The finest level holds exact ticks, so a bucket is due once its tick is over. A coarser
        # bucket is due when its span begins: its timers then fit into the level below.
        self._splice(self._levels[0], start, min(tick - start, _BUCKETS))
        for buckets in self._levels[1:]:
            start >>= LEVEL_BITS
            tick >>= LEVEL_BITS
            if tick == start:
                return
            self._splice(buckets, start + 1, min(tick - start, _BUCKETS))

    def _splice(self, buckets: list[Timer], first: int, count: int) -> None:
        due = self._due
        for index in range(first, first + count):
            head = buckets[index & _BUCKET_MASK]
            if head.next is head:
                continue
            oldest, youngest = head.next, head.prev
            head.next = head.prev = head
            oldest.prev = due.prev
            due.prev.next = oldest
            youngest.next = due
            due.prev = youngest
