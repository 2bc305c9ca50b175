"""Questions for keys to other owners, and what may be concluded from their answers.

What lives here: `Question` (who was asked, who answered, when that is enough) and the rule of quorum reads. What does
not: sending, and what a command does next (`raycache.shard.careful`). Belongs to one shard's loop.

The rule: an answer is *known* if it has the key (an entry or a tombstone) or if what its copy may have evicted is older
than the newest version found. The newest version is safe to serve if as many copies as a read asks for, this one
included, are known. One that is not safe may be older than an acknowledged write whose copies were evicted.

A copy that is still being filled knows only what it has, and only if nobody has anything newer. With too few whole
copies nobody can tell a key that was never written from one that has not come yet: then there is no answer.
"""

from __future__ import annotations

from collections.abc import Callable

from raycache.replication.copies import NOT_WHOLE
from raycache.replication.mutation import Mutation

Answer = tuple[Mutation | None, int]
"""What a copy has for a key, and up to which version it may have evicted (its floor), or `NOT_WHOLE`."""


class Question:
    """Asks some peers for some keys; calls `on_done` when each has answered or is gone, or when it is enough."""

    def __init__(self, asked: dict[str, list[bytes]], deadline_s: float, on_done: Callable[[], None],
                 needed: int | None = None) -> None:
        """Make a question.

        Args:
            asked: the keys to ask each peer for.
            deadline_s: when nobody waits for it any more; monotonic seconds.
            needed: how many answers are enough for each key; None: all that were asked.
        """
        self.asked = asked
        self.deadline_s = deadline_s
        self.on_done = on_done
        self.needed = needed
        self.answers: dict[bytes, dict[str, Answer]] = {key: {} for keys in asked.values() for key in keys}
        self._open = set(asked)

    @property
    def is_complete(self) -> bool:
        """Whether nobody is left who may answer."""
        return not self._open

    def answered(self, peer: str, answers: list[Answer]) -> None:
        """Take in what a peer says, in the order of its keys."""
        for key, answer in zip(self.asked.get(peer, ()), answers, strict=False):
            self.answers[key][peer] = answer
        self.gone(peer)

    def gone(self, peer: str) -> None:
        """Take in that a peer has answered or will not."""
        self._open.discard(peer)
        if self.is_complete or self._is_enough():
            self.on_done()

    def _is_enough(self) -> bool:
        needed = self.needed
        return needed is not None and all(len(answers) >= needed for answers in self.answers.values())


def newest(answers: list[Answer]) -> Mutation | None:
    """Return the mutation with the largest version, None where nobody has any."""
    found = [mutation for mutation, _ in answers if mutation is not None]
    return max(found, key=lambda mutation: mutation[1]) if found else None


def whole(answers: list[Answer]) -> int:
    """Return how many of `answers` come from copies that have had everything, whatever they evicted since."""
    return sum(floor != NOT_WHOLE for _, floor in answers)


def is_safe(answers: list[Answer], best: Mutation, needed: int) -> bool:
    """Return whether `needed` of `answers` are known, in the sense of the rule above."""
    return sum(_is_known(mutation, floor, best[1]) for mutation, floor in answers) >= needed


def _is_known(mutation: Mutation | None, floor: int, best: int) -> bool:
    if floor == NOT_WHOLE:  # it may be about to learn of something newer
        return mutation is not None and mutation[1] >= best
    return mutation is not None or floor < best
