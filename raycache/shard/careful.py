"""Commands on slots that need more than a look into the store: slots on their way here, and quorums.

What lives here: generators that wait for other shards before and after a command runs. What does not: commands, and the
messages (`raycache.replication`). Belongs to the shard's loop.

The command itself always runs here, at once, on what this shard holds. Before it, keys that may be newer elsewhere are
pulled and merged: from the giver, while their slot arrives; from other owners, in a quorum read. After it, in quorum
mode, the reply waits until enough owners have the write. So every command works in every mode, and none knows of it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from raycache.replication.quorum import Answer, Question, is_safe, newest, whole
from raycache.resp import encode
from raycache.ring.records import RECORD_PREFIX
from raycache.ring.slots import slot_of
from raycache.shard.wait import Wait
from raycache.store.departures import MOVED

if TYPE_CHECKING:
    from raycache.replication.arrival import Arrival
    from raycache.replication.neighbours import Boxes
    from raycache.shard.commands.command import Command, Steps
    from raycache.shard.core import ShardCore
    from raycache.shard.session import Session

PULL_S: Final = 0.5
"""How long a command waits for keys from another shard. Longer means that it is dead; then it is a miss."""
PROMPT_S: Final = 0.01
"""How long a quorum read waits for the copies that it needs before it asks the rest: several round trips."""
QUORUM_S: Final = 1.0
"""How long it waits for enough copies: long enough for one to be paused, short enough to be called quick."""

CUT_OFF: Final = encode.error("CLUSTERDOWN This shard has lost contact with the others and must not serve")
STARTING: Final = encode.error("TRYAGAIN This slot is being taken over")
_BLIND: Final = {"set", "setex", "psetex", "mset", "rc.set", "rc.mset"}
"""Commands that write whatever was there, unless a word after the value says otherwise."""
_CONDITIONS: Final = {b"NX", b"XX", b"GET", b"KEEPTTL", b"-1"}

Writes = dict["Boxes", tuple[int, ...]]
"""Where writes have gone: outboxes, and the number of the last one in each."""
Waiting = Generator[Wait | None, None, bool]
"""Steps that wait for something and then say whether it has come."""


class Independent(Generator[Wait | None, None, bytes]):
    """Steps of a command that may be under way together with others of its connection, on other keys than `keys`.

    Reads are independent, and writes that look at nothing: those change this shard's copy as soon as they are begun,
    in their order, and only their replies wait for other shards.
    """

    __slots__ = ("_steps", "keys")

    def __init__(self, steps: Steps, keys: list[bytes]) -> None:
        self._steps = steps
        self.keys = keys

    def send(self, value: None) -> Wait | None:
        """Do a step."""
        return self._steps.send(value)

    def throw(self, *error: Any) -> Wait | None:
        """Let a step end with an error."""
        return self._steps.throw(*error)


def is_independent(command: Command, argv: list[bytes]) -> bool:
    """Return whether a command on keys is a read, or a write that looks at nothing."""
    return is_blind(command, argv) if command.is_write() else command.is_read


def not_enough(have: int, need: int, what: str) -> bytes:
    """Return the error for too few copies."""
    return encode.error(f"NOREPLICAS {have} of the {need} copies needed {what}")


def until(core: ShardCore, condition: Callable[[], bool], deadline_s: float) -> Waiting:
    """Wait until `condition` holds, looking whenever a stream between shards has come further.

    It is looked at where the news arrive. To wake each command for them would cost ten times as much, and the more
    commands wait, the more often: a shard with too much to do would never catch up.
    """
    replicator = core.replicator
    assert replicator is not None
    while not condition():
        wait = Wait(deadline_s)
        look = partial(_finish_if, wait, condition)
        replicator.listeners[look] = None
        try:
            yield wait
        finally:
            replicator.listeners.pop(look, None)
        if not wait.is_done:
            return condition()
    return True


def _finish_if(wait: Wait, condition: Callable[[], bool]) -> None:
    if condition():
        wait.finish()


def run_carefully(core: ShardCore, session: Session, command: Command, argv: list[bytes], keys: list[bytes],
                  run: Callable[[], bytes | Steps], *, read: int = 0, write: int = 0,
                  wrote: Writes | None = None) -> Steps:
    """Run a command on `keys`, of which at least one slot is not served plainly.

    Args:
        run: runs it.
        read, write: how many copies a quorum read asks and a quorum write waits for; 0 = as configured.
        wrote: takes where its writes have gone.
    """
    replicator = core.replicator
    assert replicator is not None
    if not core.may_serve():
        return core.counted_error(CUT_OFF)
    if not (yield from _arrive(core, keys)):
        return core.counted_error(STARTING)
    if (refusal := core.slots.check(keys)) is not None:  # slots may have moved meanwhile
        return core.counted_error(refusal)
    is_quorum = replicator.mode == "quorum" and replicator.is_versioned
    default_read, default_write = replicator.config.quorums
    read, write = read or default_read, write or default_write
    is_write = command.is_write()
    if is_quorum:
        reachable = min((_reachable(core, key) for key in keys), default=read)
        need = max(read, write) if is_write else read
        if reachable < need:
            return core.counted_error(not_enough(reachable, need, "are alive"))
        if not (is_write and is_blind(command, argv)):
            refusal = yield from _read_quorum(core, keys, read)
            if refusal is not None:
                return core.counted_error(refusal)
    if (refusal := core.slots.check(keys)) is not None:  # slots may have moved meanwhile
        return core.counted_error(refusal)
    core.take_writes(session)
    writes: Writes = {} if wrote is None else wrote
    reply = run()
    if not isinstance(reply, bytes):
        reply = yield from _taking_writes(core, session, reply, writes)
    writes.update(core.take_writes(session))
    if is_quorum and writes and write > 1:
        have = yield from acknowledged(core, writes, write - 1, core.replicator_now_s + QUORUM_S)
        if have < write - 1:
            return core.counted_error(not_enough(have + 1, write, "have the write"))
    return reply


def _taking_writes(core: ShardCore, session: Session, steps: Steps, writes: Writes) -> Steps:
    """Run `steps`; what each writes goes to `writes` before others have their turns, and take it for theirs."""
    try:
        while True:
            wait = next(steps)
            writes.update(core.take_writes(session))
            yield wait
    except StopIteration as stop:
        reply: bytes = stop.value
        return reply
    finally:
        steps.close()


# Slots on their way here


def is_settled(core: ShardCore, keys: list[bytes]) -> bool:
    """Return whether a command on `keys` may run at once after all: what it needs of a transfer has come."""
    replicator = core.replicator
    if replicator is None or not replicator.is_plain:
        return False
    for key in keys:
        arrival = replicator.arrival_of(slot_of(key))
        if arrival is not None and (
            arrival.is_holding or not _is_abreast(core, arrival) or is_missing(core, arrival, key)
        ):
            return False
    return True


def _is_abreast(core: ShardCore, arrival: Arrival) -> bool:
    """Return whether everything that the giver wrote before it stopped is here."""
    replicator = core.replicator
    assert replicator is not None
    if not arrival.needs_clock or arrival.is_alone:
        return True
    stream = replicator.streams.get(arrival.giver)
    return stream is None or stream.clock >= arrival.needs_clock


def _arrive(core: ShardCore, keys: list[bytes]) -> Waiting:
    """Wait until the givers serve no more, and pull what is missing; False: the giver's writes are not all here yet."""
    replicator = core.replicator
    assert replicator is not None
    wanted: dict[str, list[bytes]] = {}
    for key in keys:
        arrival = replicator.arrival_of(slot_of(key))
        if arrival is None:
            continue
        if not (yield from _started(core, arrival)):
            return False
        if is_missing(core, arrival, key):
            wanted.setdefault(arrival.giver, []).append(key)
    if wanted:
        yield from _pull(core, wanted)
    return True


