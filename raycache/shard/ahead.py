"""A turn of a run: GETs or SETs that came as one command over and over, without a list for each of them.

What lives here: the plain cases of such commands, once more, as long as each of them is plain. What does not: the rules
(`core`, `commands`), and whatever is not plain: there this stops, and the usual turn (`turn`) goes on from the very
command. A test holds that both give the same replies and counters.
"""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from raycache.resp.encode import CRLF, HEADERS, LED_HEADERS, NULLS, OK
from raycache.resp.runs import Run
from raycache.ring.slots import SLOT_COUNT
from raycache.shard.commands import DISPATCH
from raycache.store.entry import KIND_BITS

if TYPE_CHECKING:
    from raycache.shard.core import ShardCore
    from raycache.shard.session import Session
    from raycache.store import Entry

_BRACE: Final = 0x7B
_SLOT_MASK: Final = SLOT_COUNT - 1
_GET: Final = DISPATCH[b"GET"]
_SET: Final = DISPATCH[b"SET"]
_SHORT: Final = len(HEADERS) - 1
_GET_NAMES: Final = frozenset({b"GET", b"get"})
_SET_NAMES: Final = frozenset({b"SET", b"set"})


def run_ahead(core: ShardCore, session: Session, run: Run, out: list[bytes], most: int,
              settle: Callable[..., None]) -> bool | None:
    """Run what is plain at the head of `run`, at most `most` commands.

    Args:
        settle: tells the policy what was used and counts plain commands, as `turn` does.
    Returns:
        False when there are no more, True when the turn is over and more are waiting, None when the next one is not
        plain: then the usual turn goes on with what the run gives one by one.
    """
    if not session.plain or not run.is_whole or run.key_size > core.max_key_bytes:
        return None
    before = run.at
    if run.name in _GET_NAMES:
        _gets(core, session, run, out, most, settle)
        command = _GET
    elif run.name in _SET_NAMES and not core.watched and run.value_size <= core.large_value_bytes:
        _sets(core, run, out, most, settle)
        command = _SET
    else:
        return None
    count = run.at - before
    if count:
        session.command, session.last_ms = command, core.now_ms
        if core.touched:
            core.take_writes(session)
    return False if run.at == len(run.keys) else True if count == most else None


def _gets(core: ShardCore, session: Session, run: Run, out: list[bytes], most: int,
          settle: Callable[..., None]) -> None:
    append, owns_all, owned, now_ms = out.append, core.owns_all, core.owned, core.now_ms
    _, mask, on_hits, _, _, _, lookups = core.store.hot
    used: list[Entry] = []
    use = used.append
    headers, misses = HEADERS, 0
    keys = run.keys if not run.at and len(run.keys) <= most else run.keys[run.at : run.at + most]
    for key in keys:
        if not (owns_all or (_BRACE not in key and owned[crc_hqx(key, 0) & _SLOT_MASK] == 1)):
            break
        entry = lookups[hash(key) & mask].get(key)
        if entry is None:
            misses += 1
            if headers is LED_HEADERS:
                append(CRLF)
                headers = HEADERS
            append(NULLS[session.protocol])
            continue
        if (timer := entry.timer) is not None and timer <= now_ms:
            break
        value = entry.value
        if type(value) is not bytes or (size := len(value)) >= _SHORT:
            break
        use(entry)
        append(headers[size])
        append(value)
        headers = LED_HEADERS
    if headers is LED_HEADERS:
        append(CRLF)
    run.at += len(used) + misses
    settle(core, on_hits, used, 0, 0, misses)


def _sets(core: ShardCore, run: Run, out: list[bytes], most: int, settle: Callable[..., None]) -> None:
    """Overwrite values that are there, have no timer and the same length: nothing needs room, and nothing can fail."""
    owns_all, owned = core.owns_all, core.owned
    segments, mask, on_hits, on_update, is_use, wrote, _ = core.store.hot
    if on_update is None or not is_use:
        return
    used: list[Entry] = []
    use = used.append
    size, end = run.value_size, run.at + most
    assert run.values is not None
    for key, value in zip(run.keys[run.at : end], run.values[run.at : end], strict=True):
        if not (owns_all or (_BRACE not in key and owned[crc_hqx(key, 0) & _SLOT_MASK] == 1)):
            break
        entry: Any = segments[hash(key) & mask].get(key)
        if entry is None or entry.timer is not None or len(entry.value) != size:
            break
        entry.value = value
        use(entry)
        if wrote is None:
            entry.stamp = 0
        else:
            entry.stamp = entry.stamp >> KIND_BITS << KIND_BITS
            wrote(entry)
    count = len(used)
    if count:
        run.at += count
        out.append(OK * count)
        settle(core, on_hits, used, count)
