"""How commands reach entries: the checks that every read or write of a key shares.

What lives here: key and value limits, the type check, telling watchers. What does not: entries and
eviction (`raycache.store`), any command.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar

from raycache.descriptor import descriptor_of
from raycache.resp import encode
from raycache.shard.commands.command import STRING_TOO_LONG, WRONG_TYPE, Handler, Refusal, Reply, Steps
from raycache.shard.commands.whole import whole_of
from raycache.store import LARGE_KIND, LargeValue, PackedValue, TypedValue, held

if TYPE_CHECKING:
    from raycache.shard.core import ShardCore
    from raycache.shard.session import Session
    from raycache.store import Entry

T = TypeVar("T")
PlainHandler = Callable[["ShardCore", "Session", list[bytes]], bytes]

KIND_RAW: Final = 0
KIND_INT: Final = 2

NO_OBJECT: Final = "NOOBJECT this shard has no such object waiting to be stored"

LARGE_VALUE_BYTES: Final = 128 * 1024
"""From here on a value may displace so many small ones that it would stop the loop: room is made in steps."""

LONG_KEYS: Final = 512
"""Keys a command handles in one go: about 0.3 ms. With more it runs in steps of so many."""


def refuse_key(core: ShardCore, key: bytes) -> NoReturn:
    """Refuse a key over the limit."""
    raise Refusal(f"ERR key is too large ({len(key)} bytes, at most {core.max_key_bytes})")


def refuse_write(core: ShardCore, key: bytes, value_bytes: int) -> NoReturn:
    """Refuse a key or value over the limits, whichever it is."""
    if len(key) > core.max_key_bytes:
        refuse_key(core, key)
    raise Refusal(STRING_TOO_LONG
                  if value_bytes > core.max_value_bytes else "ERR value is larger than the shard's memory")


def peek(core: ShardCore, key: bytes) -> Entry | None:
    """Return the live entry of `key`: not counted as a hit, not promoted."""
    if len(key) > core.max_key_bytes:
        refuse_key(core, key)
    return core.store.peek(key, core.now_ms)


def string_at(entry: Entry) -> bytes:
    """Return the entry's value, which must be a string."""
    return string_of(entry.value)


def string_of(value: object) -> bytes:
    """Return the string that a Redis client sees in `value`: all of it, or the body of what an HTTP client wrote."""
    if type(value) is bytes:
        return value
    if isinstance(value, TypedValue):
        return value.body
    if isinstance(value, LargeValue | PackedValue):
        return whole_of(value)
    raise Refusal(WRONG_TYPE)


def fetched_of(entry: Entry) -> tuple[int, bytes]:
    """Return kind and encoded value of an entry, those of a large value itself and not of its descriptor.

    Raises:
        Refusal: it is no string, or (`WholeNeeded`) is not here yet.
    """
    value = entry.value
    if not isinstance(value, bytes):
        raise Refusal(WRONG_TYPE)
    return (descriptor_of(value).kind, whole_of(value)) if isinstance(value, LargeValue) else (entry.kind, value)


def plain_of(entry: Entry) -> tuple[int, bytes]:
    """Return what `fetched_of` does, unpacked where it is compressed."""
    value = entry.value
    if not isinstance(value, PackedValue):
        return fetched_of(entry)
    whole = whole_of(value)
    return (value[0] if whole is not value else KIND_RAW), whole


def use(core: ShardCore, entry: Entry) -> None:
    """Take note that a large value was read, for the budget of objects."""
    if core.objects is not None:
        core.objects.use(entry.value)


def sent(core: ShardCore, key: bytes, value: bytes, kind: int) -> bytes:
    """Return the value that a handle sent as (kind, value), as the store keeps it. The object of a large one has come
    before, and waits under the name that was sent.

    Raises:
        Refusal: there is no such object.
    """
    if kind != LARGE_KIND:
        stored: bytes = held(value, kind)
        return stored
    claimed = core.objects.claim(value, key) if core.objects is not None else None
    if claimed is None:
        raise Refusal(NO_OBJECT)
    return claimed


