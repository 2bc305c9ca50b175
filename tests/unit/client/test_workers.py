"""Background threads of a handle: few, bounded in what waits for them, and gone when they are not needed."""

from __future__ import annotations

import queue
import sys
import threading

import pytest

from raycache.client import workers
from raycache.client.workers import MAX_QUEUED, MAX_WORKERS, Workers


def test_work_is_done_by_few_threads_and_too_much_is_refused() -> None:
    pool, go, done = Workers(), threading.Event(), threading.Semaphore(0)
    busy: set[int] = set()

    def work() -> None:
        busy.add(threading.get_ident())
        go.wait(10)
        done.release()

    taken = sum(pool.submit(work) for _ in range(MAX_WORKERS + 2 * MAX_QUEUED))
    assert MAX_QUEUED <= taken <= MAX_WORKERS + MAX_QUEUED
    go.set()
    for _ in range(taken):
        assert done.acquire(timeout=10)
    assert 1 <= len(busy) <= MAX_WORKERS
    assert pool.submit(done.release)
    assert done.acquire(timeout=10)
    assert pool.close() == []


def test_a_closed_one_takes_nothing_and_gives_back_what_was_not_begun() -> None:
    pool, go, begun = Workers(), threading.Event(), threading.Semaphore(0)

    def work() -> None:
        begun.release()
        go.wait(10)

    for _ in range(MAX_WORKERS):
        assert pool.submit(work)
        assert begun.acquire(timeout=10)
    assert pool.submit(go.set)
    assert pool.close() == [go.set]
    assert not pool.submit(work)
    go.set()
    pool.forget()
    assert not pool.submit(work)


def test_threads_end_when_there_is_nothing_to_do_and_others_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "IDLE_S", 0.001)
    pool, threads = Workers(), queue.Queue[threading.Thread]()
    for _ in range(3):
        assert pool.submit(lambda: threads.put(threading.current_thread()))
        thread = threads.get(timeout=10)
        thread.join(10)
        assert not thread.is_alive()
    pool.close()


def test_a_thread_that_has_just_taken_work_is_not_counted_on_for_more() -> None:
    """Else what comes next waits for ever behind work that hangs, though there may be more threads."""
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(100):
            pool, go, begun = Workers(), threading.Event(), threading.Semaphore(0)
            assert pool.submit(begun.release)
            assert begun.acquire(timeout=10)

            def work(go: threading.Event = go, begun: threading.Semaphore = begun) -> None:
                begun.release()
                go.wait(10)

            for _ in range(MAX_WORKERS):
                assert pool.submit(work)
            for _ in range(MAX_WORKERS):
                assert begun.acquire(timeout=5)
            go.set()
            pool.close()
    finally:
        sys.setswitchinterval(interval_s)
