"""One read that comes alone: the shortest way from its bytes to its reply, for a handle that waits for nothing else.

What lives here: RC.GET of a short string, once more, when it is all that has come, whole, and everything about it is
plain. What does not: the rules (`core`, `commands`), and whatever is not that plain: it goes through the parser and a
turn (`turn`) as always. A test holds that both give the same replies and counters.

A turn costs the same for one command as for many, and most of it is for the many: a parser that knows every framing, a
list of replies, a place where the turn may stop. A caller that sends one read and waits pays all of that each time, and
more than a busy loop would, since between two such reads the processor's caches have been somebody else's.
"""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from raycache.resp.encode import CRLF, HEADERS
from raycache.ring.slots import SLOT_COUNT
from raycache.shard.commands import DISPATCH
from raycache.shard.commands.handle import KIND_BYTES
from raycache.store.entry import KIND_MASK

if TYPE_CHECKING:
    from raycache.shard.core import ShardCore
    from raycache.shard.session import Session

LONE_START: Final = b"*2\r\n$6\r\nRC.GET\r\n$"
_LONGEST_KEY: Final = 250
_BRACE: Final = 0x7B
_SLOT_MASK: Final = SLOT_COUNT - 1
_SHORT: Final = len(HEADERS) - 1  # a payload has one byte more than its value
_RC_GET: Final = DISPATCH[b"RC.GET"]


def _leads() -> tuple[bytes, ...]:
    """Return, by the length of a whole command, what stands before its key: the length of the one gives the other's."""
    leads = {}
    for size in range(1, _LONGEST_KEY + 1):
        lead = LONE_START + b"%d\r\n" % size
        leads[len(lead) + size + len(CRLF)] = lead
    return tuple(leads.get(length, b"\0") for length in range(max(leads) + 1))


_LEADS: Final = _leads()
_MOST_BYTES: Final = len(_LEADS) - 1


def lone_read(core: ShardCore, session: Session, data: bytes, write: Callable[[bytes], None]) -> bool:
    """Run `data`, which begins with `LONE_START`, and `write` the reply. HOT.

    Who waits for the reply is woken before the policy hears of the hit and before it is counted: another core goes on
    meanwhile, and nobody else can ask this loop anything.

    Returns:
        False where that needs the usual way; then nothing has been done or counted.
    """
    length = len(data)
    if length > _MOST_BYTES or not session.plain or core.recording is not None:
        return False
    lead = _LEADS[length]
    if not data.startswith(lead) or not data.endswith(CRLF):
        return False
    key = data[len(lead) : -2]
    if not core.owns_all and (_BRACE in key or core.owned[crc_hqx(key, 0) & _SLOT_MASK] != 1):
        return False
    store, now_ms = core.store, core.now_ms
    segments, mask, on_hits, _, _, _, lookups = store.hot
    at = hash(key) & mask
    entry = segments[at].get(key)
    if entry is None or ((timer := entry.timer) is not None and timer <= now_ms):
        return False
    value = entry.value
    if type(value) is not bytes or (size := len(value)) >= _SHORT:
        return False
    write(HEADERS[size + 1] + KIND_BYTES[entry.stamp & KIND_MASK] + value + CRLF)
    if lookups is not segments:
        lookups[at].get(key)  # who watches look-ups shall see this one
    on_hits((entry,))
    store.stats.hits += 1
    core.plain += 1
    core.rc_gets += 1
    session.command, session.last_ms = _RC_GET, now_ms
    return True
