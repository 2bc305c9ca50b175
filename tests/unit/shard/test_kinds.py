"""Which kinds a shard takes: pickles only where the cluster allows them, by whatever command they come."""

from __future__ import annotations

import pytest

from raycache.codec import LOADED, PICKLE, RAW
from raycache.codec.loaded import frame
from raycache.shard.commands.kinds import LOADED_KIND, NO_PICKLE, PICKLE_KIND
from tests.unit.shard.harness import Shard, parsed

BARE = (b"%d" % PICKLE, b"signed")
IN_A_FRAME = (b"%d" % LOADED, frame(PICKLE, b"signed", number=1, load_s=0.0, grace_ms=0))
HARMLESS = (b"%d" % LOADED, frame(RAW, b"plain", number=1, load_s=0.0, grace_ms=0))


def test_the_numbers_are_the_codecs() -> None:
    assert (PICKLE_KIND, LOADED_KIND) == (PICKLE, LOADED)


def commands(kind: bytes, value: bytes, token: bytes) -> list[list[bytes]]:
    """Return every command that stores a value of a kind."""
    return [
        [b"RC.SET", b"key", kind, value, b"0"], [b"RC.SET", b"key", kind, value, b"0", b"XX"],
        [b"RC.MSET", b"0", b"0", b"other", b"x", kind, b"key", value], [b"RC.CAS", b"key", b"0", kind, value, b"0"],
        [b"RC.PUT", b"key", kind, value, b"0", b"ANY"], [b"RC.MADD", b"key", kind, b"0", value],
        [b"RC.QUEUE", b"store", b"0", kind, b"key", value], [b"RC.FILL", b"key", token, kind, value, b"0"],
    ]


@pytest.mark.parametrize("number", range(8))
@pytest.mark.parametrize(("kind", "value"), [BARE, IN_A_FRAME], ids=["bare", "loaded"])
def test_no_command_stores_a_pickle_unless_it_is_allowed(kind: bytes, value: bytes, number: int) -> None:
    for allowed in (False, True):
        shard = Shard(allow_pickle=allowed)
        token = b"%d" % parsed(shard.raw("RC.LEASE", "1000", "0", "key", ""))[0]
        answer = parsed(shard.raw(*commands(kind, value, token)[number]))
        is_there = shard.run("EXISTS key") == 1
        if allowed:
            assert number == 1 or is_there  # XX: the key is absent
            assert not isinstance(answer, Exception)
        else:
            assert str(answer) == NO_PICKLE
            assert not is_there
            assert shard.run("EXISTS other") == 0


def test_what_was_loaded_and_is_no_pickle_needs_no_permission() -> None:
    shard = Shard()
    assert parsed(shard.raw("RC.SET", "key", *HARMLESS, "0")) == b"OK"


def test_a_kind_that_does_not_exist_is_another_error() -> None:
    assert str(parsed(Shard().raw("RC.SET", "key", "300", "x", "0"))).startswith("ERR kind must be")
