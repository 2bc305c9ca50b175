"""Replay against a cluster in memory: order, times, fills, counts."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raycache.client.bulk import RawEntry
from raycache.errors import ShardUnavailableError
from raycache.warming.read_log import Access
from raycache.warming.replaying import GIVE_UP_AFTER, Replayer, ReplayReport

from .conftest import FakeTime


class SmallCluster:
    """An LRU of so many entries."""

    def __init__(self, capacity: int = 1 << 30) -> None:
        self.capacity = capacity
        self.held: OrderedDict[bytes, tuple[int, int]] = OrderedDict()
        self.failure: Exception | None = None
        self.calls: list[str] = []

    def get_sizes(self, keys: Sequence[bytes]) -> list[int | None]:
        self.calls.append(f"get {len(keys)}")
        if self.failure is not None:
            raise self.failure
        for key in keys:
            if key in self.held:
                self.held.move_to_end(key)
        return [self.held[key][0] if key in self.held else None for key in keys]

    def add(self, entries: Sequence[RawEntry]) -> list[bool]:
        for entry in entries:
            assert entry.key not in self.held
            self.put(entry.key, entry.data, entry.left_ms)
        return [True] * len(entries)

    def put(self, key: bytes, data: bytes, left_ms: int) -> None:
        self.held[key] = (len(data), left_ms)
        self.held.move_to_end(key)
        if len(self.held) > self.capacity:
            self.held.popitem(last=False)

    def delete(self, key: bytes) -> None:
        self.calls.append("delete")
        self.held.pop(key, None)


def reads(*keys: str, every_ms: int = 0) -> list[Access]:
    return [Access(number * every_ms, "r", 10, 0, key.encode()) for number, key in enumerate(keys)]


def replay(cluster: SmallCluster, accesses: Iterable[Access], **options: object) -> ReplayReport:
    return Replayer(cluster, accesses, speed=None, **options).run()  # type: ignore[arg-type]


def test_a_miss_is_filled_with_the_recorded_size_and_lifetime() -> None:
    cluster = SmallCluster()
    report = replay(cluster, [Access(0, "r", 80, 5000, b"a"), *reads("a", "b", "a")])
    assert cluster.held == {b"a": (80, 5000), b"b": (10, 0)}
    assert (report.hits, report.misses, report.fills, report.hit_ratio) == (2, 2, 2, 0.5)
    assert report.recorded_hit_ratio == 1.0


def test_a_miss_that_was_one_is_filled_by_what_was_written_then() -> None:
    cluster = SmallCluster()
    report = replay(cluster, [Access(0, "m", 0, 0, b"a"), Access(1, "w", 7, 900, b"a"), Access(2, "r", 7, 800, b"a"),
                              Access(3, "m", 0, 0, b"never")])  # fmt: skip
    assert cluster.held == {b"a": (7, 900)}
    assert (report.hits, report.misses, report.fills, report.writes, report.recorded_hits) == (1, 2, 0, 1, 1)


def test_deletes_are_replayed_in_their_place() -> None:
    report = replay(SmallCluster(), [*reads("a", "a"), Access(0, "d", 0, 0, b"a"), *reads("a")])
    assert (report.hits, report.misses) == (1, 2)


def test_reads_go_together_until_a_key_comes_again() -> None:
    cluster = SmallCluster()
    replay(cluster, reads(*"abcabcd", *"defghij"), batch=4)
    assert cluster.calls == ["get 3", "get 4", "get 4", "get 3"]


@given(st.lists(st.integers(0, 8), max_size=80), st.integers(1, 6))
def test_one_at_a_time_the_hits_are_exactly_those_of_an_lru(numbers: list[int], capacity: int) -> None:
    held: OrderedDict[int, None] = OrderedDict()
    hits = 0
    for number in numbers:
        hits += number in held
        held[number] = None
        held.move_to_end(number)
        if len(held) > capacity:
            held.popitem(last=False)
    report = replay(SmallCluster(capacity), reads(*map(str, numbers)), batch=1)
    assert (report.hits, report.reads) == (hits, len(numbers))


@pytest.mark.parametrize(("speed", "seconds"), [(1.0, 0.9), (3.0, 0.3)])
def test_times_are_kept(speed: float, seconds: float) -> None:
    time, cluster = FakeTime(), SmallCluster()
    report = Replayer(cluster, reads(*"abcdefghij", every_ms=100), speed=speed, clock=time, stop=time).run()  # type: ignore[arg-type]
    assert report.seconds == pytest.approx(seconds)
    assert cluster.calls == ["get 1"] * 10  # nothing is sent before its time
    assert report.late_s == pytest.approx(0)


def test_a_cluster_that_cannot_keep_up_is_told() -> None:
    time = FakeTime()

    class Slow(SmallCluster):
        def get_sizes(self, keys: Sequence[bytes]) -> list[int | None]:
            time.now_s += 0.5
            return super().get_sizes(keys)

    cluster = Slow()
    report = Replayer(cluster, reads(*"abcdef", every_ms=100), clock=time, stop=time).run()  # type: ignore[arg-type]
    assert report.late_s == pytest.approx(0.4)
    assert cluster.calls == ["get 1", "get 5"]  # what was overdue goes together


def test_a_cluster_that_is_gone_is_given_up() -> None:
    cluster = SmallCluster()
    cluster.failure = ShardUnavailableError("s0 is away")
    report = replay(cluster, reads(*(str(number) for number in range(1000))), batch=10)
    assert (report.end, report.error) == ("gave up", "s0 is away")
    assert report.failed == pytest.approx(10 * GIVE_UP_AFTER, abs=10)


def test_it_stops_when_told_to() -> None:
    time = FakeTime()
    replayer = Replayer(SmallCluster(), reads(*"abcdef", every_ms=1000), clock=time, stop=time,  # type: ignore[arg-type]
                        watcher=lambda report: time.set())  # fmt: skip
    report = replayer.run()
    assert report.end == "stopped"
    assert report.reads < 6


def test_the_ratio_over_time_is_that_of_each_stretch() -> None:
    time = FakeTime()
    accesses = [*reads(*"abcdefghij", every_ms=300), *reads(*"a" * 20, every_ms=0)]
    report = Replayer(SmallCluster(), accesses, clock=time, stop=time).run()  # type: ignore[arg-type]
    assert report.hit_ratio_over_time[0][1] == 0.0
    assert report.hit_ratio_over_time[-1][1] > 0.5
    assert report.as_json()["hit_ratio"] == report.hits / report.reads


@pytest.mark.parametrize("options", [{"speed": 0.0}, {"speed": -1.0}, {"batch": 0}])
def test_what_makes_no_sense_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="positive"):
        Replayer(SmallCluster(), [], **options)  # type: ignore[arg-type]
