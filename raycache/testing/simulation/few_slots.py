"""Run the simulation on a smaller slot table: `python few_slots.py 256 --seeds 2000`.

What lives here: making `raycache.ring.slots` say another number before anything else asks for it, in a process of its
own. Every module works out its tables from that one number, and a table of 16,384 slots costs four fifths of a
simulation that uses sixteen keys. Nothing but this script may do that: Redis' clients count on 16,384.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def shrink(slots: int) -> None:
    """Let this process have so many slots, a power of two of at least 8; before anything of raycache is imported."""
    spec = importlib.util.spec_from_file_location("raycache.ring.slots", ROOT / "raycache" / "ring" / "slots.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.SLOT_COUNT, module._MASK, module.BITMAP_BYTES = slots, slots - 1, slots // 8  # type: ignore[attr-defined]
    sys.modules["raycache.ring.slots"] = module


def _run() -> int:
    slots = int(sys.argv.pop(1))
    sys.path[0] = str(ROOT)
    shrink(slots)
    from raycache.testing.simulation.__main__ import main

    return main(slots)


if __name__ == "__main__":
    sys.exit(_run())
