"""The Python examples of the documents do what they say when they are pasted, on a real cluster.

What does not live here: what needs no cluster (`tests/unit/test_docs.py`), the programs in `examples`
(`test_examples`), and the blocks of docs/security.md, which need certificates and users.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import raycache

pytestmark = pytest.mark.ray

REPOSITORY = Path(__file__).parents[2]
NAME = "features"
LOADER = '''"""What docs/warming.md imports."""


def load_many(keys):
    return {key: f"value of {key}" for key in keys}


def typical_query():
    pass
'''


@pytest.fixture
def cluster(ray_cluster: str) -> Iterator[raycache.ClusterStatus]:
    """The cluster of all documents: two copies, since some speak of them; what they start themselves is there."""
    yield raycache.start(NAME, shards=2, copies=2, memory="128MiB")
    if NAME in raycache.clusters():
        raycache.stop(NAME, drain_timeout_s=0, force=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    package = tmp_path / "shop"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "db.py").write_text(LOADER)
    (tmp_path / "access.log").write_text("".join(f'"GET /users/{number % 7} HTTP/1.1" 200\n' for number in range(50)))
    return tmp_path


@pytest.mark.timeout(240)
def test_every_block_runs_and_gives_what_it_says(cluster: raycache.ClusterStatus, folder: Path) -> None:
    words = {"6400": cluster.gateways[0].rpartition(":")[2], "6410": cluster.shards[0].address.rpartition(":")[2],
             "/var/lib/shop": str(folder / "shop"), 'connect("shop")': f'connect("{NAME}")'}
    documents = {"README.md": 4, "docs/cached.md": 1, "docs/loading.md": 0, "docs/operations.md": 0,
                 "docs/stores.md": 0, "docs/warming.md": 0}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent / "jobs" / "documents.py"), json.dumps(words),
         *(str(REPOSITORY / name) for name in documents)],
        cwd=folder, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    compared = dict(line.split() for line in done.stdout.splitlines() if line.partition(" ")[0].endswith(".md"))
    assert compared.keys() == {Path(name).name for name in documents}
    for name, least in documents.items():
        assert int(compared[Path(name).name]) >= least, f"{name}: values that were compared"
    raycache.detach_store(NAME, "users")
    with closing(sqlite3.connect(folder / "users.db")) as database:
        assert database.execute("select key from raycache").fetchall() == [("user:1",)], "beside who named the file"
