"""Rays other than the session's own: several nodes, and one that was started without our settings."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

JOBS = pathlib.Path(__file__).with_name("jobs")
ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("job", ["several_nodes", "foreign_ray"])
def test_job(job: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run([sys.executable, str(JOBS / f"{job}.py")], cwd=ROOT, env=environment, capture_output=True,
                          text=True, timeout=220, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    assert done.stdout.strip().endswith("passed")
