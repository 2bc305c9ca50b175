"""The load that remembers: what its records show, and that a loss never goes unseen."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.traffic import findings
from benchmarks.traffic.generator import Generator
from benchmarks.traffic.plan import Load, counter_of
from benchmarks.traffic.records import FAILED, MISSING, OK, OLDER, READ, WRITE, Recorder, Records
from raycache.ring.slots import slot_of

LOAD = Load("raycache", ("127.0.0.1:1",), "k", keys=20, write_share=0.5)


class FakeTarget:
    """A dict that can be told to fail, and to forget."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.fails = False

    async def read(self, key: str) -> bytes | None:
        if self.fails:
            raise ConnectionError("0x7f00 is gone")
        return self.values.get(key)

    async def write(self, key: str, value: bytes) -> object:
        if self.fails:
            raise ConnectionError("0x7fff is gone")
        self.values[key] = value
        return None

    async def read_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        return {key: self.values[key] for key in keys if key in self.values}

    async def write_many(self, values: Mapping[str, bytes]) -> object:
        self.values.update(values)
        return None

    async def close(self) -> object:
        return None


@pytest.fixture
def target() -> FakeTarget:
    return FakeTarget()


@pytest.fixture
def generator(target: FakeTarget) -> Generator:
    return Generator(LOAD, target)


async def saved(generator: Generator, tmp_path: Path) -> tuple[Records, dict[str, Any]]:
    said = await generator.save({"path": str(tmp_path / "r.npz")})
    return Records.load({tmp_path / "r.npz": LOAD.slots()}), said


async def test_values_count_up_and_every_operation_is_recorded(generator: Generator, target: FakeTarget,
                                                               tmp_path: Path) -> None:
    await generator.fill({})
    for _ in range(LOAD.keys + 1):
        await generator._write()
    await generator._read(3)
    records, said = await saved(generator, tmp_path)
    counts = findings.count(records)
    assert (counts.writes, counts.reads, counts.failed) == (LOAD.keys + 1, 1, 0)
    assert said == {"errors": {}, "shed": 0}
    assert sorted(map(counter_of, target.values.values())) == [1] * (LOAD.keys - 1) + [2], "each key in its turn"
    assert set(records.slot) <= {slot_of(name.encode()) for name in LOAD.names()}


async def test_what_was_acknowledged_and_is_gone_counts_once(generator: Generator, target: FakeTarget) -> None:
    await generator.fill({})
    for _ in range(2 * LOAD.keys):
        await generator._write()
    names = LOAD.names()
    target.values[names[0]] = LOAD.value(1)
    del target.values[names[1]]
    assert await generator.verify({}) == {"lost_keys": 2, "lost_writes": 1 + 3, "keys": LOAD.keys}
    assert (await generator.verify({}))["lost_writes"] == 0


async def test_a_write_that_failed_may_have_happened_and_is_no_loss(generator: Generator, target: FakeTarget) -> None:
    await generator.fill({})
    target.fails = True
    for _ in range(LOAD.keys):
        await generator._write()
    target.fails = False
    assert (await generator.verify({}))["lost_keys"] == 0
    target.values[LOAD.names()[5]] = LOAD.value(1)
    assert (await generator.verify({}))["lost_keys"] == 0


async def test_reads_are_told_apart_by_what_should_have_come(generator: Generator, target: FakeTarget,
                                                             tmp_path: Path) -> None:
    await generator.fill({})
    for _ in range(LOAD.keys):
        await generator._write()
    names = LOAD.names()
    await generator._read(0)
    target.values[names[1]] = LOAD.value(0)
    await generator._read(1)
    del target.values[names[2]]
    await generator._read(2)
    target.fails = True
    await generator._read(3)
    records, said = await saved(generator, tmp_path)
    assert records.outcome[records.kind == READ].tolist() == [OK, OLDER, MISSING, FAILED]
    assert said["errors"] == {"ConnectionError: 0x... is gone": 1}


async def test_a_load_goes_at_its_rate_until_it_is_calmed(generator: Generator, tmp_path: Path) -> None:
    await generator.fill({})
    await generator.go({"rate": 1e6})
    while not generator._tasks and not len(generator._recorder.kind):
        await asyncio.sleep(0)
    assert await generator.calm({}) == {"unfinished": 0}
    records, _ = await saved(generator, tmp_path)
    assert len(records)


def test_a_load_survives_its_trip_to_another_process() -> None:
    load = Load("redis", ("a:1", "b:2"), "p", options={"write": {"acks": 1}}, only_slots=(1, 2))
    assert Load.from_json(load.as_json()) == load


def test_keys_can_be_kept_to_some_slots() -> None:
    load = Load("raycache", (), "k", keys=5, only_slots=tuple(range(1000)))
    names = load.names()
    assert len(set(names)) == 5
    assert all(slot_of(name.encode()) < 1000 for name in names)
    assert load.slots().tolist() == [slot_of(name.encode()) for name in names]


@pytest.mark.parametrize("value", [b"short", "text", b"no number at all", None])
def test_a_value_of_somebody_else_is_an_error(value: object) -> None:
    with pytest.raises(ValueError, match=r"not a value of ours|invalid literal"):
        counter_of(value)


def records_of(*rows: tuple[int, int, float, float, int]) -> Records:
    """Records of (kind, slot, began_s, ended_s, outcome)."""
    kind, slot, began_s, ended_s, outcome = (np.array(column) for column in zip(*rows, strict=True))
    return Records(began_s.astype(float), ended_s.astype(float), kind, outcome, slot)


def test_the_longest_gap_is_between_acknowledged_writes_to_these_slots() -> None:
    records = records_of((WRITE, 7, 0, 1.0, OK), (WRITE, 7, 0, 1.5, OK), (WRITE, 7, 0, 1.7, FAILED),
                         (WRITE, 8, 0, 1.8, OK), (READ, 7, 0, 1.9, OK), (WRITE, 7, 0, 4.0, OK))
    slots = np.array([7])
    assert findings.longest_gap_s(records, slots, 0.9, 4.1) == pytest.approx(2.5)
    assert findings.longest_gap_s(records, slots, 0.9, 3.0) == pytest.approx(1.5), "silence until the end is a gap"
    assert findings.longest_gap_s(records, np.array([9]), 1.0, 3.0) == pytest.approx(2.0)


def test_reads_are_timed_if_they_gave_an_answer() -> None:
    records = records_of((READ, 1, 1.0, 1.002, OK), (READ, 1, 2.0, 7.0, FAILED), (WRITE, 1, 1, 9, OK),
                         (READ, 1, 3.0, 3.5, MISSING))
    assert findings.read_times_ms(records).tolist() == pytest.approx([2.0, 500.0])
    assert findings.read_times_ms(findings.between(records, 2.5, 4)).tolist() == pytest.approx([500.0])


def test_records_of_several_generators_keep_their_slots(tmp_path: Path) -> None:
    files = {}
    for number in range(2):
        recorder = Recorder()
        recorder.add(WRITE, number, 1.0, 2.0, OK)
        recorder.save(tmp_path / f"{number}.npz")
        assert not len(recorder.kind)
        files[tmp_path / f"{number}.npz"] = np.array([100 + number, 200 + number])
    assert sorted(Records.load(files).slot.tolist()) == [100, 201]
