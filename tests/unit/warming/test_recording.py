"""Recording from shards in memory: what is asked, what is written, and that it ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from raycache.client.bulk import Recorded
from raycache.errors import CommandError, ShardUnavailableError
from raycache.warming.files import lines_of
from raycache.warming.read_log import accesses, hashed
from raycache.warming.recording import RecordReport, record

from .conftest import FakeTime


class FakeShards:
    """Shards that have noted something by the time they are asked."""

    cluster = "features"

    def __init__(self, **answers: list[Recorded | Exception | None]) -> None:
        self.answers = answers
        self.stopped: list[str] = []
        self.recorders: set[bytes] = set()

    def shard_ids(self) -> list[str]:
        return list(self.answers)

    def record(self, shard_id: str, recorder: bytes, sample: float, lease_ms: int) -> Recorded | None:
        self.recorders.add(recorder)
        answers = self.answers[shard_id]
        answer = answers.pop(0) if answers else Recorded(0, [])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def stop_recording(self, shard_id: str, recorder: bytes) -> None:
        self.stopped.append(shard_id)


def after(count: int) -> tuple[FakeTime, object]:
    """Return an event that is set after so many reports, and the watcher that sets it."""
    time = FakeTime()
    seen: list[RecordReport] = []

    def watcher(report: RecordReport) -> None:
        seen.append(report)
        if len(seen) == count:
            time.set()

    return time, watcher


def run(shards: FakeShards, out: Path, **options: object) -> RecordReport:
    time, watcher = after(3)
    return record(shards, out, seconds=1000, stop=time, watcher=watcher, **options)  # type: ignore[arg-type]


def test_what_the_shards_noted_is_in_the_file_in_order(tmp_path: Path) -> None:
    shards = FakeShards(s0=[Recorded(0, []), Recorded(2, [(30, "r", 5, 0, b"a"), (10, "m", 0, 0, b"b")])],
                        s1=[Recorded(0, [(20, "w", 7, 900, b"c")])])  # fmt: skip
    out = tmp_path / "reads.gz"
    report = run(shards, out)
    assert [(one.op, one.size, one.left_ms, one.key) for one in accesses(lines_of([out]))] == [
        ("w", 7, 900, b"c"), ("r", 5, 0, b"a"), ("m", 0, 0, b"b")]  # fmt: skip  # all before the start: as they came
    assert (report.reads, report.hit_ratio, report.dropped, report.counts["w"]) == (2, 0.5, 2, 1)
    assert sorted(shards.stopped) == ["s0", "s1"]
    assert len(shards.recorders) == 1
    assert report.as_json()["hits"] == 1


def test_hashes_can_stand_for_keys(tmp_path: Path) -> None:
    out = tmp_path / "reads.gz"
    run(FakeShards(s0=[Recorded(0, [(1, "r", 5, 0, b"secret")])]), out, hash_keys=True)
    (one,) = accesses(lines_of([out]))
    assert one.key == hashed(b"secret")


def test_a_full_shard_is_asked_again_at_once(tmp_path: Path) -> None:
    many = [Recorded(0, [(1, "r", 1, 0, b"k")] * 2000) for _ in range(3)]
    report = run(FakeShards(s0=[*many, Recorded(0, [(1, "r", 1, 0, b"k")])]), tmp_path / "reads.gz")
    assert report.reads == 6001


def test_a_shard_that_is_away_or_gone_leaves_the_others_alone(tmp_path: Path) -> None:
    shards = FakeShards(s0=[Recorded(0, [(1, "r", 1, 0, b"a")]), ShardUnavailableError("away")], s1=[None] * 9)
    report = run(shards, tmp_path / "reads.gz")
    assert (report.reads, report.gaps) == (1, 1)
    assert shards.stopped == ["s0"]


def test_somebody_elses_recording_is_an_error_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="somebody"):
        run(FakeShards(s0=[CommandError("somebody else is recording here")]), tmp_path / "reads.gz")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "reads.gz"
    out.write_text("mine")
    shards = FakeShards(s0=[])
    with pytest.raises(FileExistsError):
        run(shards, out)
    assert out.read_text() == "mine"
    assert shards.stopped == ["s0"]


@pytest.mark.parametrize("options", [{"sample": 0}, {"sample": 1.1}, {"seconds": 0}])
def test_what_makes_no_sense_is_refused(tmp_path: Path, options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        record(FakeShards(), tmp_path / "reads.gz", **options)
