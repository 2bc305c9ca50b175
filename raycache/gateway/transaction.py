"""MULTI ... EXEC over several shards: one transaction per shard, replies back in the client's order.

What lives here: cutting a queue of commands into one portion per shard, and putting the replies
together. What does not: queueing (the gateway's own `ShardCore` does that, with Redis' checks),
sending (`executor`), WATCH (`watch`). Pure.

What is promised: each shard runs its portion as one transaction, in the queue's order, nothing between.
Portions on different shards run at different moments, and one may fail while another ran; then the
commands that did not run have the error as their reply. Whoever needs all or nothing keeps the keys on
one shard, with a common {tag}, or sets `split_transactions=False`, which refuses the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from raycache.gateway.merge import Merge
from raycache.gateway.plan import Answered, Plan, Scatter, Unserved, is_local
from raycache.resp import encode
from raycache.resp.reply import Frame, elements, is_error
from raycache.ring.topology import ShardInfo
from raycache.shard.commands.command import Command

Queued = tuple[Command, list[bytes]]
PlanCommand = Callable[[list[bytes], Command], Plan]
AnswerLocally = Callable[[list[bytes]], Frame]
"""Answers a command that `plan.is_local` names."""

NOT_SERVED: Final = encode.error("CLUSTERDOWN Hash slot not served; the command did not run")
SPLIT_REFUSED: Final = encode.error(
    "EXECABORT Transaction discarded because of: its keys live on several shards (split_transactions is off); "
    "nothing was changed. Keys with the same {tag} in their names always live together"
)


@dataclass(slots=True)
class Portion:
    """What one shard runs of a transaction: commands, and for each the place its reply belongs to."""

    shard: ShardInfo
    queue: list[Queued] = field(default_factory=list)
    places: list[tuple[int, int]] = field(default_factory=list)
    """(index in the whole queue, index among that command's parts)"""


@dataclass(slots=True)
class Transaction:
    """A queue cut into portions. `answers[i]` are the replies to the parts of the i-th command, as they come in."""

    portions: list[Portion]
    answers: list[list[Frame]]
    merges: list[Merge | None]

    def portion_answered(self, portion: Portion, reply: Frame) -> None:
        """Take in what the shard's EXEC said: an array, or an error that stands for each command of the portion."""
        replies: Sequence[Frame] = [reply] * len(portion.places) if is_error(reply) else elements(reply)
        for (index, part), answer in zip(portion.places, replies, strict=True):
            self.answers[index][part] = answer

    def result(self, failures: Sequence[Frame]) -> Frame:
        """Return EXEC's reply. `failures`: the errors of portions that failed whole; if all did, one is the reply."""
        if self.portions and len(failures) == len(self.portions):
            return failures[0]
        return encode.array([
            merge(answers) if merge is not None else answers[0]
            for merge, answers in zip(self.merges, self.answers, strict=True)
        ])


def cut(queue: Sequence[Queued], plan: PlanCommand, *, may_split: bool, also_touched: Sequence[str] = (),
        answer_locally: AnswerLocally | None = None) -> Transaction | Answered:
    """Return the transaction, or the refusal that stands for all of it.

    Args:
        queue: commands whose arity has been checked.
        plan: where one command goes.
        may_split: whether several shards may be involved.
        also_touched: ids of shards that are involved without running a command (their keys are watched).
        answer_locally: None: no command is local.
    """
    portions: dict[str, Portion] = {}
    local: list[int] = []
    transaction = Transaction([], [], [])
    for index, (command, argv) in enumerate(queue):
        if answer_locally is not None and is_local(command):
            local.append(index)
            transaction.answers.append([])
            transaction.merges.append(None)
            continue
        planned = plan(argv, command)
        if isinstance(planned, Answered) and is_error(planned.reply):
            return Answered(b"-EXECABORT Transaction discarded because of: " + planned.reply[1:])
        parts: Sequence[tuple[ShardInfo, list[bytes]]] = ()
        if isinstance(planned, ShardInfo):
            parts = [(planned, argv)]
        elif isinstance(planned, Scatter):
            parts = [(part.shard, part.argv) for part in planned.parts]
        transaction.answers.append([_known_answer(planned)] * max(1, len(parts)))
        transaction.merges.append(planned.merge if isinstance(planned, Scatter) else None)
        for number, (shard, part) in enumerate(parts):
            portion = portions.setdefault(shard.id, Portion(shard))
            portion.queue.append((command, part))
            portion.places.append((index, number))
    if not may_split and len(portions.keys() | set(also_touched)) > 1:
        return Answered(SPLIT_REFUSED)
    transaction.portions = list(portions.values())
    for index in local:  # only now that nothing refuses the whole
        assert answer_locally is not None
        transaction.answers[index] = [answer_locally(queue[index][1])]
    return transaction


def _known_answer(planned: Plan) -> Frame:
    """Return the reply where no shard is asked for one."""
    if isinstance(planned, Answered):
        return planned.reply
    return NOT_SERVED if isinstance(planned, Unserved) else b""
