"""The page's routes: headers, keys in any form, and what other sites' pages are refused."""

from __future__ import annotations

import base64
import re
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import HTTPException
from starlette.datastructures import Headers

from serve_app.page import page_router
from serve_app.page.routes import HEADERS, MAX_WATCHERS, _key, _Page, nobody, own_page_only

HANDLES: Any = SimpleNamespace()
OFFICE: Any = SimpleNamespace()


def request(**headers: str) -> Any:
    return SimpleNamespace(headers=Headers({name.replace("_", "-"): value for name, value in headers.items()}))


def status_of(call: Any, *arguments: Any) -> int:
    with pytest.raises(HTTPException) as caught:
        call(*arguments)
    return caught.value.status_code


def test_the_page_and_its_files_are_in_the_package_and_allow_nothing_inline() -> None:
    page = _Page(HANDLES, OFFICE)
    html = page._file("index.html").body.decode()
    names = set(re.findall(r"page/static/([\w.]+)", html))
    scripts = {name for name in page._files if name.endswith(".js")}
    imported = {name for script in scripts for name in re.findall(r'from "\./([\w.]+)"', page._files[script].decode())}
    assert names | imported == set(page._files) - {"index.html"}  # nothing is missing, and nothing is left over
    assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=|https?://(?!www\.w3\.org)", html)
    for script in scripts:
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|localStorage|"
                             r"sessionStorage|https?://(?!www\.w3\.org)", page._files[script].decode()), script


def test_every_file_comes_with_a_strict_policy() -> None:
    policy = _Page(HANDLES, OFFICE)._file("app.js").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert HEADERS["X-Content-Type-Options"] == "nosniff"
    assert status_of(_Page(HANDLES, OFFICE)._file, "../routes.py") == 404


@pytest.mark.parametrize(("headers", "status"), [
    ({"sec_fetch_site": "cross-site"}, 403), ({"sec_fetch_site": "same-site"}, 403), ({"sec_fetch_site": "none"}, 403),
    ({"origin": "https://evil.example", "host": "door:8000"}, 403), ({"origin": "null", "host": "door:8000"}, 403),
    ({"content_type": "text/plain"}, 415), ({"content_type": "application/x-www-form-urlencoded"}, 415), ({}, 415),
])  # fmt: skip
def test_wishes_of_other_pages_are_refused(headers: dict[str, str], status: int) -> None:
    if status == 403:  # whatever else is right
        headers = {"content_type": "application/json", **headers}
    assert status_of(own_page_only, request(**headers)) == status


def test_the_own_page_and_programs_may_ask() -> None:
    own_page_only(request(sec_fetch_site="same-origin", origin="http://door:8000", host="door:8000",
                          content_type="application/json; charset=utf-8"))
    own_page_only(request(content_type="application/json"))


def test_without_an_administrator_nothing_can_be_changed() -> None:
    assert status_of(nobody, request()) == 403
    routes = {route.path: route for route in page_router(HANDLES, office=OFFICE).routes}  # type: ignore[attr-defined]
    for path in ("/page/admin/scale", "/page/admin/drain", "/page/admin/cancel"):
        calls = [one.dependency for one in routes[path].dependencies]  # type: ignore[attr-defined]
        assert calls == [own_page_only, nobody]
        assert routes[path].methods == {"POST"}  # type: ignore[attr-defined]


def test_a_key_is_text_or_any_bytes() -> None:
    assert _key("Zürich", None) == "Zürich".encode()
    assert _key(None, base64.urlsafe_b64encode(b"\xff\xfb?>").decode()) == b"\xff\xfb?>"
    for key, key64 in ((None, None), ("a", "YQ=="), (None, "no base64!"), (None, "ä")):
        assert status_of(_key, key, key64) == 422


async def test_there_is_an_end_to_how_many_watch() -> None:
    async def handle(name: str) -> Any:
        return SimpleNamespace(cluster="features")

    page = _Page(SimpleNamespace(handle=handle), OFFICE)  # type: ignore[arg-type]
    await page.feed("features")
    page._pollers["features"].watchers = MAX_WATCHERS
    with pytest.raises(HTTPException) as caught:
        await page.feed("features")
    assert (caught.value.status_code, caught.value.headers) == (503, {"Retry-After": "5"})
