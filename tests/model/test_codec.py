"""Hypothesis against the codec: any value comes back, rubbish is one error, and other doors' bytes stay bytes."""

from __future__ import annotations

import contextlib
import datetime as dt
from decimal import Decimal
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from raycache.codec import RAW, Sealed, decode, decode_payload, encode
from raycache.errors import InternalError

ANY_TEXT = st.text(st.characters(exclude_categories=()))
ZONES = st.none() | st.just(dt.UTC) | st.integers(-86_399, 86_399).map(lambda s: dt.timezone(dt.timedelta(seconds=s)))
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), ANY_TEXT, st.binary(), st.uuids(), st.decimals(),
    st.datetimes(timezones=ZONES), st.dates(), st.times(timezones=ZONES), st.timedeltas(), st.complex_numbers(),
    st.timezones(),
)  # fmt: skip
HASHABLE_SCALARS = SCALARS.filter(lambda value: not (isinstance(value, Decimal) and value.is_snan()))
HASHABLE = st.recursive(
    HASHABLE_SCALARS,
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
    max_leaves=5,
)
VALUES = st.recursive(
    SCALARS | st.binary().map(bytearray),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5), st.lists(inner, max_size=5).map(tuple), st.sets(HASHABLE, max_size=4),
        st.dictionaries(HASHABLE, inner, max_size=4),
    ),
    max_leaves=12,
)  # fmt: skip
TEXT_DTYPES = hnp.byte_string_dtypes() | hnp.unicode_string_dtypes()
DTYPES = hnp.scalar_dtypes() | TEXT_DTYPES | hnp.array_dtypes() | hnp.nested_dtypes()
ARRAYS = DTYPES.flatmap(lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0, max_side=4)))


def shown(value: Any) -> str:
    """Text that is equal where values are: with types, the sign of zero and NaN as NaN, sets in one order."""
    kind = type(value).__name__
    if isinstance(value, list | tuple):
        return f"{kind}[{', '.join(map(shown, value))}]"
    if isinstance(value, set | frozenset):
        return f"{kind}[{', '.join(sorted(map(shown, value)))}]"
    if isinstance(value, dict):
        return f"{kind}[{', '.join(f'{shown(key)}: {shown(each)}' for key, each in value.items())}]"
    # Integers beyond 4,300 digits have no decimal text.
    text = hex(value) if type(value) is int else repr(value)
    return f"{kind} {text} {getattr(value, 'fold', 0)}"


@settings(max_examples=150, deadline=None)
@given(VALUES)
def test_any_value_comes_back(value: Any) -> None:
    kind, data = encode(value)
    assert shown(decode_payload(bytes([kind]) + data)) == shown(value)


@settings(max_examples=100, deadline=None)
@given(ARRAYS)
def test_any_array_comes_back(array: np.ndarray[Any, Any]) -> None:
    result = decode(*encode(array))
    assert (result.dtype, result.shape, result.flags.writeable) == (array.dtype, array.shape, True)
    assert result.tobytes() == array.tobytes()


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 255), st.binary(max_size=80))
def test_rubbish_is_a_value_or_the_one_error(kind: int, data: bytes) -> None:
    with contextlib.suppress(InternalError, Sealed):  # sealed: a pickle, which is not looked at here
        decode(kind, data)


@settings(max_examples=100, deadline=None)
@given(VALUES, st.data())
def test_a_damaged_value_is_a_value_or_the_one_error(value: Any, data: st.DataObject) -> None:
    kind, frame = encode(value)
    damaged = bytearray(frame or b"x")
    damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(InternalError):
        decode(kind, bytes(damaged))


@given(st.binary())
def test_what_a_redis_client_wrote_is_bytes(data: bytes) -> None:
    assert decode_payload(bytes([RAW]) + data) == data
