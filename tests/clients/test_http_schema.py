"""A fuzzer that reads the HTTP door's own description of itself, and tries to find where that is not true."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from raycache.testing.local import LocalCluster
from tests.clients.http_door import http_door

# The cluster that runs; with names of others every request would end with 404. A version that the key is not at, and a
# command that Redis does not know, are valid questions with those answers.
CONFIG = """
[parameters]
"path.cluster" = "local"

[checks.positive_data_acceptance]
expected-statuses = ["2xx", "3xx", 400, 401, 403, 404, 409, 412, 429, 503]
"""


def test_the_fuzzer_finds_no_failure(tmp_path: Path) -> None:
    """Every check that it has, with requests that the description allows and requests that it does not."""
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG)
    program = str(Path(sys.executable).with_name("schemathesis"))
    with LocalCluster(shards=1) as cluster, http_door(cluster) as door:
        command = [program, "--config-file", str(config), "run", f"{door.url}/openapi.json", "--checks", "all",
                   "--phases", "examples,coverage,fuzzing", "--max-examples", "8", "--seed", "1",
                   "--request-timeout", "10", "--no-color"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False,
                              env=os.environ | {"COLUMNS": "120"})
        assert door.door.admission.held_bytes == 0
    assert done.returncode == 0, done.stdout[-12000:] + done.stderr[-2000:]
