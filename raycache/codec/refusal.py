"""What cannot be stored, and the way out.

What lives here: the error for a Python value that would not come back as it was, with the advice that fits its
type. Subclasses are refused as well (an `IntEnum`, a `defaultdict`, a namedtuple): storing them as their base
class would hand back something else than was given. Pure functions, any thread.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime
import enum
import inspect
from typing import Final

import numpy as np

from raycache.errors import CorruptValueError, UnsupportedTypeError

_BUILTINS: Final = (bool, int, float, str, bytes, bytearray, list, tuple, dict, set, frozenset, complex)
_LAST_RESORT: Final = "convert it to a dict, list, str, bytes or numpy array, or store bytes of your own serialiser"


def _way_out(value: object) -> str:
    if isinstance(value, enum.Enum):
        return "store its .value"
    if isinstance(value, memoryview):
        return "store bytes(value)"
    if dataclasses.is_dataclass(value):
        return "store dataclasses.asdict(value)"
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return "store value._asdict() or tuple(value)"
    if isinstance(value, np.ndarray):
        return "store np.array(value), the plain array"
    if isinstance(value, datetime.datetime):
        return "store value.to_pydatetime(), or a plain datetime"
    if isinstance(value, datetime.tzinfo):
        return "use datetime.timezone or a zoneinfo.ZoneInfo with a key"
    if isinstance(value, collections.abc.Generator | collections.abc.Iterator) or inspect.iscoroutine(value):
        return "store list(value)"
    for base in _BUILTINS:
        if isinstance(value, base):
            return f"store {base.__name__}(value)"
    for method in ("model_dump", "to_numpy", "numpy", "to_dict"):
        if callable(getattr(type(value), method, None)):
            return f"store value.{method}()"
    return _LAST_RESORT


def unsupported(value: object) -> UnsupportedTypeError:
    """Return the error for a value whose type is not stored; the text names the type and the way out."""
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return UnsupportedTypeError(f"cannot store a value of type {name}: {_way_out(value)}")


def unsupported_dtype(dtype: object) -> UnsupportedTypeError:
    """Return the error for an array whose elements are not plain bytes."""
    return UnsupportedTypeError(
        f"cannot store a numpy array of dtype {dtype!s}: convert it with .astype(...) to a number, string, bytes or "
        "datetime type, or store .tolist()"
    )


def too_deep(limit: int) -> UnsupportedTypeError:
    """Return the error for containers nested beyond `limit` levels."""
    return UnsupportedTypeError(
        f"cannot store a value nested deeper than {limit} levels (or one that contains itself): flatten it"
    )


def corrupt(kind: int, reason: object) -> CorruptValueError:
    """Return the error for stored bytes that no version of this codec wrote like this."""
    return CorruptValueError(f"the stored value (kind {kind}) cannot be decoded: {reason}")
