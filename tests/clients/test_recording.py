"""Reads of real shards recorded over real sockets, and replayed against other ones."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
import redis

from raycache import Cache
from raycache.client.bulk import Bulk
from raycache.errors import CommandError
from raycache.testing.local import LocalCluster
from raycache.warming.files import lines_of
from raycache.warming.read_log import accesses
from raycache.warming.recording import RecordReport, record
from raycache.warming.replaying import Replayer

TRACES = Path(__file__).parents[3] / "shared" / "traces"


class Readers:
    """Does something once the recording has begun, and ends it once all of that was recorded."""

    def __init__(self, until: int) -> None:
        self.stop = threading.Event()
        self.begun = threading.Event()
        self._until = until

    def watch(self, report: RecordReport) -> None:
        self.begun.set()
        if sum(report.counts.values()) >= self._until:
            self.stop.set()


def recorded(cluster: LocalCluster, out: Path, until: int, work: object, **options: object) -> RecordReport:
    readers = Readers(until)

    def begin() -> None:
        assert readers.begun.wait(20)
        work()  # type: ignore[operator]

    thread = threading.Thread(target=begin)
    thread.start()
    try:
        with Cache(cluster.info) as cache:
            return record(Bulk(cache), out, seconds=30, stop=readers.stop, watcher=readers.watch, **options)  # type: ignore[arg-type]
    finally:
        thread.join(20)


def test_what_clients_read_is_recorded_whichever_door_they_use(tmp_path: Path) -> None:
    out = tmp_path / "reads.gz"
    with LocalCluster(3) as cluster, Cache(cluster.info) as cache:
        cache.set_many({f"k{number}": "x" * number for number in range(40)})

        def work() -> None:
            cache.get("k7")
            cache.get_many([f"k{number}" for number in range(30)])
            client = redis.Redis(port=cluster.gateway_address[1])
            client.set("fresh", "abc", px=60_000)
            assert client.get("fresh") == b"abc"
            assert client.get("nobody") is None
            client.close()

        report = recorded(cluster, out, 34, work, sample=1.0)
        assert (report.counts["r"], report.counts["m"], report.counts["w"]) == (32, 1, 1)
        for index in range(3):  # nobody is in the way any more
            server = cluster.servers[index]
            assert server is not None
            assert cluster.call(lambda server=server: server.core.recording, index) is None  # type: ignore[misc]
    found = list(accesses(lines_of([out])))
    assert {(one.op, one.size) for one in found if one.key in (b"k7", b"fresh", b"nobody")} == {
        ("r", 7), ("w", 3), ("r", 3), ("m", 0)}  # fmt: skip
    lifetimes = [one.left_ms for one in found if one.key == b"fresh"]
    assert all(59_000 < left <= 60_000 for left in lifetimes)
    assert [one.at_ms for one in found] == sorted(one.at_ms for one in found)


def test_what_replicas_answer_is_recorded_too(tmp_path: Path) -> None:
    with LocalCluster(3, gateway=False, copies=2) as cluster, Cache(cluster.info, read_from="replica") as cache:
        cache.set("k", "v", acks=1)
        read = [cache.get("k")]

        def work() -> None:
            read.extend(cache.get("k") for _ in range(20))

        report = recorded(cluster, tmp_path / "reads.gz", 20, work, sample=1.0)
    assert read == ["v"] * 21
    assert (report.counts["r"], report.counts["m"]) == (20, 0)


def test_two_recordings_at_once_are_refused(tmp_path: Path) -> None:
    with LocalCluster(1, gateway=False) as cluster, Cache(cluster.info) as cache:
        Bulk(cache).record("s0", b"somebody", 1.0, 60_000)
        with pytest.raises(CommandError, match="somebody else"):
            record(Bulk(cache), tmp_path / "reads.gz", seconds=1)
        Bulk(cache).stop_recording("s0", b"somebody")


def test_a_replay_reaches_the_ratio_that_was_recorded(tmp_path: Path) -> None:
    out = tmp_path / "reads.gz"
    with LocalCluster(2, gateway=False) as cluster, Cache(cluster.info) as cache:

        def work() -> None:
            for number in range(600):
                key = f"k{number * number % 97}"
                if cache.get(key) is None:
                    cache.set(key, "v" * 50)

        distinct = len({number * number % 97 for number in range(600)})
        report = recorded(cluster, out, 600 + distinct, work, sample=1.0)
    assert report.hit_ratio == pytest.approx(1 - distinct / 600)
    with LocalCluster(3, gateway=False) as fresh, Cache(fresh.info) as cache:
        replayed = Replayer(Bulk(cache), accesses(lines_of([out])), speed=None).run()
        assert replayed.reads == 600
        assert replayed.hit_ratio == replayed.recorded_hit_ratio == report.hit_ratio
        assert len(set(cache.scan())) == distinct
        again = Replayer(Bulk(cache), accesses(lines_of([out])), speed=50.0).run()
        assert again.hit_ratio == 1.0


def test_a_trace_is_replayed_with_the_hits_of_its_policy() -> None:
    path = TRACES / "multi3.txt.gz"
    if not path.exists():
        pytest.skip("the traces are not here")
    with LocalCluster(1, gateway=False, policy="lru", max_entries_per_shard=745) as small, Cache(small.info) as cache:
        report = Replayer(Bulk(cache), accesses(lines_of([path])), speed=None, batch=1).run()
    assert report.reads == 30_241
    reference = json.loads((TRACES / "reference.json").read_text())["traces"]["multi3"]
    assert report.hits == reference["entries"]["745"]["exact_hits"]["LRU"]
