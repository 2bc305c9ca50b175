"""The text of an argument: the same in every process, on every machine, whatever PYTHONHASHSEED is.

What lives here: which types have such a text, and what it is. What does not: the rest of a key (`naming`). Pure.

Two values have the same text only if they are equal and of the same type: 1, True, 1.0 and "1" are four texts. No text
has braces in it: a Redis client would take what stands between them for a hash tag, and everything that shares one
lies on one shard. Within text literals they are written as escapes.
"""

from __future__ import annotations

import dataclasses
import enum
import types
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from hashlib import blake2b
from pathlib import PurePath
from typing import Any, Final
from uuid import UUID

import numpy as np

MAX_DEPTH: Final = 32
"""Containers in containers: deeper ones are data rather than arguments, or contain themselves."""
DIGEST_BYTES: Final = 16
"""128 bits: two of a billion different arguments are alike with a probability of 1e-21."""
DECIMAL: Final = 10**4000
"""Ints from here on are written in hexadecimal digits: Python refuses to write so many decimal ones."""
LONG_BYTES: Final = 64
"""Longer bytes are written as their digest and length: nobody reads them."""

_OWN: Final = "__cache_key__"


class NoStableText(Exception):
    """A value has no text that is the same elsewhere; `value` is the part that has none."""

    def __init__(self, value: object, reason: str) -> None:
        super().__init__(reason)
        self.value = value
        self.reason = reason


def text_of(value: Any, depth: int = 0) -> str:
    """Return the text that stands for `value` in a key.

    None, bool, int, float, complex, str, bytes, bytearray, tuples, lists, dicts (in any order), sets, dates and times,
    Decimal, Fraction, UUID, paths, ranges, enums, dataclasses and named tuples (by their fields), numpy scalars and
    arrays (by their digest), classes and functions of a module (by name); and whatever has a `__cache_key__`, a method
    or an attribute, by that.

    Raises:
        NoStableText: anything else.
    Cost: linear in the size of `value`.
    """
    kind = type(value)
    if kind is str:
        return _quoted(value)
    if kind is int:
        return repr(value) if -DECIMAL < value < DECIMAL else hex(value)
    if kind is bool or value is None or kind is float:
        return repr(value)
    known = _BY_TYPE.get(kind)
    if known is not None:
        if depth > MAX_DEPTH:
            raise NoStableText(value, f"is nested more than {MAX_DEPTH} deep, or contains itself")
        return known(value, depth + 1)
    return _by_nature(value, kind, depth + 1)


def digest_of(data: bytes | memoryview) -> str:
    """Return 32 hexadecimal digits that stand for `data`."""
    return blake2b(data, digest_size=DIGEST_BYTES).hexdigest()


def name_of(thing: type | types.FunctionType) -> str:
    """Return where a class or function is found: module and qualified name."""
    return f"{thing.__module__}.{thing.__qualname__}"


def _quoted(text: str) -> str:
    shown = repr(text)
    if "{" in shown or "}" in shown:
        # A backslash of the text itself is doubled by repr, so that these escapes are no other text's.
        shown = shown.replace("{", "\\x7b").replace("}", "\\x7d")
    return shown


def _joined(values: Iterable[Any], depth: int) -> str:
    return ",".join([text_of(value, depth) for value in values])


def _tuple(value: tuple[Any, ...], depth: int) -> str:
    return f"({text_of(value[0], depth)},)" if len(value) == 1 else f"({_joined(value, depth)})"


def _list(value: list[Any], depth: int) -> str:
    return f"[{_joined(value, depth)}]"


def _dict(value: Mapping[Any, Any], depth: int) -> str:
    pairs = sorted([f"{text_of(key, depth)}:{text_of(each, depth)}" for key, each in value.items()])
    return f"dict({','.join(pairs)})"


def _set(value: Iterable[Any], depth: int) -> str:
    return f"{type(value).__name__}({','.join(sorted([text_of(each, depth) for each in value]))})"


