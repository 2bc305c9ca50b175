"""An interruption waits for the end of the block, and only until then."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from raycache.demo.interrupts import SIGNALS, put_off


def interrupted(number: int, done: list[str]) -> None:
    with put_off():
        os.kill(os.getpid(), number)
        done.append("the rest")


@pytest.mark.parametrize("number", SIGNALS)
def test_the_block_is_finished_first(number: int) -> None:
    before = signal.getsignal(number)
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        interrupted(number, done)
    assert done == ["the rest"]
    assert signal.getsignal(number) is before


def test_nothing_happens_without_a_signal() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with put_off():
        assert [signal.getsignal(number) for number in SIGNALS] != before
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_an_error_in_the_block_restores_the_handlers_too() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(LookupError), put_off():
        raise LookupError
    assert signal.getsignal(signal.SIGINT) is before


def test_other_threads_are_left_alone() -> None:
    failures: list[BaseException] = []

    def run() -> None:
        try:
            with put_off():
                pass
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert failures == []
