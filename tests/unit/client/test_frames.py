"""Frames that are put together from ready pieces are the same as those that are not."""

from __future__ import annotations

import pytest

from raycache.client import frames


@pytest.mark.parametrize("length", [0, 1, 9, 10, 1023, 1024, 5000])
def test_ready_pieces_make_the_same_commands(length: int) -> None:
    key = b"k" * length
    assert frames.get(key) == frames.command(b"RC.GET", key)
    assert frames.get_aged(key) == frames.command(b"RC.GETL", key)
    assert frames.get_stored(key) == frames.command(b"RC.STORED", key)
