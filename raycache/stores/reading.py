"""What both handles need for loading from a store: the options, and what stands for "the database has it not either".

Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from raycache.client.arguments import encode_keys

K = TypeVar("K", str, bytes)

_WORD: Final = "\0raycache: there is no such row"
NOTHING: Final = (_WORD,)
"""Loaded in place of a value, passed on to those who wait, and never stored."""


def is_something(value: Any) -> bool:
    """Return whether `value` is one, and not `NOTHING`. Never compares what may be an array."""
    return not (type(value) is tuple and len(value) == 1 and type(value[0]) is str and value[0] == _WORD)


def load_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return options for `get_or_load`.

    Raises:
        TypeError: `cache_if` is among them.
    """
    if "cache_if" in given:
        raise TypeError("cache_if cannot be set here: what the database has is stored")
    return {**given, "cache_if": is_something}


def value_of(loaded: Mapping[bytes, Any], key: bytes) -> Any:
    """Return what was loaded for `key`, or `NOTHING`."""
    return loaded.get(key, NOTHING)


def named(loaded: Mapping[bytes, Any], keys: Sequence[K]) -> dict[K, Any]:
    """Return what was loaded under the names that the caller has for `keys`."""
    wire_keys = encode_keys(list(keys))
    return {key: loaded[wire_key] for key, wire_key in zip(keys, wire_keys, strict=True) if wire_key in loaded}
