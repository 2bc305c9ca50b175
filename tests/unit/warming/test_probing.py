"""The probe's thread, told what to do by events."""

from __future__ import annotations

import threading

import pytest

from raycache.warming.probing import Prober


def test_each_call_is_a_sample_and_one_that_fails_an_error_too() -> None:
    called, go_on = threading.Semaphore(0), threading.Semaphore(0)

    def probe() -> None:
        called.release()
        assert go_on.acquire(timeout=10)
        raise OSError("down")

    with Prober(probe, 0.001) as prober:
        assert called.acquire(timeout=10)
        go_on.release()
        assert called.acquire(timeout=10)  # the first one is over
        seen = prober.take()
        assert seen.errors == 1
        assert len([each for each in seen.latencies_s if each >= 0]) >= 1
        assert prober.take().errors == 0
        go_on.release(100)


def test_a_call_that_does_not_come_back_counts_with_its_time_so_far() -> None:
    called, go_on = threading.Event(), threading.Event()

    def probe() -> None:
        called.set()
        assert go_on.wait(10)

    with Prober(probe, 0.005) as prober:
        assert called.wait(10)
        ready = threading.Event()
        assert not ready.wait(0.02)
        assert max(prober.take().latencies_s) >= 0.02
        go_on.set()


@pytest.mark.parametrize("raises", [False, True])
def test_the_thread_ends_with_the_context(raises: bool) -> None:
    names = {thread.name for thread in threading.enumerate()}
    try:
        with Prober(lambda: None, 60):
            assert "raycache-probe" in {thread.name for thread in threading.enumerate()} - names
            if raises:
                raise RuntimeError
    except RuntimeError:
        pass
    assert "raycache-probe" not in {thread.name for thread in threading.enumerate()}


def test_without_a_probe_there_is_no_thread_and_nothing_to_see() -> None:
    with Prober(None, 1) as prober:
        assert "raycache-probe" not in {thread.name for thread in threading.enumerate()}
        assert prober.take().latencies_s == []
