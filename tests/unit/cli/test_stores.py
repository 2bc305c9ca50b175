"""`attach`, `detach`, `stores`, and what `status` and `down` say of what waits, against a stand-in."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

URL = "postgresql://ada:geheim@host/db"


@pytest.fixture(autouse=True)
def features(run: Any) -> None:
    run("up", "features")


def test_attach_stores_detach(run: Any, backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE", URL)
    done = run("attach", "features", "orders", "--url-env", "DATABASE", "--write", "behind", "--table", "orders")
    assert (done.code, done.out) == (0, "orders is attached to features: postgresql://ada:***@host/db\n")
    shown = run("stores", "features")
    assert "12,345" in shown.out
    assert "nothing waits" in shown.out
    assert json.loads(run("stores", "features", "--json").out)["stores"][0]["name"] == "orders"
    assert "geheim" not in shown.out + shown.err + done.err
    assert run("detach", "features", "orders").out == "orders is detached from features\n"
    assert "has no stores" in run("stores", "features").out


@pytest.mark.parametrize(("words", "complaint"), [
    (["--where", URL], "password does not belong on a command line"),
    (["--url-env", "NOT_THERE"], "no NOT_THERE"),
    ([], "either --url-env or --where"),
    (["--where", "sqlite://", "--url-env", "X"], "either --url-env or --where"),
])
def test_what_makes_no_sense_is_refused_without_a_password(run: Any, words: list[str], complaint: str) -> None:
    done = run("attach", "features", "orders", *words)
    assert done.code == 2
    assert complaint in done.err
    assert "geheim" not in done.err


def test_a_class_is_looked_for_in_the_working_directory_here_and_by_ray(
    run: Any, backend: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    seen: list[bool] = []
    monkeypatch.setattr(backend, "attach", lambda *, start: seen.append(str(tmp_path) in sys.path))
    assert run("attach", "features", "things", "--where", "my_module:Store", "--write", "behind").code == 0
    assert seen == [True], "Ray looks where the process does that attaches to it"


def test_status_tells_what_waits_and_down_does_not_lose_it(run: Any, backend: Any) -> None:
    status = backend.running["features"]
    first = replace(status.shards[0], queued=1200, queue_oldest_s=4.0, dead_letters=3)
    backend.running["features"] = replace(status, shards=(first, *status.shards[1:]))
    out = run("status", "features").out
    assert "queue: 1,200 writes wait for a database, the oldest for 4" in out
    assert "3 writes were refused by a database: see `raycache letters features STORE`" in out
    record = json.loads(run("status", "features", "--json").out)
    assert (record["queued"], record["queue_oldest_s"], record["dead_letters"]) == (1200, 4.0, 3)
    for words in ([], ["--if-running"]):  # it does run
        refused = run("down", "features", "--drain-timeout", "2", *words)
        assert (refused.code, "still wait after 2 s" in refused.err) == (1, True)
    assert run("down", "features", "--force").code == 0


@pytest.mark.parametrize("words", [["--retry"], ["key"], ["--all"]])
def test_letters_needs_to_know_what_and_which(run: Any, words: list[str]) -> None:
    done = run("letters", "features", "orders", *words)
    assert (done.code, "say --retry or --discard" in done.err) == (2, True)
