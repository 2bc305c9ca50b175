"""One browser and one cluster for all tests of the page; a fresh tab for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from raycache.client import Cache
from raycache.testing.local import LocalCluster
from tests.page.site import Site, served
from tests.support import require_program

SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"
"""Not under version control. Each run leaves its own pictures there."""

LISTEN = """
window.violations = [];
addEventListener("securitypolicyviolation",
  (event) => violations.push(event.violatedDirective + " " + event.blockedURI));
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium. While it is open a loop of playwright's runs in this thread, where no test that awaits could run: so it
    is closed with the module."""
    path = require_program("chromium", "chromium")
    with sync_playwright() as playwright:
        # Its own sandbox does not work for root in a container; what it shows comes from this machine alone.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """Three shards on two machines with two copies of each slot."""
    with LocalCluster(shards=3, copies=2, machines=2, memory_per_shard_bytes=8 << 20) as cluster:
        cluster.wait_until_settled()
        yield cluster


@pytest.fixture(scope="module")
def site(cluster: LocalCluster) -> Iterator[Site]:
    with served(cluster) as site:
        yield site


@pytest.fixture(scope="module")
def cache(cluster: LocalCluster) -> Iterator[Cache]:
    with Cache(cluster.info, timeout_s=5.0) as cache:
        yield cache


class Tab:
    """A tab, and all that it has asked for and complained of."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requests: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda message: self.complaints.append(message.text) if message.type == "error" else None)
        page.add_init_script(LISTEN)

    def open(self, url: str) -> Page:
        """Open the page, and return it when it is live."""
        self.page.goto(url)
        self.page.wait_for_selector("#state.live")
        return self.page


@pytest.fixture
def open_tab(browser: Browser) -> Iterator[Callable[..., Tab]]:
    """Opens tabs in contexts of their own; closes them."""
    contexts: list[Any] = []

    def make(**settings: Any) -> Tab:
        contexts.append(browser.new_context(**settings))
        contexts[-1].set_default_timeout(15_000)
        return Tab(contexts[-1].new_page())

    yield make
    for context in contexts:
        context.close()


@pytest.fixture
def picture(request: pytest.FixtureRequest) -> Callable[[Page, str], None]:
    """Keeps a screenshot of the whole page, and says where."""

    def take(page: Page, name: str) -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        path = SCREENSHOTS / f"{name}.png"
        page.screenshot(path=path, full_page=True)
        print(f"screenshot: {path}")

    return take
