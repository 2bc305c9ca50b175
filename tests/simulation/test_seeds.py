"""Two thousand seeds, spread over the modes, on a small slot table and in two processes.

`make sim SEEDS=100000` runs more. A seed that fails says the same again with
`python -m raycache.testing.simulation --seed N --trace`.
"""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

SEEDS = 2000


@pytest.mark.timeout(900)
def test_no_seed_breaks_a_promise() -> None:
    command = [sys.executable, "-m", "raycache.testing.simulation", "--seeds", str(SEEDS), "--processes", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=880, check=False)
    said = done.stdout.replace("\r", "\n").strip()
    assert f"{SEEDS} of {SEEDS} seeds" in said, said[-2000:] + done.stderr[-2000:]
    failed = {int(seed) for seed in re.findall(r"^seed (\d+):", said, re.MULTILINE)}
    assert not failed, "\n".join(line for line in said.splitlines() if line.startswith("seed "))
