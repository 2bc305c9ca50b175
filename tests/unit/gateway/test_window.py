"""The window: what may be under way, and that it always lets something through."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from raycache.gateway.window import FIRST_COMMANDS, Window

BUDGET = 1024 * 1024


def roundtrip(window: Window, reply_bytes: int, request_bytes: int = 10) -> int:
    """Fill the window, then let all replies come; return how many commands fitted."""
    count = 0
    while window.is_open:
        window.started(request_bytes)
        count += 1
    for _ in range(count):
        window.finished(request_bytes, reply_bytes)
    return count


def test_it_starts_small_and_doubles_while_replies_are_small() -> None:
    window = Window(1024, BUDGET)
    assert [roundtrip(window, 5) for _ in range(6)] == [64, 128, 256, 512, 1024, 1024]
    assert FIRST_COMMANDS == 64


def test_large_replies_close_it_to_what_the_budget_holds() -> None:
    window = Window(1024, BUDGET)
    roundtrip(window, 5)
    roundtrip(window, 128 * 1024)
    assert roundtrip(window, 128 * 1024) == 8


def test_one_small_reply_does_not_open_it_again_but_many_do() -> None:
    window = Window(1024, BUDGET)
    roundtrip(window, 512 * 1024)
    assert roundtrip(window, 5) == 2
    assert roundtrip(window, 5) <= 8
    for _ in range(60):
        roundtrip(window, 5)
    assert roundtrip(window, 5) == 1024


def test_large_requests_close_it_too() -> None:
    assert roundtrip(Window(1024, BUDGET), 5, request_bytes=BUDGET // 4) == 4


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)), max_size=50))
def test_it_is_open_whenever_nothing_is_under_way(sizes: list[tuple[int, int]]) -> None:
    window = Window(100, BUDGET)
    for request_bytes, reply_bytes in sizes:
        assert window.is_open
        window.started(request_bytes)
        window.finished(request_bytes, reply_bytes)
        assert 1 <= window.size <= 100
    assert (window.commands, window.request_bytes) == (0, 0)