def _started(core: ShardCore, arrival: Arrival) -> Waiting:
    replicator = core.replicator
    assert replicator is not None
    deadline_s = arrival.began_s + 2 * PULL_S
    while arrival.is_holding:
        wait = Wait(deadline_s + PULL_S)
        arrival.on_started.append(wait.finish)
        yield wait
        if not wait.is_done:
            return False
    is_abreast = yield from until(core, lambda: _is_abreast(core, arrival), core.replicator_now_s + PULL_S)
    return is_abreast or not replicator.is_reachable(arrival.giver)


def is_missing(core: ShardCore, arrival: Arrival, key: bytes) -> bool:
    """Return whether only the giver can tell what `key` holds."""
    if arrival.only_records and not key.startswith(RECORD_PREFIX):
        return False
    if core.replicator is None or key in arrival.settled or core.whole.peek(key, core.now_ms) is not None:
        return False
    copies = core.replicator.copies
    # With versions a tombstone may be left of an earlier ownership; what the giver has tells which of both is newer.
    return copies.is_versioned or key not in copies.tombstones


def _pull(core: ShardCore, wanted: dict[str, list[bytes]]) -> Steps:
    replicator = core.replicator
    assert replicator is not None
    asked = {giver: list(dict.fromkeys(keys)) for giver, keys in wanted.items() if replicator.is_connected(giver)}
    wait = Wait(core.replicator_now_s + PULL_S)
    question = Question(asked, wait.deadline_s, wait.finish)
    if asked:
        replicator.ask(question)
        yield wait
    for giver, keys in wanted.items():
        for key in dict.fromkeys(keys):
            answer = question.answers.get(key, {}).get(giver)
            arrival = replicator.arrival_of(slot_of(key))
            if answer is None:
                replicator.transfers.misses += 1
                core.store.departures.note(key, MOVED, core.now_ms)
                if arrival is not None:
                    arrival.misses += 1
            elif answer[0] is not None:
                replicator.copies.merge(answer[0])
            elif arrival is not None:
                arrival.settle(key)
    return b""


