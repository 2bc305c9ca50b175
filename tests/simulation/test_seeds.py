"""Two thousand seeds, spread over the modes: no promise is broken in any.

`make sim SEEDS=100000` runs more. A seed that fails here says the same again with
`python -m raycache.testing.simulation --seed N --trace`.
"""

from __future__ import annotations

import pytest

from raycache.testing.simulation import run_seed

SEEDS = 2000
CHUNK = 100


@pytest.mark.timeout(300)
@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_every_promise_is_kept(first: int) -> None:
    failed = {}
    for seed in range(first, first + CHUNK):
        outcome = run_seed(seed)
        if outcome.breaches:
            failed[seed] = outcome.breaches
    said = [f"seed {seed}: {breach}" for seed, breaches in failed.items() for breach in breaches[:3]]
    assert not failed, f"python -m raycache.testing.simulation --seed {min(failed)} --trace\n" + "\n".join(said)
