"""The page in a real browser, before real shards: what an operator sees and does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from raycache.client import Cache
from raycache.client.frames import command
from raycache.errors import OutOfMemoryError
from raycache.ring.slots import slot_of
from raycache.testing.local import LocalCluster
from tests.page.conftest import Tab
from tests.page.site import ADMIN, READER, Site, served
from tests.support import wait_until

OpenTab = Callable[..., Tab]

HOSTILE = [
    b"<img src=x onerror=window.hit=1>", b"\"><script>window.hit=1</script>", b"'-window.hit=1-'", b"${window.hit=1}",
    b"javascript:window.hit=1", b"\xff\xfe<svg onload=window.hit=1>", "\u202egnp.exe\u2028x".encode(),
    b"\x00\r\n\x1b[2J",
    b"</td></tr></table><h1 id=broken-out>", b"event: tick\ndata: {}\n\n", b"k" * 255, b"__proto__", b"constructor",
]


def make_hot(cluster: LocalCluster, keys: list[bytes]) -> None:
    """Let each key's shard believe that it is asked for often; what a shard samples is tested elsewhere."""
    for key in keys:
        index = next(at for at, one in enumerate(cluster.servers)
                     if one is not None and one.core.shard_id == owner(cluster, key))
        look = cluster.servers[index].core.usage.look  # type: ignore[union-attr]
        for _ in range(40):
            cluster.call(lambda look=look, key=key: look(command(b"GET", key)), index)  # type: ignore[misc]


def owner(cluster: LocalCluster, key: bytes) -> str:
    found = cluster.newest_topology.primary_of(slot_of(key))
    assert found is not None
    return found.id


def until(page: Any, expression: str, arg: Any = None) -> None:
    """Wait until `expression` holds in the page. (Playwright's own waiting is stopped by the page's policy.)"""
    wait_until(lambda: page.evaluate(expression, arg), 15.0, expression)


def texts(page: Any, selector: str) -> list[str]:
    return [text.strip() for text in page.locator(selector).all_inner_texts()]


def test_shards_are_shown_and_kept_up_to_date(site: Site, cache: Cache, open_tab: OpenTab, picture: Any) -> None:
    tab = open_tab(viewport={"width": 1280, "height": 900})
    page = tab.open(site.url)
    assert texts(page, "#shards tbody td:first-child") == ["s0", "s1", "s2"]
    before = page.locator("#totals dd").nth(1).inner_text()
    cache.set_many({f"key:{number}": "x" * 100 for number in range(2000)}, acks=1)
    cache.get_many([f"key:{number}" for number in range(2500)])
    until(page, "before => document.querySelectorAll('#totals dd')[1].textContent !== before", arg=before)
    until(page, "document.querySelectorAll('#totals dd')[1].textContent.replace(',', '') >= 4000")
    until(page, "document.querySelectorAll('#totals dd')[4].textContent.startsWith('80')")
    machines = texts(page, "#shards tbody td:nth-child(3)")
    assert sorted(set(machines)) == ["machine0", "machine1"]
    assert "16,384 slots, 2 copies of each, on 3 shards, 2 machines and 1 zones" in page.inner_text("#ring-text")
    assert page.locator("#ring path").count() == 3 + 2 + 1
    slots = [int(text.split()[1].replace(",", "")) for text in texts(page, "#legend ul:nth-of-type(1) button")]
    assert sum(slots) == 16384
    picture(page, "desktop-light")
    # Nothing from elsewhere, no complaint, nothing that the policy had to stop.
    assert {urlsplit(url).netloc for url in tab.requests} == {urlsplit(site.url).netloc}
    assert (tab.complaints, page.evaluate("violations")) == ([], [])


def test_a_key_is_explained(site: Site, cache: Cache, open_tab: OpenTab, picture: Any) -> None:
    page = open_tab().open(site.url)
    cache.set("user:1", "Ada", ttl=600, acks=1)
    page.fill("#explain-key", "user:1")
    page.keyboard.press("Enter")
    page.wait_for_selector("#missed")
    said = page.inner_text("#explained")
    assert "user:1 is there; not missed as far as is known" in said
    assert "2 of 2 copies" in said
    assert f"slot {slot_of(b'user:1'):,}" in page.locator("#ring text").inner_html()
    rows = texts(page, "#explained tbody td:nth-child(2)")
    assert rows == ["primary", "replica"]
    cache.delete("user:1", acks=1)
    page.click("#explain-form button")
    until(page, "document.querySelector('#missed').textContent === 'missed last: deleted'")
    page.fill("#explain-key", "nobody wrote this")
    page.keyboard.press("Enter")
    until(page, "document.querySelector('#missed').textContent === 'missed last: never written'")
    picture(page, "explained")


