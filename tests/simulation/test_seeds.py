"""Two thousand seeds, spread over the modes, on a small slot table and in two processes.

`make sim SEEDS=100000` runs more. A seed that fails says the same again with
`python -m raycache.testing.simulation --seed N --trace`.

What is tolerated is not fine: about three seeds in a thousand, in which several things fail at once, still break a
promise, and docs/promises.md says so. The bound keeps it from getting worse until there are none.
"""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

SEEDS = 2000
TOLERATED = 12


@pytest.mark.timeout(900)
def test_hardly_any_seed_breaks_a_promise() -> None:
    command = [sys.executable, "-m", "raycache.testing.simulation", "--seeds", str(SEEDS), "--processes", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=880, check=False)
    failed = sorted({int(seed) for seed in re.findall(r"^seed (\d+):", done.stdout.replace("\r", "\n"), re.MULTILINE)})
    last = done.stdout.replace("\r", "\n").strip().splitlines()[-1]
    assert f"{SEEDS} of {SEEDS} seeds" in last, done.stdout[-2000:] + done.stderr[-2000:]
    assert len(failed) <= TOLERATED, f"{failed}\n{done.stdout[-4000:]}"
