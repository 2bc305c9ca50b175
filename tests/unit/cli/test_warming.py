"""`warm`: where keys and values come from, what is printed, and how it ends."""

from __future__ import annotations

import gzip
import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from raycache.cli.elsewhere import PASSWORD_VARIABLE, SECRET_VARIABLE
from raycache.cli.import_path import imported
from raycache.client.bulk import RawEntry
from raycache.client.info import Login
from raycache.tls import TlsSettings

MODULE = '''
asked = []

def load(keys):
    asked.append(keys)
    return {key: key.upper() for key in keys if "none" not in key}

def broken(keys):
    raise OSError("connection lost")

class Store:
    load_many = staticmethod(load)

store = Store()
nothing = None
'''


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A module in the working directory, as a user's program has one."""
    (tmp_path / "shop_module.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("shop_module", None)


@pytest.fixture(autouse=True)
def _clusters(run: Any) -> None:
    run("up", "features")
    run("up", "old")


def test_keys_of_a_log_are_loaded_by_a_function(run: Any, backend: Any, shop: Path) -> None:
    (shop / "keys.txt").write_text("b\na\nb\nnone\n")
    outcome = run("warm", "features", "keys.txt", "--load", "shop_module:load", "--delay-ms", "0")
    assert outcome.code == 0, outcome.err
    assert "features: 3 of 3 keys done; 2 loaded in" in outcome.out
    assert ", 1 without a value" in outcome.out
    assert "4 lines, the 3 most frequent keys" in outcome.err
    assert sys.modules["shop_module"].asked == [["b", "a", "none"]]
    assert list(backend.bulks["features"].held) == [b"b", b"a"]
    assert backend.bulks["features"].is_closed


@pytest.mark.parametrize("loader", ["shop_module:store", "shop_module:store.load_many", "shop_module:Store.load_many"])
def test_an_object_with_load_many_will_do(run: Any, backend: Any, shop: Path, loader: str) -> None:
    (shop / "keys.txt").write_text("a\n")
    assert run("warm", "features", "keys.txt", "--load", loader).code == 0
    assert list(backend.bulks["features"].held) == [b"a"]


def test_logs_of_every_form(run: Any, backend: Any, shop: Path) -> None:
    (shop / "access.log").write_text('1.2.3.4 - - [x] "GET /users/7 HTTP/1.1" 200 5\nnoise\n')
    (shop / "more.log").write_bytes(gzip.compress(b'"GET /users/8"\n"GET /users/8"\n'))
    (shop / "requests.jsonl").write_text('{"request": {"key": "x"}}\n')
    outcome = run("warm", "features", "access.log", "more.log", "--load", "shop_module:load", "--pattern",
                  r'"GET /users/(\d+)', "--key", "user:{}", "--top", "1", "--ttl", "60")  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert "1 lines without a key" in outcome.err
    (entry,) = backend.bulks["features"].held.values()
    assert entry.key == b"user:8"
    assert 54_000 <= entry.left_ms <= 60_000
    outcome = run("warm", "features", "requests.jsonl", "--load", "shop_module:load", "--json-field", "request.key")
    assert outcome.code == 0, outcome.err
    assert b"x" in backend.bulks["features"].held


def test_approximate_counts_are_told(run: Any, shop: Path) -> None:
    (shop / "keys.txt").write_text("a\nb\nc\nd\n")
    outcome = run("warm", "features", "keys.txt", "--load", "shop_module:load", "--counters", "2", "--top", "2")
    assert "counts up to 2 too high" in outcome.err


def test_the_report_as_json(run: Any, backend: Any, shop: Path) -> None:
    backend.bulk("features").put(b"a", b"mine", 0)
    (shop / "keys.txt").write_text("a\nb\n")
    outcome = run("warm", "features", "keys.txt", "--load", "shop_module:load", "--json")
    record = json.loads(outcome.out)
    assert (record["name"], record["total"], record["loaded"], record["present"]) == ("features", 2, 1, 1)
    assert (record["end"], record["failed"], record["error"]) == ("done", 0, "")
    assert backend.bulks["features"].held[b"a"].data == b"mine"


def test_a_database_that_is_gone_is_exit_code_1(run: Any, shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from raycache.warming import controller, running

    monkeypatch.setattr(controller, "PAUSE_S", 0.0)
    monkeypatch.setattr(running, "_LOOK_S", 0.0)
    monkeypatch.setattr(controller, "MAX_PAUSE_S", 0.0)
    monkeypatch.setattr(controller, "LEAST_RATE", 1000.0)
    (shop / "keys.txt").write_text("\n".join(f"k{number}" for number in range(200)))
    outcome = run("warm", "features", "keys.txt", "--load", "shop_module:broken", "--delay-ms", "0")
    assert outcome.code == 1
    assert "0 loaded" in outcome.out
    assert "the last error was: OSError: connection lost" in outcome.err
    assert "gave up" in outcome.err


def test_ctrl_c_ends_after_the_batch_and_the_next_run_goes_on(run: Any, backend: Any, shop: Path) -> None:
    (shop / "keys.txt").write_text("\n".join(f"k{number:03}" for number in range(250)))
    (shop / "shop_signal.py").write_text(
        "import signal\ndef load(keys):\n    signal.raise_signal(signal.SIGINT)\n    return dict.fromkeys(keys, 1)\n")
    before = signal.getsignal(signal.SIGINT)
    arguments = ("warm", "features", "keys.txt", "--delay-ms", "0", "--progress", "warm.json", "--load")
    outcome = run(*arguments, "shop_signal:load")
    assert outcome.code == 130
    assert "100 of 250 keys done; 100 loaded" in outcome.out
    assert "stopped; with --progress" in outcome.err
    assert signal.getsignal(signal.SIGINT) is before
    backend.bulks["features"].held.clear()
    outcome = run(*arguments, "shop_module:load")
    assert outcome.code == 0
    assert "250 of 250 keys done, the first 100 by an earlier run; 150 loaded" in outcome.out
    assert not (shop / "warm.json").exists()


def test_a_cluster_is_copied_by_name(run: Any, backend: Any) -> None:
    source = backend.bulk("old")
    for number in range(5):
        source.held[b"k%d" % number] = RawEntry(b"k%d" % number, number, b"\xff", number)
    outcome = run("warm", "features", "--from", "old", "--top", "3")
    assert outcome.code == 0, outcome.err
    assert "3 of 3 keys done; 3 loaded" in outcome.out
    assert list(backend.bulks["features"].held.values()) == [source.held[key] for key in (b"k4", b"k3", b"k2")]
    assert source.is_closed


def test_a_cluster_elsewhere_shows_its_secret_from_the_environment_or_a_file(
    run: Any, backend: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("warm", "features", "--from", "10.0.0.7:6410").code == 0
    monkeypatch.setenv(SECRET_VARIABLE, "swordfish")
    assert run("warm", "features", "--from", "10.0.0.7:6410").code == 0
    (tmp_path / "secret").write_text("from a file\n")
    assert run("warm", "features", "--from", "10.0.0.7:6410", "--from-secret-file", str(tmp_path / "secret")).code == 0
    assert {name for name in backend.bulks if ":" in name} == {
        "10.0.0.7:6410 None", "10.0.0.7:6410 swordfish", "10.0.0.7:6410 from a file"}  # fmt: skip


def test_a_cluster_elsewhere_may_want_a_user_and_tls(run: Any, backend: Any, tmp_path: Path,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    (tmp_path / "password").write_text("from a file\n")
    (tmp_path / "ca.pem").write_text("")
    ca, at = str(tmp_path / "ca.pem"), ("warm", "features", "--from", "10.0.0.7:6410")
    assert run(*at, "--from-user", "copier", "--from-password-file", str(tmp_path / "password"), "--from-tls-ca", ca,
               "--from-tls-server-name", "cache.example").code == 0
    monkeypatch.setenv(PASSWORD_VARIABLE, "swordfish")
    assert run(*at, "--from-user", "copier").code == 0
    assert backend.logins == [Login("from a file", "copier", TlsSettings(ca=ca, server_name="cache.example")),
                              Login("swordfish", "copier")]


@pytest.mark.parametrize(("arguments", "code", "words"), [
    ((), 2, "LOG files and --load, or --from"),
    (("keys.txt",), 2, "LOG files and --load, or --from"),
    (("keys.txt", "--load", "shop_module:load", "--from", "old"), 2, "either"),
    (("--from", "features"), 1, "into itself"),
    (("--from", "nobody"), 1, "no cluster 'nobody'"),
    (("--from", "nobody", "--from-user", "x"), 1, "Ray knows"),
    (("--from", "10.0.0.7:1", "--from-user", "x"), 1, "--from-password-file"),
    (("--from", "10.0.0.7:1", "--from-password-file", "keys.txt"), 1, "needs --from-user"),
    (("--from", "10.0.0.7:1", "--from-user", "x", "--from-secret-file", "keys.txt"), 1, "either the secret"),
    (("--from", "10.0.0.7:1", "--from-tls-server-name", "x"), 1, "--from-tls-ca"),
    (("keys.txt", "--load", "shop_module:load", "--from-user", "x"), 2, "--from HOST:PORT"),
    (("keys.txt", "--load", "shop_module"), 1, "module:function"),
    (("keys.txt", "--load", "no_such_module:load"), 1, "No module named 'no_such_module'"),
    (("keys.txt", "--load", "shop_module:lod"), 1, "has no lod"),
    (("keys.txt", "--load", "shop_module:nothing"), 1, "can load nothing"),
    (("keys.txt", "--load", "shop_module:load", "--pattern", "users"), 1, "no group"),
    (("keys.txt", "--load", "shop_module:load", "--json-field", "key"), 1, "no key in the logs"),
    (("keys.txt", "--load", "shop_module:load", "--key", "user"), 1, "template"),
    (("keys.txt", "--load", "shop_module:load", "--batch", "0"), 2, "--batch"),
    (("keys.txt", "--load", "shop_module:load", "--progress", "shop_module.py"), 1, "no progress file"),
])  # fmt: skip
def test_what_makes_no_sense_is_one_line(
    run: Any, shop: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    (shop / "keys.txt").write_text("a\n")
    outcome = run("warm", "features", *arguments)
    assert outcome.code == code
    assert words in outcome.err
    assert outcome.err.splitlines()[-1].startswith("raycache: ")


def test_an_import_path(shop: Path) -> None:
    assert imported("os:path.join", "--load")("a", "b") == "a/b"