def test_no_key_can_break_out(site: Site, cluster: LocalCluster, cache: Cache, open_tab: OpenTab) -> None:
    tab = open_tab()
    page = tab.open(site.url)
    for key in HOSTILE:
        cache.set(key, key, acks=1)
    make_hot(cluster, HOSTILE)
    until(page, "count => document.querySelectorAll('#hot tbody button').length >= count", arg=len(HOSTILE))
    shown = texts(page, "#hot tbody button")
    assert "<img src=x onerror=window.hit=1>" in shown
    assert "\\xff\\xfe<svg onload=window.hit=1>" in shown
    assert "\\x00\\r\\n\\x1b[2J" in shown
    assert "\\u202egnp.exe\\u2028x" in shown
    assert len(set(shown)) == len(shown)
    for text in shown:  # by their bytes, whatever their text; each refresh may put the keys in another order
        until(page, "text => { const button = [...document.querySelectorAll('#hot tbody button')].find(one =>"
              " one.textContent.trim() === text); button?.click(); return Boolean(button) }", arg=text)
        until(page, "text => document.querySelector('#explained .key')?.textContent === text", arg=text)
        assert " is there" in page.inner_text("#explained p")
    page.fill("#explain-key", "<img src=x onerror=window.hit=1>")
    page.keyboard.press("Enter")
    page.wait_for_selector("#missed")
    assert page.evaluate("window.hit") is None
    assert page.locator("main img, main script, #broken-out").count() == 0
    assert (tab.complaints, page.evaluate("violations")) == ([], [])


def test_what_happens_is_told_as_it_happens(open_tab: OpenTab, picture: Any) -> None:
    settings: Any = {"policy": "noeviction", "memory_per_shard_bytes": 4 << 20}
    with LocalCluster(shards=3, gateway=False, copies=2, **settings) as cluster:
        cluster.wait_until_settled()
        with served(cluster) as site, Cache(cluster.info) as cache:
            page = open_tab().open(site.url)
            until(page, "document.querySelector('#events').getAttribute('aria-live') === 'polite'")
            refused = 0
            for number in range(9):
                try:
                    cache.set(f"large:{number}", b"x" * (1 << 20))
                except OutOfMemoryError:
                    refused += 1
            assert refused
            page.wait_for_selector("#events .kind-refused")
            cluster.kill(0)
            page.wait_for_selector("#events .kind-lost")
            page.wait_for_selector("#events .kind-failover")
            page.wait_for_selector("#shards tr.trouble-row")
            cluster.restart(0)
            until(page, "!document.querySelector('#shards tr.trouble-row')")
            assert page.inner_text("#events").count("is back") == 1
            picture(page, "events")


def test_draining_asks_for_the_secret_and_keeps_it_nowhere(site: Site, cluster: LocalCluster, open_tab: OpenTab,
                                                           picture: Any) -> None:  # fmt: skip
    tab = open_tab()
    page = tab.open(site.url)
    page.select_option("#drain-target", "s2")
    page.click("#drain-form button[value=drain]")
    assert page.inner_text("#confirm-text") == "Drain s2?"
    assert page.evaluate("document.activeElement.id") == "admin-secret"
    picture(page, "drain")
    page.keyboard.type("wrong")
    page.keyboard.press("Enter")
    until(page, "document.querySelector('#confirm-trouble').textContent.includes('the role admin')")
    assert site.office.wishes == []
    page.keyboard.type(ADMIN)
    page.keyboard.press("Enter")
    until(page, "!document.querySelector('#confirm').open")
    assert site.office.wishes == [("drain", "local", "s2", False)]
    until(page, "document.querySelector('#shards').textContent.includes('draining')")
    kept = page.evaluate("""async () => JSON.stringify([location.href, {...localStorage}, {...sessionStorage},
        document.cookie, [...document.querySelectorAll('input')].map((one) => one.value), history.state,
        (await caches.keys())])""")
    assert ADMIN not in kept
    assert not [url for url in tab.requests if "secret" in url]
    page.click("#drain-form button[value=undo]")
    page.keyboard.type(ADMIN)
    page.keyboard.press("Enter")
    until(page, "!document.querySelector('#shards').textContent.includes('draining')")
    assert site.office.wishes[-1] == ("drain", "local", "s2", True)
    page.click("#scale-form button")
    page.keyboard.press("Escape")  # leaves it
    assert not page.evaluate("document.querySelector('#confirm').open")
    assert len(site.office.wishes) == 2
    cluster.wait_until_settled()


