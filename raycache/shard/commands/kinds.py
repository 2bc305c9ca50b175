"""Kinds of values as commands name them, and the one that a cluster has to allow: pickle.

What lives here: reading a kind, and refusing pickles. What does not: what kinds there are and how values of each are
written, which is the handles' business (`raycache.codec`); shards only pass it on. The two numbers are the codec's.

A cluster that does not allow pickles takes none, whoever writes: every command that names a kind comes by here. What
other shards send is believed, as everything that they send.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from raycache.shard.commands.command import Refusal
from raycache.store import PINNED_KIND

if TYPE_CHECKING:
    from raycache.shard.core import ShardCore

PICKLE_KIND: Final = 5
LOADED_KIND: Final = 6
"""A frame around a value of another kind, which its second byte tells."""
NO_PICKLE: Final = ("NOPICKLE this cluster takes no pickled values: it has to be started with allow_pickle=True "
                    "(raycache up --allow-pickle)")

KINDS: Final[Mapping[bytes, int]] = {b"%d" % kind: kind for kind in range(PINNED_KIND)}
_HARMLESS: Final[Mapping[bytes, int]] = {
    text: kind for text, kind in KINDS.items() if kind not in (PICKLE_KIND, LOADED_KIND)}


def kinds_taken(allow_pickle: bool) -> Mapping[bytes, int]:
    """Return the kinds that need no look at the value, by what commands call them."""
    return KINDS if allow_pickle else _HARMLESS


def kind_of(core: ShardCore, text: bytes, value: bytes) -> int:
    """Return the kind that `text` names, of `value`.

    Raises:
        Refusal: there is none, or it is a pickle where none may be.
    """
    kind = core.kinds_taken.get(text)
    if kind is None:
        kind = KINDS.get(text)
        if kind is None:
            raise Refusal(f"ERR kind must be 0 to {PINNED_KIND - 1}")
        check_pickle(core, kind, value)
    return kind


def check_pickle(core: ShardCore, kind: int, value: bytes) -> None:
    """Refuse a pickle, bare or loaded, in a cluster that does not allow them."""
    if core.allow_pickle or kind not in (PICKLE_KIND, LOADED_KIND):
        return
    if kind == PICKLE_KIND or value[1:2] == bytes([PICKLE_KIND]):
        raise Refusal(NO_PICKLE)
