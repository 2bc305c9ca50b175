"""A generator: begins operations at their times, whether or not earlier ones have ended, and records each.

What lives here: the schedule, the books on what each key must hold, and the loop that takes orders. Each of its keys
holds a counter that grows with every write, and only one operation writes a key at a time: so a value says whether an
acknowledged write is missing. Writes take the keys in turn, so that within one cycle no write hides the loss of
another.

Run as a process by `crew`: orders are lines of JSON on its standard input, each answered by one line.
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import re
import sys
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from time import monotonic
from typing import Any, Final

import uvloop

from benchmarks.traffic.plan import Load, counter_of
from benchmarks.traffic.records import FAILED, MISSING, OK, OLDER, READ, WRITE, Recorder
from benchmarks.traffic.targets import Target, open_target

TICK_S: Final = 0.002
# Open loop, but not without end: where nothing is answered, this many wait and the rest is counted as shed.
MOST_OUTSTANDING: Final = 5_000
BATCH: Final = 1_000
CALM_TIMEOUT_S: Final = 60.0
NOTHING: Final = -1
"""Stands for the counter of a key that holds nothing, and need not."""
_ADDRESS: Final = re.compile("0x[0-9a-f]+")


class Generator:
    """One load on one target."""

    def __init__(self, load: Load, target: Target) -> None:
        self._load = load
        self._target = target
        self._rng = random.Random(load.seed)
        self._names = load.names()
        self._order = self._rng.sample(range(load.keys), load.keys)
        self._turn = 0
        self._acked = [NOTHING] * load.keys
        self._tried = [0] * load.keys
        self._writing = bytearray(load.keys)
        self._recorder = Recorder()
        self._errors: Counter[str] = Counter()
        self._shed = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._running: asyncio.Task[None] | None = None

    # Orders

    async def fill(self, order: dict[str, Any]) -> dict[str, Any]:
        """Write every key once."""
        for first in range(0, self._load.keys, BATCH):
            names = self._names[first : first + BATCH]
            await self._target.write_many(dict.fromkeys(names, self._load.value(0)))
            self._acked[first : first + BATCH] = [0] * len(names)
        return {}

    async def go(self, order: dict[str, Any]) -> dict[str, Any]:
        """Begin the load, at `rate` if given."""
        if self._running is None:
            self._running = asyncio.get_running_loop().create_task(self._run(order.get("rate", self._load.rate)))
        return {}

    async def calm(self, order: dict[str, Any]) -> dict[str, Any]:
        """Begin nothing more, and wait until all that was begun has ended."""
        if self._running is not None:
            self._running.cancel()
            self._running = None
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CALM_TIMEOUT_S)
        return {"unfinished": len(self._tasks)}

    async def verify(self, order: dict[str, Any]) -> dict[str, Any]:
        """Read every key, and say how many acknowledged writes are not there, nor anything newer.

        What is there counts as acknowledged from now on, so that no loss counts twice.
        """
        lost_keys = lost_writes = 0
        for first in range(0, self._load.keys, BATCH):
            names = self._names[first : first + BATCH]
            found = await self._target.read_many(names)
            for number, name in enumerate(names, first):
                holds = counter_of(found[name]) if name in found else NOTHING
                if holds < self._acked[number]:
                    lost_keys += 1
                    lost_writes += self._acked[number] - holds
                self._acked[number] = holds
        return {"lost_keys": lost_keys, "lost_writes": lost_writes, "keys": self._load.keys}

    async def save(self, order: dict[str, Any]) -> dict[str, Any]:
        """Write the records to the file `path`, and say what went wrong how often."""
        self._recorder.save(Path(order["path"]))
        said = {"errors": dict(self._errors.most_common(10)), "shed": self._shed}
        self._errors.clear()
        self._shed = 0
        return said

    async def end(self, order: dict[str, Any]) -> dict[str, Any]:
        """Close the connections."""
        await self.calm(order)
        await self._target.close()
        return {}

    # The load

    async def _run(self, rate: float) -> None:
        create = asyncio.get_running_loop().create_task
        rng, share = self._rng, self._load.write_share
        began_s, begun = monotonic(), 0
        while True:
            due = int((monotonic() - began_s) * rate)
            while begun < due:
                begun += 1
                if len(self._tasks) >= MOST_OUTSTANDING:
                    self._shed += 1
                    continue
                work = self._write() if rng.random() < share else self._read(rng.randrange(self._load.keys))
                task = create(work)
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            await asyncio.sleep(TICK_S)

    def _next_to_write(self) -> int | None:
        for _ in range(self._load.keys):
            self._turn = (self._turn + 1) % self._load.keys
            number = self._order[self._turn]
            if not self._writing[number]:
                return number
        return None

    async def _write(self) -> None:
        number = self._next_to_write()
        if number is None:
            self._shed += 1
            return
        self._writing[number] = 1
        counter = self._tried[number] = self._tried[number] + 1
        began_s = monotonic()
        outcome = OK
        try:
            await self._target.write(self._names[number], self._load.value(counter))
            self._acked[number] = counter
        except Exception as error:
            outcome = self._failed(error)
        finally:
            self._writing[number] = 0
        self._recorder.add(WRITE, number, began_s, monotonic(), outcome)

    async def _read(self, number: int) -> None:
        expected = self._acked[number]
        began_s = monotonic()
        try:
            value = await self._target.read(self._names[number])
            ended_s = monotonic()
            holds = NOTHING if value is None else counter_of(value)
            outcome = OK if holds >= expected else MISSING if value is None else OLDER
        except Exception as error:
            ended_s = monotonic()
            outcome = self._failed(error)
        self._recorder.add(READ, number, began_s, ended_s, outcome)

    def _failed(self, error: Exception) -> int:
        self._errors[_ADDRESS.sub("0x...", f"{type(error).__name__}: {error!s:.200}")] += 1
        return FAILED


async def serve(load: Load) -> None:
    """Carry out orders until there are no more."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    generator = Generator(load, await open_target(load))
    orders: dict[str, Callable[[dict[str, Any]], Coroutine[Any, Any, dict[str, Any]]]] = {
        name: getattr(generator, name) for name in ("fill", "go", "calm", "verify", "save", "end")
    }
    gc.collect()
    gc.freeze()
    _answer({"ready": True})
    while line := await reader.readline():
        order = json.loads(line)
        try:
            _answer(await orders[order["do"]](order))
        except Exception as error:
            _answer({"error": f"{order['do']}: {type(error).__name__}: {error}"})
        if order["do"] == "end":
            return


def _answer(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    uvloop.run(serve(Load.from_json(sys.argv[1])))
