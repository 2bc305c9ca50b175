"""Commands that need the bytes of a value that is somewhere else, or compressed: they wait for them.

What lives here: `WholeNeeded`, which a handler raises before it has changed anything, and running it again when the
bytes are there. What does not: fetching them (`raycache.shard.objects`) or unpacking them (`raycache.packed`). Belongs
to the shard's loop.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Final, TypeVar

from raycache.packed import unpack
from raycache.shard.commands.command import Command, Refusal, Reply, Steps
from raycache.shard.wait import Wait
from raycache.store import LargeValue, PackedValue

if TYPE_CHECKING:
    from raycache.shard.core import ShardCore
    from raycache.shard.session import Session

T = TypeVar("T")
Remote = LargeValue | PackedValue

LOAD_S: Final = 5.0
"""How long a command waits: what Ray has written to disk comes back at some 200 MB/s."""
_NOT_YET: Final = ("TRYAGAIN the value has not come yet; inside a transaction nothing waits for it")


class WholeNeeded(Refusal):
    """A command needs all of `value`, and may be run again from its start."""

    def __init__(self, value: Remote) -> None:
        super().__init__(_NOT_YET)
        self.value = value


def whole_of(value: Remote) -> bytes:
    """Return the encoded value.

    Raises:
        WholeNeeded: it is not here yet.
    """
    if value.whole is None:
        raise WholeNeeded(value)
    return value.whole


def run_when_whole(core: ShardCore, session: Session, command: Command, argv: list[bytes],
                   needed: WholeNeeded) -> Steps:
    """Run a command that has raised `needed` again, when it can have what it needs."""
    keys = command.keys(argv)

    def run() -> Reply:
        if core.topology is not None and (refusal := core.slots.check(keys)) is not None:
            return core.counted_error(refusal)  # slots have moved meanwhile
        return command.handler(core, session, argv)

    try:
        reply = yield from with_whole(core, keys, run, needed)
        return reply if isinstance(reply, bytes) else (yield from reply)
    except Exception as error:
        return core.answer_failure(command, error)


def with_whole(core: ShardCore, keys: list[bytes], build: Callable[[], T],
               needed: WholeNeeded | None = None) -> Generator[Wait | None, None, T]:
    """Return what `build` does, which is called until it has all it needs; what is lost of `keys` it will not find.

    Raises:
        WholeNeeded: something has not come in time.
    """
    fetched: list[tuple[Remote, bytes]] = []
    try:
        while True:
            if needed is not None:
                data = yield from _load(core, keys, needed)
                if data is not None:
                    fetched.append((needed.value, data))
            for value, whole in fetched:
                value.whole = whole
            try:
                return build()
            except WholeNeeded as more:
                if needed is not None and more.value is needed.value:
                    raise  # under a key that the command does not name
                needed = more
            finally:
                for value, _ in fetched:
                    value.whole = None
    finally:
        fetched.clear()


def _load(core: ShardCore, keys: list[bytes], needed: WholeNeeded) -> Generator[Wait | None, None, bytes | None]:
    """Return the bytes of a value; None: they are lost, and so is its entry."""
    value = needed.value
    key = next((key for key in keys if _holds(core, key, value)), b"")
    wait = Wait(core.monotonic_s() + LOAD_S)
    if isinstance(value, PackedValue):
        core.unpack(value, wait.finish)
    elif core.objects is None:  # nobody can have it, and none could have come
        core.store.delete(key, core.now_ms)
        wait.finish(None)
    else:
        core.objects.load(value, key, wait.finish)
    if not wait.is_done:
        yield wait
    if not wait.is_done:
        raise needed
    data: bytes | None = wait.result
    return data


def _holds(core: ShardCore, key: bytes, value: Remote) -> bool:
    entry = core.store.peek(key, core.now_ms)
    return entry is not None and entry.value is value


def unpacked(packed: bytes) -> bytes:
    """Return what is in a compressed value; the bytes as they are if somebody has written something else."""
    try:
        return unpack(packed)[1]
    except ValueError:
        return packed