def check_size(core: ShardCore, key: bytes, value_bytes: int) -> None:
    """Refuse a write over the limits before anything is built for it."""
    if len(key) > core.max_key_bytes or value_bytes > core.max_value_bytes or value_bytes > core.store.capacity_bytes:
        refuse_write(core, key, value_bytes)


def put(core: ShardCore, key: bytes, value: bytes, kind: int, expires_ms: int | None) -> None:
    """Store `value` under `key`, replacing whatever was there, and tell the watchers."""
    size = len(value)
    if len(key) > core.max_key_bytes or size > core.max_value_bytes or size > core.store.capacity_bytes:
        refuse_write(core, key, size)
    if kind == LARGE_KIND and type(value) is not LargeValue:  # a descriptor that somebody made up
        raise Refusal(NO_OBJECT)
    core.store.put(key, value, kind, expires_ms, core.now_ms)
    if core.watched:
        core.watch.touch(key)


def rewrite(core: ShardCore, entry: Entry, value: bytes, kind: int) -> None:
    """Give `entry` a new value, keep its expiry, and tell the watchers."""
    core.store.rewrite(entry, value, kind, core.now_ms)
    if core.watched:
        core.watch.touch(entry.key)


def remove(core: ShardCore, key: bytes) -> bool:
    """Delete `key` and tell the watchers; return whether it was there."""
    if len(key) > core.max_key_bytes:
        refuse_key(core, key)
    removed = core.store.delete(key, core.now_ms)
    if core.watched:
        (core.watch.touch if removed else core.watch.touch_absent)(key)
    return removed


def with_room(handler: PlainHandler, value_at: int) -> Handler:
    """Return `handler` for a command that stores `argv[1]`, whose value stands at `value_at`.

    A large value may displace many small ones: that is done in steps, before the handler runs.
    """

    def roomy(core: ShardCore, session: Session, argv: list[bytes]) -> Reply:
        if len(argv[value_at]) <= core.large_value_bytes:
            return handler(core, session, argv)
        check_size(core, argv[1], len(argv[value_at]))
        return core.in_steps(session, after_room(core, session, argv, argv[value_at], handler))

    return roomy


def after_room(core: ShardCore, session: Session, argv: list[bytes], value: object, handler: PlainHandler) -> Steps:
    """Evict step by step until `value` fits under `argv[1]`, then run `handler` in one go."""
    while core.store.reserve(argv[1], value, core.now_ms):
        yield None
    return handler(core, session, argv)


def in_chunks(keys: list[bytes], size: int = LONG_KEYS) -> Iterator[list[bytes]]:
    """Yield `keys` in pieces of at most `size`."""
    for start in range(0, len(keys), size):
        yield keys[start : start + size]


def in_pieces(core: ShardCore, session: Session, items: Sequence[T], size: int, encoded: Callable[[T], bytes],
              finished: Callable[[bytes], bytes]) -> Reply:
    """Return what `finished` makes of all items, each `encoded`: in steps of `size`, if there are more than that."""
    if len(items) <= size:
        return finished(b"".join([encoded(item) for item in items]))

    def steps() -> Steps:
        parts = []
        for start in range(0, len(items), size):
            parts.append(b"".join([encoded(item) for item in items[start : start + size]]))
            yield None
        return finished(b"".join(parts))

    return core.in_steps(session, steps())


def counting(each: Callable[[ShardCore, bytes], bool]) -> Handler:
    """Return the handler of a command that answers for how many of its keys `each` held."""

    def handler(core: ShardCore, session: Session, argv: list[bytes]) -> bytes | Steps:
        if len(argv) > LONG_KEYS + 1:
            return core.in_steps(session, steps(core, argv[1:]))
        return encode.integer(sum([each(core, key) for key in argv[1:]]))

    def steps(core: ShardCore, keys: list[bytes]) -> Steps:
        count = 0
        for chunk in in_chunks(keys):
            count += sum([each(core, key) for key in chunk])
            yield None
        return encode.integer(count)

    return handler


def run_whole(steps: Steps) -> bytes:
    """Run a long command without a pause, as a transaction must."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            reply: bytes = stop.value
            return reply