def test_where_a_token_is_needed_it_is_asked_for_and_forgotten(cluster: LocalCluster, open_tab: OpenTab) -> None:
    with served(cluster, with_token=True) as site:
        tab = open_tab()
        tab.page.goto(site.url)
        tab.page.wait_for_selector("#token-form:not([hidden])")
        assert texts(tab.page, "#shards tbody tr") == []
        for token, is_right in (("wrong", False), (READER, True)):
            tab.page.fill("#token", token)
            tab.page.keyboard.press("Enter")
            if not is_right:
                until(tab.page, "document.querySelector('#token-trouble').textContent.includes('no such')")
        tab.page.wait_for_selector("#state.live")
        assert texts(tab.page, "#shards tbody td:first-child") == ["s0", "s1", "s2"]
        tab.page.reload()
        tab.page.wait_for_selector("#token-form:not([hidden])")


def test_on_a_phone_in_the_dark(site: Site, open_tab: OpenTab, picture: Any) -> None:
    tab = open_tab(viewport={"width": 360, "height": 740}, color_scheme="dark", has_touch=True, is_mobile=True)
    page = tab.open(site.url)
    page.wait_for_selector("#shards tbody td")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    widths = page.evaluate("[...document.querySelectorAll('main .panel')].map((one) => one.clientWidth)")
    assert min(widths) > 280
    light = "(selector) => { const [r, g, b] = getComputedStyle(document.querySelector(selector))"
    assert page.evaluate(light + ".backgroundColor.match(/\\d+/g).map(Number); return r + g + b; }", "body") < 150
    assert page.evaluate(light + ".color.match(/\\d+/g).map(Number); return r + g + b; }", "body") > 600
    assert page.evaluate("getComputedStyle(document.querySelector('#shards td'), '::before').content") == '"Shard"'
    picture(page, "phone-dark")


def test_everything_is_reached_and_named_by_keyboard(site: Site, open_tab: OpenTab) -> None:
    page = open_tab().open(site.url)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.focus("#legend button")
    page.keyboard.press("Space")
    assert page.get_attribute("#legend button", "aria-pressed") == "true"
    assert page.locator("#ring path.chosen").count() == 1
    ticks = "document.querySelectorAll('#totals dd')[2].textContent"
    page.evaluate(f"window.before = {ticks}")
    page.wait_for_timeout(1200)  # a tick passes
    assert page.evaluate("document.activeElement === document.querySelector('#legend button')")  # and takes no focus
    seen = page.evaluate("""() => {
        const all = [...document.querySelectorAll('a, button, input, select, [tabindex="0"]')];
        const shown = all.filter((one) => one.checkVisibility());
        const isNamed = (one) => one.getAttribute('aria-label') || one.labels?.length || one.textContent.trim();
        return [shown.length, shown.filter((one) => one.tabIndex < 0).length,
                shown.filter((one) => !isNamed(one)).map((one) => one.outerHTML)];
    }""")
    assert seen[0] > 15
    assert seen[1:] == [0, []]
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    page.keyboard.press("Tab")
    assert page.evaluate(outline) == "solid"
    tree = page.locator("body").aria_snapshot()
    for part in ("banner", "main", "search", "status", "log", "heading \"Ring\"", "table \"Shards\""):
        assert part in tree, part


def test_viewers_share_one_look_a_second_and_it_ends_with_them(cluster: LocalCluster, open_tab: OpenTab) -> None:
    with served(cluster) as site:
        asked: list[str] = []
        describe = site.office.describe
        site.office.describe = lambda name: (asked.append(name), describe(name))[1]  # type: ignore[method-assign]
        tabs = [open_tab() for _ in range(3)]
        for tab in tabs:
            tab.open(site.url)
        tabs[0].page.wait_for_timeout(1000)
        before = len(asked)
        tabs[0].page.wait_for_timeout(2000)
        assert 1 <= len(asked) - before <= 3
        for tab in tabs:
            tab.page.close()
        wait_until(lambda: not poll_goes_on(asked), 10.0)


def poll_goes_on(asked: list[str]) -> bool:
    """Return whether anybody asks within two of the page's seconds."""
    import threading

    before = len(asked)
    threading.Event().wait(2.2)
    return len(asked) > before