def _bytes(value: bytes | bytearray, depth: int) -> str:
    name = "bytearray" if type(value) is bytearray else ""
    if len(value) > LONG_BYTES:
        return f"{name or 'bytes'}({len(value)}:{digest_of(bytes(value))})"
    shown = repr(bytes(value)).replace("{", "\\x7b").replace("}", "\\x7d")
    return f"{name}({shown})" if name else shown


def _moment(value: datetime | time, depth: int) -> str:
    zone, fold = value.tzinfo, f",fold={value.fold}" if value.fold else ""
    if zone is None or isinstance(zone, timezone):
        return f"{type(value).__name__}({value.isoformat()}{fold})"
    # Two zones with the same offset now are not the same zone tomorrow.
    name = getattr(zone, "key", None)
    if not isinstance(name, str):
        raise NoStableText(value, "has a time zone without a name")
    return f"{type(value).__name__}({value.isoformat()},{name}{fold})"


def _function(value: types.FunctionType, depth: int) -> str:
    if "<" in value.__qualname__:
        raise NoStableText(value, "is a lambda or a function within a function, of which there may be many")
    return name_of(value)


def _array(value: np.ndarray[Any, Any], depth: int) -> str:
    if value.dtype.hasobject or value.dtype.fields is not None:
        raise NoStableText(value, f"is an array of {value.dtype}, whose bytes do not say what is in it")
    data = np.ascontiguousarray(value)
    shape = "x".join(map(str, value.shape))
    return f"ndarray({value.dtype.str},{shape},{digest_of(data.reshape(-1).view(np.uint8).data)})"


_BY_TYPE: Final[dict[type, Callable[[Any, int], str]]] = {
    tuple: _tuple,
    list: _list,
    dict: _dict,
    set: _set,
    frozenset: _set,
    bytes: _bytes,
    bytearray: _bytes,
    complex: lambda value, depth: repr(value),
    range: lambda value, depth: repr(value),
    datetime: _moment,
    time: _moment,
    date: lambda value, depth: f"date({value.isoformat()})",
    timedelta: lambda value, depth: f"timedelta({value // timedelta(microseconds=1)}us)",
    Decimal: lambda value, depth: f"Decimal({value})",
    Fraction: lambda value, depth: f"Fraction({value})",
    UUID: lambda value, depth: f"UUID({value})",
    np.ndarray: _array,
    types.FunctionType: _function,
    types.MappingProxyType: _dict,
    type(...): lambda value, depth: "...",
}


def _by_nature(value: Any, kind: type, depth: int) -> str:
    """Return the text of a value whose type is not known by name but by what it is."""
    if depth > MAX_DEPTH:
        raise NoStableText(value, f"is nested more than {MAX_DEPTH} deep, or contains itself")
    if isinstance(value, type):
        return name_of(value).replace("{", "").replace("}", "")
    own = getattr(value, _OWN, None)
    if own is not None:
        return f"{name_of(kind)}({text_of(own() if callable(own) else own, depth)})"
    if isinstance(value, enum.Enum):
        # A flag of several bits may have no name of its own.
        return f"{name_of(kind)}.{value.name}" if value.name else f"{name_of(kind)}({text_of(value.value, depth)})"
    if dataclasses.is_dataclass(value):
        fields = [field.name for field in dataclasses.fields(value) if field.compare]
        return f"{name_of(kind)}({_named(((name, getattr(value, name)) for name in fields), depth)})"
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return f"{name_of(kind)}({_named(zip(value._fields, value, strict=True), depth)})"
    if isinstance(value, np.generic):
        if value.dtype.hasobject or value.dtype.fields is not None:
            raise NoStableText(value, f"is a numpy value of {value.dtype}")
        return f"{value.dtype.str}({_quoted(str(value))})"
    if isinstance(value, PurePath):
        return f"{kind.__name__}({_quoted(str(value))})"
    raise NoStableText(value, "has no text that is the same in every process")


def _named(pairs: Iterable[tuple[str, Any]], depth: int) -> str:
    return ",".join([f"{name}={text_of(value, depth)}" for name, value in pairs])
