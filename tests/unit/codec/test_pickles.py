"""Signed pickles: what is signed comes back, and nothing else is ever unpickled."""

from __future__ import annotations

import enum
import hmac
import pickle
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raycache.codec import MSGPACK, PICKLE, TEXT, Pickles, Sealed, decode, decode_payloads, encode
from raycache.codec.pickles import loaded
from raycache.errors import CorruptValueError, PickleRefusedError, UnsupportedTypeError


class Colour(enum.IntEnum):
    RED = 1


class Bomb:
    """Runs code where it is unpickled."""

    def __reduce__(self) -> object:
        return pytest.fail, ("a value was unpickled",)


PICKLES = Pickles(lambda: "open sesame")


def opened(frame: bytes, pickles: Pickles | None = PICKLES) -> object:
    with pytest.raises(Sealed) as sealed:
        decode(PICKLE, frame)
    return loaded(sealed.value, pickles)


@pytest.mark.parametrize("value", [Fraction(1, 3), Colour.RED, {"part": [Fraction(2, 7)]}, range(5)])
def test_other_types_come_back(value: object) -> None:
    kind, frame = PICKLES.encode(value)
    found = opened(frame)
    assert kind == PICKLE
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(("value", "kind"), [("text", TEXT), ({"a": 1}, MSGPACK)])
def test_what_can_be_stored_without_is(value: object, kind: int) -> None:
    assert PICKLES.encode(value) == encode(value)
    assert encode(value)[0] == kind


def test_a_handle_that_loads_none_says_so() -> None:
    _, frame = PICKLES.encode(Bomb())
    with pytest.raises(PickleRefusedError, match="connect with allow_pickle=True"):
        opened(frame, None)


@pytest.mark.parametrize("other", ["open sesame!", "", "OPEN SESAME"])
def test_another_clusters_signature_does_not_count(other: str) -> None:
    _, frame = Pickles(lambda: other).encode(Bomb())
    with pytest.raises(PickleRefusedError, match="not signed with the cluster's secret"):
        opened(frame)


@given(st.data())
def test_whatever_is_changed_is_not_loaded(data: st.DataObject) -> None:
    _, frame = PICKLES.encode(Bomb())
    at = data.draw(st.integers(0, len(frame) - 1))
    flipped = bytes([frame[at] ^ data.draw(st.integers(1, 255))])
    changed = data.draw(st.sampled_from([frame[:at], frame[:at] + flipped + frame[at + 1 :], frame + b"."]))
    with pytest.raises(PickleRefusedError):
        opened(changed)


@pytest.mark.parametrize("frame", [b"", b"\x01", pickle.dumps(Bomb()), b"\x01" + bytes(32) + pickle.dumps(Bomb())])
def test_a_bare_pickle_is_not_loaded(frame: bytes) -> None:
    with pytest.raises(PickleRefusedError):
        opened(frame)


def test_what_cannot_be_pickled_is_refused_as_ever() -> None:
    with pytest.raises(UnsupportedTypeError, match=r"cannot store a value of type .*nor can it be pickled"):
        PICKLES.encode(lambda: None)


def test_a_class_that_is_not_here_is_told() -> None:
    with pytest.raises(CorruptValueError, match="no_such_module"):
        opened(_signed(b"cno_such_module\nThing\n."))


def test_without_the_secret_nothing_is_signed() -> None:
    with pytest.raises(PickleRefusedError, match="does not know it"):
        Pickles(lambda: None).encode(Colour.RED)


def test_the_secret_may_change() -> None:
    secrets = ["first"]
    pickles = Pickles(lambda: secrets[0])
    _, before = pickles.encode(Colour.RED)
    secrets[0] = "second"
    _, after = pickles.encode(Colour.RED)
    assert opened(after, pickles) is Colour.RED
    with pytest.raises(PickleRefusedError):
        opened(before, pickles)


def test_among_many_values_a_pickle_is_one_error_and_no_corrupt_value() -> None:
    kind, frame = PICKLES.encode(Colour.RED)
    with pytest.raises(Sealed):
        decode_payloads([b"\x00a", bytes([kind]) + frame])


def test_it_travels_as_the_error_that_it_is() -> None:
    error = pickle.loads(pickle.dumps(Sealed(b"frame")))
    assert type(error) is PickleRefusedError
    assert str(error) == str(Sealed(b"frame"))


def _signed(data: bytes) -> bytes:
    """Return a frame around pickled bytes that no `dumps` would make."""
    key = hmac.digest(b"open sesame", b"raycache signed pickle 1", "sha256")
    return b"\x01" + hmac.digest(key, data, "sha256") + data
