"""Deadlines of many requests with one timer: who is ended, when, and who has the last word."""

from __future__ import annotations

import asyncio
import time

import pytest

from serve_app.deadlines import Deadlines


def test_only_what_is_overdue_ends_and_the_rest_keeps_its_time() -> None:
    async def main() -> list[str]:
        deadlines, ended = Deadlines(), list[str]()
        now_s = time.monotonic()

        async def work(name: str, at_s: float) -> None:
            try:
                with deadlines.until(at_s):
                    await asyncio.Event().wait()
            except TimeoutError:
                ended.append(name)

        tasks = [asyncio.create_task(work(name, now_s + after_s))
                 for name, after_s in (("late", 300), ("soon", 100), ("later", 400))]
        await asyncio.sleep(0)
        deadlines.step(now_s + 99)
        await asyncio.sleep(0)
        assert (ended, len(deadlines)) == ([], 3)
        deadlines.step(now_s + 100)
        await asyncio.sleep(0)
        assert (ended, len(deadlines)) == (["soon"], 2)
        deadlines.step(now_s + 1000)
        await asyncio.gather(*tasks)
        deadlines.close()
        return ended

    assert asyncio.run(main()) == ["soon", "late", "later"]


def test_the_timer_is_set_for_the_first_and_again_for_the_next() -> None:
    async def main() -> None:
        deadlines = Deadlines()

        async def work(limit_s: float) -> float:
            with pytest.raises(TimeoutError), deadlines.until(time.monotonic() + limit_s):
                await asyncio.Event().wait()
            return time.monotonic()

        began_s = time.monotonic()
        ends_s = await asyncio.gather(work(0.03), work(0.01), work(0.02))
        assert all(end_s - began_s >= limit_s for end_s, limit_s in zip(ends_s, (0.03, 0.01, 0.02), strict=True))
        assert ends_s[1] <= ends_s[2] <= ends_s[0]
        assert len(deadlines) == 0

    asyncio.run(asyncio.wait_for(main(), 20))


def test_what_ends_in_time_is_left_alone() -> None:
    async def main() -> None:
        deadlines = Deadlines()
        with deadlines.until(time.monotonic() + 60):
            await asyncio.sleep(0)
        with pytest.raises(ValueError, match="of its own"), deadlines.until(time.monotonic() + 60):
            raise ValueError("of its own")
        deadlines.step(time.monotonic() + 100)
        await asyncio.sleep(0)  # would raise, had the task been cancelled
        deadlines.close()

    asyncio.run(main())


def test_a_cancellation_by_somebody_else_is_no_timeout() -> None:
    """As a client that is gone: Serve cancels the request's task."""
    async def main() -> str:
        deadlines = Deadlines()

        async def work() -> None:
            with deadlines.until(time.monotonic() + 60):
                await asyncio.Event().wait()

        found = []
        for both in (False, True):
            task = asyncio.create_task(work())
            await asyncio.sleep(0)
            task.cancel()
            if both:
                deadlines.step(time.monotonic() + 100)
            found.append((await asyncio.gather(task, return_exceptions=True))[0])
        deadlines.close()
        return " ".join(type(each).__name__ for each in found)

    assert asyncio.run(main()) == "CancelledError CancelledError"


def test_a_deadline_that_is_over_counts_for_nothing_where_the_work_was_done() -> None:
    async def main() -> int:
        deadlines = Deadlines()
        with deadlines.until(time.monotonic() + 60):
            try:
                deadlines.step(time.monotonic() + 100)
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                pass  # done, and somebody has swallowed it
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    assert asyncio.run(main()) == 0
