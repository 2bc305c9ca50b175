"""Two thousand seeds, spread over the modes, on a small slot table and in two processes.

`make sim SEEDS=100000` runs more. A seed that fails says the same again with
`python -m raycache.testing.simulation --seed N --trace`.

`KNOWN` is a bug that is not fixed yet (docs/promises.md says what it is), and no seed beside it may fail.
"""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

SEEDS = 2000
KNOWN = {1282}
"""Two owners that are cut off acknowledge a write while their slot is being given to others; then one of them dies."""


@pytest.mark.timeout(900)
def test_no_other_seed_breaks_a_promise() -> None:
    command = [sys.executable, "-m", "raycache.testing.simulation", "--seeds", str(SEEDS), "--processes", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=880, check=False)
    said = done.stdout.replace("\r", "\n").strip()
    assert f"{SEEDS} of {SEEDS} seeds" in said, said[-2000:] + done.stderr[-2000:]
    failed = {int(seed) for seed in re.findall(r"^seed (\d+):", said, re.MULTILINE)}
    assert failed <= KNOWN, "\n".join(line for line in said.splitlines() if line.startswith("seed "))
