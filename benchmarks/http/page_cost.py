"""What does the page cost? Its first paint in a browser, and what a watched cluster's shards pay for being watched.

Sixteen shards as Ray actors, idle but for what asks them. The page is served by uvicorn in this process and opened in
Debian's chromium. First paint: `performance`'s own first-contentful-paint, in a fresh context each time, with nothing
cached. A shard's cost: what the kernel says its process ran for while somebody looked, less what it ran for as long
while nobody did, in turns. One look a second disappears in what an idle shard does anyway; so the goal is judged by the
very same looks made twenty times as often, divided by how many there were, and the page itself is shown beside it.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

import uvicorn
from fastapi import FastAPI

from benchmarks.harness.parts import Part
from benchmarks.harness.product import Product, running_cluster, running_ray
from benchmarks.harness.report import Figure, Goal, Outcome, Series
from benchmarks.harness.rounds import Step, idle_check, interleave
from benchmarks.harness.servers import HOST, ServerFailedError
from benchmarks.harness.stats import median
from raycache.client import AsyncCache
from raycache.client.looking import look_at_shards
from raycache.connecting import connect_async
from serve_app.page import page_router
from serve_app.page.poller import ANSWER_S, HOT_KEYS

SHARDS: Final = 16
MEMORY_BYTES: Final = SHARDS * (16 << 20)
PAINT_GOAL: Final = Goal("<", 1000.0)
CPU_GOAL: Final = Goal("<", 1.0)
PAINT: Final = "page with 16 shards, first contentful paint"
CPU: Final = "one look a second at 16 shards, of a shard's core"
_LOOKS_PER_S: Final = 20
_SETTLE_S: Final = 3.0


class Amount(Protocol):
    """What this part wants to know of how much to do."""

    @property
    def quick(self) -> bool: ...
    @property
    def rounds(self) -> int: ...


class _Handles:
    def __init__(self, name: str) -> None:
        self._name = name
        self._handle: AsyncCache | None = None

    async def handle(self, name: str = "") -> AsyncCache:
        if self._handle is None:
            self._handle = await connect_async(self._name)
        return self._handle

    async def names(self) -> list[str]:
        return [self._name]


@contextmanager
def served_page(name: str) -> Iterator[str]:
    """Serve the page of cluster `name` on a free port of loopback; yield its URL."""
    application = FastAPI()
    application.include_router(page_router(_Handles(name)))
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        server = uvicorn.Server(uvicorn.Config(application, log_level="error", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[sock])), daemon=True)
        thread.start()
        try:
            yield f"http://{HOST}:{sock.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join(10)


@contextmanager
def chromium() -> Iterator[Any]:
    """Run Debian's chromium.

    Raises:
        ServerFailedError: it is not installed.
    """
    path = shutil.which("chromium")
    if path is None:
        raise ServerFailedError("chromium not found; on Debian: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser: Any, url: str) -> Iterator[Any]:
    """Open the page in a fresh context; yield it when it shows all shards."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    try:
        page = context.new_page()
        page.goto(url)
        page.wait_for_selector(f"#shards tbody tr:nth-child({SHARDS})", timeout=30_000)
        yield page
    finally:
        context.close()


def paint_ms(browser: Any, url: str) -> tuple[float, float]:
    """Return milliseconds from the navigation to the first paint, and until all shards are shown."""
    with opened(browser, url) as page:
        shown: float = page.evaluate("performance.now()")
        first: float = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        return first, shown


