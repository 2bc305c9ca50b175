"""What many threads wait for: all of them go on, whoever gives up in between."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from raycache.client.latch import Latch
from tests.support import wait_until


def test_nobody_goes_on_before_it_is_set_and_everybody_after() -> None:
    latch = Latch()
    assert not latch.wait(0)
    with ThreadPoolExecutor(100) as pool:
        waits = [pool.submit(latch.wait, 30) for _ in range(100)]
        wait_until(lambda: len(latch._waiting) == 100)
        latch.set()
        assert all(wait.result(30) for wait in waits)
    latch.set()
    assert latch.wait(0)
    assert not latch._waiting


@pytest.mark.parametrize("turn", range(20))
def test_who_gives_up_breaks_no_chain(turn: int) -> None:
    latch = Latch()
    with ThreadPoolExecutor(60) as pool:
        waits = [pool.submit(latch.wait, 0.0005 * (number % 3 + turn) if number % 2 else 30) for number in range(60)]
        wait_until(lambda: sum(wait.done() for wait in waits) + len(latch._waiting) == 60)
        latch.set()
        assert all(wait.result(30) for wait in waits[::2])
    assert not latch._waiting


def test_one_that_is_woken_and_gone_wakes_the_next() -> None:
    """As a wait does that is over in the moment in which it is woken, or that a signal ends."""
    latch = Latch()
    gone = [threading.Lock() for _ in range(4)]
    for lock in gone:
        lock.acquire()
        latch._waiting[lock] = None
    with ThreadPoolExecutor(1) as pool:
        last = pool.submit(latch.wait, 30)
        wait_until(lambda: len(latch._waiting) == 5)
        latch.set()
        assert not any(lock.locked() for lock in gone)
        latch._wake_next()
        assert last.result(30)
