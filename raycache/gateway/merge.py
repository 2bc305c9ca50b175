"""From the replies of several shards to the one reply a client expects.

What lives here: one function per merge rule; each takes the shards' raw replies in the order of the
plan's parts and returns one raw reply. What does not: which command uses which rule (`plan`), SCAN's
cursor (`scan`), INFO (`info`). Everything is pure; any thread may call it.

If a part failed, the whole reply is that error: an error inside an array would reach most client
libraries as a value. The error names the shard, and the other parts stand, as with any command that
was split (`docs/redis-differences.md`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from raycache.resp import encode
from raycache.resp.reply import Frame, elements, integer_of, is_error, is_null

Merge = Callable[[Sequence[Frame]], Frame]


def first_error(replies: Sequence[Frame]) -> Frame | None:
    """Return the first reply that is an error."""
    return next((reply for reply in replies if is_error(reply)), None)


def all_ok(replies: Sequence[Frame]) -> Frame:
    """Every shard did it: the reply that all gave."""
    return first_error(replies) or replies[0]


def total(replies: Sequence[Frame]) -> Frame:
    """The sum of integers: counts of what each shard did or has."""
    return first_error(replies) or encode.integer(sum(map(integer_of, replies)))


def concatenated(replies: Sequence[Frame]) -> Frame:
    """One array of all elements, shard after shard."""
    return first_error(replies) or encode.array([element for reply in replies for element in elements(reply)])


def united(replies: Sequence[Frame]) -> Frame:
    """One array of all elements, each once: several shards hold copies of them."""
    return first_error(replies) or encode.array(
        list(dict.fromkeys(element for reply in replies for element in elements(reply))))


def share_of_total(parts: int) -> Merge:
    """Return the rule for counts of things of which each stands in `parts` replies."""
    return lambda replies: first_error(replies) or encode.integer(-(-sum(map(integer_of, replies)) // parts))


def in_order(positions: Sequence[Sequence[int]], count: int) -> Merge:
    """Return the rule that puts elements back where the client asked for them.

    Args:
        positions: for each part, where its elements belong in the whole.
        count: how many there are in the whole.
    """

    def merge(replies: Sequence[Frame]) -> Frame:
        if (error := first_error(replies)) is not None:
            return error
        whole: list[Frame] = [b""] * count
        for places, reply in zip(positions, replies, strict=True):
            for place, element in zip(places, elements(reply), strict=True):
                whole[place] = element
        return encode.array(whole)

    return merge


def weighted_choice(rng: random.Random, protocol: int) -> Merge:
    """Return the rule of RANDOMKEY: the replies are (random key, number of keys) for each shard in turn.

    Each shard is taken in proportion to its keys, so each key of the cluster is as likely as another.
    """

    def merge(replies: Sequence[Frame]) -> Frame:
        if (error := first_error(replies)) is not None:
            return error
        keys, sizes = replies[0::2], [integer_of(size) for size in replies[1::2]]
        weights = [0 if is_null(key) else max(size, 1) for key, size in zip(keys, sizes, strict=True)]
        if not any(weights):
            return encode.null(protocol)
        return rng.choices(keys, weights)[0]

    return merge