def cpu_s(pid: int) -> float:
    """Return for how long the threads of a process have run, in seconds, as the scheduler counts: by nanoseconds."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except OSError:
            continue  # it ended while we looked
    return total / 1e9


def used(pids: list[int], seconds: float) -> list[float]:
    """Return how much of a core each process took during the next `seconds`, in per cent."""
    before, began_s = [cpu_s(pid) for pid in pids], time.monotonic()
    time.sleep(seconds)
    took_s = time.monotonic() - began_s
    return [100 * (cpu_s(pid) - past) / took_s for pid, past in zip(pids, before, strict=True)]


@contextmanager
def looking(name: str) -> Iterator[Callable[[], int]]:
    """Look at a cluster as the page does, but more often; yield what tells how many looks there were.

    Raises:
        ServerFailedError: a look found a shard that does not answer, or nothing at all.
    """
    looks, is_over = [0], threading.Event()
    silent, failed = list[str](), list[Exception]()

    async def look() -> None:
        async with await connect_async(name) as cache:
            due_s = time.monotonic()
            while not is_over.is_set():
                silent.extend((await look_at_shards(cache, HOT_KEYS, ANSWER_S)).use.unreachable)
                looks[0] += 1
                due_s = max(due_s + 1 / _LOOKS_PER_S, time.monotonic())
                await asyncio.sleep(max(0.0, due_s - time.monotonic()))

    def run_looks() -> None:
        try:
            asyncio.run(look())
        except Exception as error:  # told by who waits for the figures
            failed.append(error)

    thread = threading.Thread(target=run_looks, daemon=True)
    thread.start()
    try:
        yield lambda: looks[0]
    finally:
        is_over.set()
        thread.join(10)
    if failed or not looks[0]:
        raise ServerFailedError(f"the cluster could not be looked at: {failed}")
    if silent:
        raise ServerFailedError(f"these shards did not answer: {sorted(set(silent))}")


def run(amount: Amount, step: Step) -> Outcome:
    """Open the page several times, then watch the shards with and without it."""
    outcome = Outcome("page", facts={"shards": SHARDS, "busy_cores_before": idle_check()})
    step(f"starting {SHARDS} shards")
    with (
        running_ray(), running_cluster(SHARDS, MEMORY_BYTES) as product, served_page(product.name) as url,
        chromium() as browser,
    ):  # fmt: skip
        outcome.facts["browser"] = browser.version
        step("opening the page")
        paint_ms(browser, url)  # warm-up: the browser's own first page
        paints = [paint_ms(browser, url) for _ in range(amount.rounds)]
        _watch(product, browser, url, amount, step, outcome)
    first, shown = [one for one, _ in paints], [one for _, one in paints]
    outcome.figures.insert(0, Figure(PAINT, PAINT_GOAL, median(first), "ms", tuple(first)))
    outcome.series += [Series("first paint", "ms", first), Series("all shards shown", "ms", shown)]
    return outcome


def _watch(product: Product, browser: Any, url: str, amount: Amount, step: Step, outcome: Outcome) -> None:
    pids, seconds = [product.shard_pid(index) for index in range(SHARDS)], 4.0 if amount.quick else 10.0
    looks: list[float] = []

    def watched() -> list[float]:
        with opened(browser, url):
            time.sleep(_SETTLE_S)
            return used(pids, seconds)

    def alone() -> list[float]:
        time.sleep(_SETTLE_S)
        return used(pids, seconds)

    def looked_at() -> list[float]:
        with looking(product.name) as count:
            time.sleep(_SETTLE_S)
            before = count()
            shares = used(pids, seconds)
            looks.append((count() - before) / seconds)
        return shares

    often = f"{_LOOKS_PER_S} looks a second"
    sides: dict[str, Callable[[], list[float]]] = {"nobody looks": alone, "page open": watched, often: looked_at}
    rounds = interleave(sides, amount.rounds, step)
    costs = [(sum(ours) - sum(theirs)) / SHARDS / per_s
             for ours, theirs, per_s in zip(rounds[often], rounds["nobody looks"], looks, strict=True)]
    outcome.facts |= {"window_s": seconds, "looks_per_s": looks}
    outcome.figures.append(Figure(CPU, CPU_GOAL, median(costs), "%", tuple(costs)))
    for name, samples in rounds.items():
        outcome.series.append(Series(f"a shard's core, {name}", "%", [one for each in samples for one in each]))


PART: Final = Part("page", "the page: its first paint, and what it costs 16 shards to be watched",
                   lambda a: 110 if a.quick else 60 + 40 * a.rounds, lambda a: 2 + 3 * a.rounds, run,
                   {PAINT: PAINT_GOAL, CPU: CPU_GOAL})
