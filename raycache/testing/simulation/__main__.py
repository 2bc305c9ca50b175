"""The command line: one seed with its trace, or many.

    python -m raycache.testing.simulation --seed 17 --trace
    python -m raycache.testing.simulation --seeds 100000 --processes 2

It has a smaller slot table than the real one unless told otherwise, which makes it several times as fast: see
`few_slots`.
"""

from __future__ import annotations

import argparse
import gc
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from time import monotonic

from raycache.ring.slots import SLOT_COUNT
from raycache.testing.simulation.run import run_seed

CHUNK = 50
COLLECT_EVERY = 5
"""Worlds are full of cycles and die all at once: looking for garbage while one runs costs a tenth and finds none."""
FEW_SLOTS = 256


def _run_chunk(first: int, count: int, mode: str | None) -> tuple[int, int, int, list[tuple[int, list[str]]]]:
    failures: list[tuple[int, list[str]]] = []
    operations = events = 0
    gc.freeze()  # what is there already stays
    gc.disable()
    for seed in range(first, first + count):
        if seed % COLLECT_EVERY == 0:
            gc.collect()
        try:
            outcome = run_seed(seed, mode=mode)
            operations, events = operations + outcome.operations, events + outcome.events
            breaches = outcome.breaches
        except Exception as error:
            breaches = [f"raised {error!r}"]
        if breaches:
            failures.append((seed, breaches))
    return count, operations, events, failures


def _one(seed: int, mode: str | None, is_traced: bool) -> int:
    outcome = run_seed(seed, mode=mode, is_traced=is_traced)
    print(*outcome.trace, sep="\n", end="\n" if outcome.trace else "")
    print(outcome.scenario)
    print(f"{outcome.operations} operations, {outcome.events} events, {outcome.simulated_s:.1f} simulated seconds"
          + (f", trace {outcome.fingerprint()}" if is_traced else ""))
    print(*outcome.breaches or ["every promise was kept"], sep="\n")
    return 1 if outcome.breaches else 0


def _many(first: int, seeds: int, mode: str | None, processes: int) -> int:
    started_s, done, operations, failed = monotonic(), 0, 0, 0
    chunks = [(at, min(CHUNK, first + seeds - at)) for at in range(first, first + seeds, CHUNK)]
    with ProcessPoolExecutor(processes) as pool:
        for count, some, _, failures in pool.map(_run_chunk, *zip(*chunks, strict=True), [mode] * len(chunks)):
            done, operations, failed = done + count, operations + some, failed + len(failures)
            for seed, breaches in failures:
                more = f" (and {len(breaches) - 1} more)" if breaches[1:] else ""
                print(f"\rseed {seed}: {breaches[0][:300]}{more}")
            rate = done / (monotonic() - started_s)
            print(f"\r{done} of {seeds} seeds, {operations} operations, {failed} failed, {rate:.1f} seeds/s", end="",
                  flush=True)
    print()
    return 1 if failed else 0


def main(slots: int = SLOT_COUNT) -> int:
    """Run what the command line asks for; return the exit code: 1 where a promise was broken.

    Args:
        slots: how many this process has.
    """
    parser = argparse.ArgumentParser(prog="python -m raycache.testing.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="run this one")
    parser.add_argument("--trace", action="store_true", help="print everything that happens in it")
    parser.add_argument("--seeds", type=int, default=2000, help="run so many")
    parser.add_argument("--first", type=int, default=0, help="beginning with this one")
    parser.add_argument("--mode", help="primary-replica, multi-primary, quorum or single, in place of a mix")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--slots", type=int, default=FEW_SLOTS, help="16384 is the real number; 256 is faster")
    options = parser.parse_args()
    if options.slots != slots:
        script = str(Path(__file__).with_name("few_slots.py"))
        return subprocess.run([sys.executable, script, str(options.slots), *sys.argv[1:]], check=False).returncode
    if options.seed is not None:
        return _one(options.seed, options.mode, options.trace)
    return _many(options.first, options.seeds, options.mode, options.processes)


if __name__ == "__main__":
    sys.exit(main())
