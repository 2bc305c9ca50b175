"""Making stored and half-loaded values old: what both handles share of it.

What lives here: tags' new generations, and prefixes. Pure.
"""

from __future__ import annotations

import random
from collections.abc import Iterable

from raycache.client.arguments import several
from raycache.client.batches import SetMany
from raycache.client.scanning import key_form
from raycache.errors import UnsupportedTypeError
from raycache.loading.basics import tag_key

DELETE_BATCH = 500
"""Keys that `delete_prefix` looks at per step."""


def new_generations(tags: Iterable[str], rng: random.Random) -> SetMany:
    """Return the write that gives each of `tags` a generation that it never had.

    Raises:
        UnsupportedTypeError: a tag is no text.
        ValueError: a tag is empty.
    """
    keys = []
    for tag in several(tags):
        if not isinstance(tag, str):
            raise UnsupportedTypeError(f"a tag is text, not {type(tag).__name__}")
        if not tag:
            raise ValueError("a tag may not be empty")
        keys.append(tag_key(tag))
    return SetMany(keys, [rng.getrandbits(62) + 1 for _ in keys], None)


def prefix_bytes(prefix: str | bytes) -> bytes:
    """Return a prefix as it goes over the wire.

    Raises:
        UnsupportedTypeError: neither str nor bytes.
        ValueError: empty: that would be every key, which `clear` removes at once.
    """
    wire_prefix, _ = key_form(prefix)
    if not wire_prefix:
        raise ValueError("prefix is empty: use clear() to remove every key")
    return wire_prefix


def prefixes_bytes(prefixes: Iterable[str | bytes]) -> list[bytes]:
    """Return each of `prefixes` as `prefix_bytes` does.

    Raises:
        UnsupportedTypeError: `prefixes` is itself one, which would be taken for its letters.
    """
    if isinstance(prefixes, str | bytes):
        raise UnsupportedTypeError("one prefix was given where several are expected: write [prefix]")
    return [prefix_bytes(each) for each in prefixes]


def check_pause(pause_s: float) -> None:
    """Raise ValueError unless `pause_s` is a time to wait."""
    if not 0 <= pause_s < 1e6:
        raise ValueError(f"pause_s must be 0 or more, and below 1,000,000 s, not {pause_s!r}")
