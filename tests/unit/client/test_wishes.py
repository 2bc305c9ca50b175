"""What may be asked of reads and writes, and what becomes of it on the wire."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from raycache.client.token import NOTHING, Token
from raycache.client.wishes import PLAIN, ReadWishes, write_options

OLD, NEW = Token(((0, 5),)), Token(((0, 9), (1, 1)))


def test_only_the_default_is_plain() -> None:
    assert ReadWishes().is_plain
    assert not any(wishes.is_plain for wishes in (ReadWishes("nearest"), ReadWishes(token=OLD), ReadWishes(r=1)))


def test_a_call_says_what_it_wants_and_the_handle_the_rest() -> None:
    handle = ReadWishes("nearest", OLD, 2)
    assert handle.but(None, None, 0) is handle
    assert handle.but("primary", None, 0) == ReadWishes("primary", OLD, 2)
    assert handle.but(None, NEW, 3) == ReadWishes("nearest", NEW, 3)
    assert PLAIN.but(None, OLD, 0) == ReadWishes(token=OLD)


@pytest.mark.parametrize("wrong", [{"read_from": "anywhere"}, {"r": -1}, {"r": 6}, {"r": True}, {"r": 1.0}])
def test_nonsense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        ReadWishes(**wrong)


def test_what_is_no_token_is_refused() -> None:
    with pytest.raises(TypeError, match=r"cache\.token"):
        ReadWishes(token={0: 1})  # type: ignore[arg-type]


@pytest.mark.parametrize(("acks", "w"), [(-1, 0), (0, 6), (True, 0), ("1", 0)])
def test_a_write_cannot_want_any_number_of_copies(acks: Any, w: Any) -> None:
    with pytest.raises(ValueError, match="must be an int from 0 to 5"):
        write_options(acks, w, 5.0)


def test_a_read_says_only_what_it_wants() -> None:
    def packed(wishes: ReadWishes, *, is_primary: bool, token: Token = NOTHING) -> Any:
        return msgpack.unpackb(wishes.packed(is_primary=is_primary, token=token, timeout_s=4.0), strict_map_key=False)

    assert packed(PLAIN, is_primary=True) == {"from": "primary"}
    assert packed(ReadWishes(r=2), is_primary=False) == {"from": "replica", "r": 2}
    wishes = ReadWishes("replica", NEW)
    assert packed(wishes, is_primary=False, token=NEW) == {"from": "replica", "token": {0: 9, 1: 1}, "timeout_ms": 250}


def test_a_copy_may_not_wait_for_longer_than_the_caller_would() -> None:
    assert ReadWishes(token=NEW).wait_s(0.2) == pytest.approx(0.05)
    assert PLAIN.wait_s(5.0) == 0.0
    assert msgpack.unpackb(write_options(1, 2, 0.5)) == {"acks": 1, "w": 2, "timeout_ms": 400}
    assert msgpack.unpackb(write_options(1, 0, 60.0))["timeout_ms"] == 1000
