"""Reads that any owner of a slot may answer: whom to ask next, with which command, and what to make of the rows.

What lives here: the state of one such read, of one key (`OneRead`) or many (`ManyReads`), for both handles; no I/O.
What does not: the order of owners (`routes.py`), sending (`owners.py`, `aio_owners.py`). One object per operation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, Generic, TypeVar

import hiredis

from raycache.client import frames, requests
from raycache.client.batches import Batch, GetMany, Part
from raycache.client.requests import Request
from raycache.client.results import Row, rows_of
from raycache.client.retry import RETRIED, Refusals, Silent, TooFew, reply_failure
from raycache.client.routes import Routes
from raycache.client.token import Token
from raycache.client.wishes import ReadFrom, ReadWishes
from raycache.errors import NotEnoughReplicasError

T = TypeVar("T")

# A shard answers RC.READ in one step, so a command of this many keys holds its loop for a millisecond or two.
MAX_KEYS: Final = 1024


class _Asking:
    """What is asked, and how long each copy is waited for: longer in every round, for a slow one is no dead one."""

    def __init__(self, wishes: ReadWishes, hedge_s: float, timeout_s: float) -> None:
        self._wishes = wishes
        self._timeout_s = timeout_s
        self.can_wait = bool(wishes.token or wishes.r)
        """Whether a copy may take its time for a good reason."""
        self.patience_s = hedge_s + wishes.wait_s(timeout_s)

    def plan(self, routes: Routes) -> tuple[ReadFrom, Token]:
        """Return which copies to ask first, and the token that they can be asked for.

        For what a lost shard has written and not passed on nobody can wait. Of the copies that are left the primary
        was chosen for having most of it.
        """
        wishes = self._wishes
        lost = [index for index, _ in wishes.token.versions if routes.is_down(f"s{index}")]
        if not lost:
            return wishes.read_from, wishes.token
        return "primary", Token(tuple(pair for pair in wishes.token.versions if pair[0] not in lost))

    def options(self, token: Token, *, is_primary: bool) -> bytes:
        """Return RC.READ's options."""
        return self._wishes.packed(is_primary=is_primary, token=token, timeout_s=self._timeout_s)


class OneRead(_Asking, Generic[T]):
    """A read of one key."""

    def __init__(self, key: bytes, from_row: Callable[[Row], T], wishes: ReadWishes, hedge_s: float,
                 timeout_s: float) -> None:
        super().__init__(wishes, hedge_s, timeout_s)
        self._key = key
        self._from_row = from_row

    def round(self, routes: Routes, slot: int, is_suspect: Callable[[int], bool]) -> Iterator[tuple[int, Request[T]]]:
        """Yield the owners to ask, suspects last, each with its command; the next round is more patient."""
        read_from, token = self.plan(routes)
        primary = routes.owners[slot]
        for index in sorted(routes.in_order(slot, read_from), key=is_suspect):
            options = self.options(token, is_primary=index == primary)
            yield index, requests.read(self._key, self._from_row, options)
        self.patience_s *= 2


class ManyReads(Batch, _Asking):
    """RC.READ of many keys; `rows` are in the order of the keys.

    A shard that has not answered, or not with values, is not asked again in the same round.
    """

    def __init__(self, keys: list[bytes], wishes: ReadWishes, hedge_s: float, timeout_s: float) -> None:
        Batch.__init__(self, keys)
        _Asking.__init__(self, wishes, hedge_s, timeout_s)
        self.rows: list[Row] = [[None, 0, b"", -1]] * len(keys)
        self.refusals = Refusals()
        self._failed: set[int] = set()
        self._suspects: set[int] = set()
        self._options = self.options(wishes.token, is_primary=True)

    def start(self, suspects: set[int]) -> None:
        """Begin a round: everybody may be asked again, `suspects` if there is nobody else."""
        self._failed = set()
        self._suspects = suspects
        self.refusals = Refusals()

    def next_parts(self, routes: Routes) -> Iterator[list[Part]]:
        """Return what to send next, rounds of at most one part per shard; nothing where nobody is left to be asked."""
        read_from, token = self.plan(routes)
        # Marked as for replicas where that is not sure: to a primary it makes no difference.
        while True:
            avoided = frozenset(self._failed | self._suspects)
            self._options = self.options(token, is_primary=read_from == "primary" and not avoided)
            wanted = len(self.pending)
            orphans, parts = self.rounds(routes.around(read_from, avoided))
            self.failed(orphans)
            if len(orphans) < wanted or not self._suspects:
                return parts
            self._suspects = set()

    def end(self) -> None:
        """End a round in which some keys were left; the next one is more patient."""
        self.patience_s *= 2

    def refused(self, part: Part, error: Exception) -> None:
        """Take in that a shard has not answered a part."""
        self.refusals.add(error)
        self._failed.add(part.shard)
        self.failed(part.positions)

    def take_or_refuse(self, part: Part, reply: Any) -> Exception | None:
        """Take any reply to `part`; return the failure, if others may be asked instead.

        Raises:
            RayCacheError: the command was refused for good.
        """
        if not isinstance(reply, hiredis.ReplyError):
            self.accept(part, reply)
            return None
        error = reply_failure(str(reply))
        if not isinstance(error, (*RETRIED, NotEnoughReplicasError)):
            raise error
        self.refused(part, error)
        return error

    def fitting(self, positions: list[int]) -> int:
        return MAX_KEYS

    def frame(self, positions: list[int]) -> bytes:
        return frames.get_wished(self._options, self._keys(positions))

    def accept(self, part: Part, reply: Any) -> None:
        for position, row in zip(part.positions, rows_of(reply, len(part.positions)), strict=True):
            self.rows[position] = row


def silent(host: str, port: int, patience_s: float) -> Silent:
    """Return the failure of a shard that has not answered in time."""
    return Silent(f"{host}:{port} has not answered within {patience_s * 1000:.0f} ms")


def take(batch: Batch, part: Part, reply: Any) -> Exception | None:
    """Do as `Batch.take` for a plain batch; a read that one copy cannot do alone may be asked elsewhere."""
    try:
        return batch.take(part, reply)
    except NotEnoughReplicasError as error:
        if not isinstance(batch, GetMany):
            raise
        batch.failed(part.positions)
        return TooFew(str(error))
