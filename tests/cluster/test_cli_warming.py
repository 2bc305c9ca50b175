"""`warm`, `record` and `replay` against clusters in a real Ray, as a user runs them."""

from __future__ import annotations

import json
import sys
import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

import raycache
from raycache.cli.main import main
from raycache.testing import LocalCluster
from tests.certificates import Authority

pytestmark = pytest.mark.ray

MODULE = """
def load_many(keys):
    return {key: {"name": key} for key in keys}
"""


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Any:
    def run_here(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run_here


@pytest.fixture
def other(ray_cluster: str) -> Any:
    """Another cluster in the same Ray."""
    raycache.start("warm-other", shards=1, memory="16MiB")
    yield "warm-other"
    raycache.stop("warm-other")


def test_warm_record_and_replay(shell: Any, start: Any, other: str, cluster_name: str, tmp_path: Path,
                                monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    start(shards=2, memory="16MiB")
    (tmp_path / "warm_loader.py").write_text(MODULE)
    (tmp_path / "keys.txt").write_text("".join(f"k{number % 70}\n" for number in range(500)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    code, out, err = shell("warm", cluster_name, "keys.txt", "--load", "warm_loader:load_many", "--ttl", "600")
    assert code == 0, err
    assert "70 of 70 keys done; 70 loaded" in out
    with raycache.connect(cluster_name) as cache:
        assert cache.get("k69") == {"name": "k69"}

        code, out, err = shell("warm", other, "--from", cluster_name, "--json")
        assert code == 0, err
        assert json.loads(out)["loaded"] == 70
        with raycache.connect(other) as copy:
            assert copy.get("k3") == {"name": "k3"}
            left = copy.ttl("k3")
            assert left is not None
            assert 500 < left <= 600
        # By address, no Ray is asked for the source.
        address = raycache.status(cluster_name).shards[0].address
        code, out, err = shell("warm", other, "--from", address, "--json")
        assert code == 0, err
        assert json.loads(out)["present"] == 70

        stop = threading.Event()

        def read() -> None:
            while not stop.is_set():
                cache.get_many([f"k{number}" for number in range(100)])

        reader = threading.Thread(target=read)
        reader.start()
        try:
            code, out, err = shell("record", cluster_name, "--out", "reads.gz", "--sample", "0.5", "--seconds", "1",
                                   "--json")  # fmt: skip
        finally:
            stop.set()
            reader.join()
    assert code == 0, err
    recorded = json.loads(out)
    assert recorded["reads"] > 100
    assert 0.4 < recorded["hit_ratio"] < 0.95

    code, out, err = shell("replay", other, "reads.gz", "--speed", "max")
    assert code == 1
    assert "holds 70 entries" in err
    with raycache.connect(other) as copy:
        copy.clear()
    code, out, err = shell("replay", other, "reads.gz", "--speed", "20", "--json")
    assert code == 0, err
    replayed = json.loads(out)
    assert replayed["reads"] == recorded["reads"]
    # Everything fits: the only misses more are those of the first round.
    assert recorded["hit_ratio"] - replayed["hit_ratio"] <= 100 / recorded["reads"]


def test_from_a_cluster_elsewhere_over_tls_as_a_user(shell: Any, other: str, tmp_path: Path,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """Of the source, no Ray knows anything: it has doors with certificates, and users."""
    authority = Authority.make(tmp_path)
    users = ("user copier on >pw-of-copier ~* +@read +@connection",)
    (tmp_path / "password").write_text("pw-of-copier\n")
    with LocalCluster(2, gateway=False, secret="open sesame", users=users, tls=authority.settings(),
                      allow_pickle=True) as source:
        with raycache.Cache(source.info, allow_pickle=True) as cache:
            cache.set_many({f"k{number}": number for number in range(50)}, ttl=600)
            cache.set("pickled", Fraction(1, 3))
        host, port = source.addresses[0]
        at = ("warm", other, "--from", f"{host}:{port}", "--json")
        code, out, err = shell(*at, "--from-user", "copier", "--from-password-file", str(tmp_path / "password"),
                               "--from-tls-ca", authority.ca)
        assert code == 0, err
        assert {name: json.loads(out)[name] for name in ("loaded", "absent", "total")} == {
            "loaded": 50, "absent": 1, "total": 51}
        monkeypatch.setenv("RAYCACHE_FROM_PASSWORD", "wrong")
        assert shell(*at, "--from-user", "copier", "--from-tls-ca", authority.ca)[0] == 1
    with raycache.connect(other) as copy:
        assert copy.get("k7") == 7
        assert copy.ttl("k7") <= 600
        assert not copy.exists("pickled")