# Quorums


def is_blind(command: Command, argv: list[bytes]) -> bool:
    return command.name in _BLIND and not any(word.upper() in _CONDITIONS for word in argv[3:])


def _reachable(core: ShardCore, key: bytes) -> int:
    replicator = core.replicator
    assert replicator is not None
    return 1 + sum(replicator.is_reachable(peer) for peer in replicator.others(slot_of(key)))


def _read_quorum(core: ShardCore, keys: list[bytes], read: int) -> Generator[Wait | None, None, bytes | None]:
    """Bring the newest versions here that `read` copies vouch for; return an error reply or None."""
    if read <= 1:
        return None
    replicator = core.replicator
    assert replicator is not None
    first: dict[str, list[bytes]] = {}
    rest: dict[str, list[bytes]] = {}
    for key in dict.fromkeys(keys):
        peers = [peer for peer in replicator.others(slot_of(key)) if replicator.is_reachable(peer)]
        # A copy that is being filled cannot tell what was never written from what has not come yet.
        peers.sort(key=replicator.is_filling)
        for place, peer in enumerate(peers):
            (first if place < read - 1 else rest).setdefault(peer, []).append(key)
    deadline_s = core.replicator_now_s + QUORUM_S
    wait = Wait(core.replicator_now_s + PROMPT_S if rest else deadline_s)
    question = Question(first, deadline_s, wait.finish)
    replicator.ask(question)
    yield wait
    answers = question.answers

    def is_settled() -> bool:
        return all(_settle(core, key, answers[key], read) is None for key in answers)

    if is_settled():
        return None
    if rest:  # one is slow, or does not know
        others = Question(rest, deadline_s, lambda: None, needed=0)
        others.answers = answers
        wait = Wait(deadline_s)

        def look() -> None:
            if not wait.is_done and ((question.is_complete and others.is_complete) or is_settled()):
                wait.finish()

        question.needed, question.on_done = 0, look
        others.on_done = look
        replicator.ask(others)
        yield wait
    for key in answers:
        if (refusal := _settle(core, key, answers[key], read, is_final=True)) is not None:
            return refusal
    return None


def _settle(core: ShardCore, key: bytes, answers: dict[str, Answer], read: int, *,
            is_final: bool = False) -> bytes | None:
    """Make what this shard holds for `key` what a read may see; return an error reply where that cannot be told."""
    replicator = core.replicator
    assert replicator is not None
    copies = replicator.copies
    mine = (copies.mutation_of(key), copies.floor_of(slot_of(key)))
    every = [mine, *answers.values()]
    if len(every) < read:
        return not_enough(len(every), read, "have answered")
    best = newest(every)
    if best is None:
        return None if whole(every) >= read else not_enough(whole(every), read, "are whole")
    if is_safe(every, best, read):
        copies.merge(best, is_vouched=True)
        for peer, (theirs, _) in answers.items():
            if theirs is None or theirs[1] < best[1]:
                replicator.outboxes[peer].add(best)
        return None
    if not is_final or whole(every) < read:
        return not_enough(whole(every), read, "are whole")
    # Nobody can say whether something newer was evicted: to a cache that is a miss.
    entry = core.store.peek(key, core.now_ms)
    if entry is not None:
        copies.forget(entry)
    return None


# Acknowledgements


def acknowledged(core: ShardCore, writes: Writes, wanted: int,
                 deadline_s: float) -> Generator[Wait | None, None, int]:
    """Wait until `wanted` others have each of `writes`; return how many have all of them by then (see `Acks`)."""
    replicator = core.replicator
    assert replicator is not None
    acks = replicator.acks

    def count() -> int:
        return min((acks.copies(boxes, offsets) for boxes, offsets in writes.items()), default=0)

    if len(writes) != 1:
        yield from until(core, lambda: count() >= wanted, deadline_s)
        return count()
    (boxes, offsets), = writes.items()
    while (have := count()) < wanted:
        wait = Wait(deadline_s)
        acks.wait(boxes, offsets, wanted, deadline_s, wait.finish)
        yield wait
        if not wait.is_done:
            return count()
        # The copy that had it may count no more: a newer topology fills it anew.
    return have
