"""One warming: what is loaded in which order, what is passed over, retried, given up, stopped and resumed."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from raycache.client.bulk import RawEntry
from raycache.codec import TEXT
from raycache.errors import ShardUnavailableError
from raycache.warming.api import source_keys
from raycache.warming.files import Position, ProgressFile, fingerprint
from raycache.warming.filling import CopyFiller, LoadError, LoadFiller, loader_of
from raycache.warming.pace import WarmSettings
from raycache.warming.running import Warmer

from .conftest import FakeCluster, FakeDatabase, FakeTime

KEYS = [b"k%d" % number for number in range(250)]
ROWS = {f"k{number}": f"v{number}" for number in range(250)}


def warmer(cluster: FakeCluster, database: FakeDatabase, time: FakeTime, *, keys: list[bytes] = KEYS,
           settings: WarmSettings | None = None, **options: Any) -> Warmer:  # fmt: skip
    settings = settings or WarmSettings()
    filler = LoadFiller(cluster, database, ttl_s=settings.ttl_s, jitter=settings.jitter, clock=time,
                        rng=random.Random(1))
    return Warmer(filler, keys, settings, clock=time, stop=time, cluster="c", **options)  # type: ignore[arg-type]


def test_keys_are_loaded_in_their_order_in_batches_with_a_delay(fake_time: FakeTime) -> None:
    cluster, database = FakeCluster(), FakeDatabase(ROWS)
    report = warmer(cluster, database, fake_time).run()
    assert [len(asked) for asked in database.asked] == [100, 100, 50]
    assert [key for asked in database.asked for key in asked] == list(ROWS)
    assert fake_time.waited == [0.1, 0.1]
    assert (report.loaded, report.end, report.position, report.loads) == (250, "done", 250, 3)
    assert cluster.held[b"k7"] == RawEntry(b"k7", TEXT, b"v7", 0)


def test_what_is_there_is_neither_loaded_nor_overwritten_nor_waited_for(fake_time: FakeTime) -> None:
    mine = [RawEntry(key, TEXT, b"mine", 5) for key in KEYS[:200]]
    cluster, database = FakeCluster(*mine), FakeDatabase(ROWS)
    report = warmer(cluster, database, fake_time).run()
    assert (report.present, report.loaded) == (200, 50)
    assert database.asked == [[f"k{number}" for number in range(200, 250)]]
    assert [cluster.held[entry.key] for entry in mine] == mine
    assert fake_time.waited == []


def test_what_came_while_it_was_loaded_stays(fake_time: FakeTime) -> None:
    cluster = FakeCluster()
    newer = RawEntry(b"k1", TEXT, b"newer", 0)

    def load(keys: list[str]) -> dict[str, str]:
        cluster.write(newer)
        return dict.fromkeys(keys, "old")

    filler = LoadFiller(cluster, load, ttl_s=None, jitter=0.1, clock=fake_time, rng=random.Random(1))
    filled = filler.fill([b"k0", b"k1"])
    assert (filled.loaded, filled.present, filled.overtaken) == (1, 0, (b"k1",))
    assert cluster.held[b"k1"] is newer


def test_what_was_read_before_a_delete_is_not_stored_after_it(fake_time: FakeTime) -> None:
    """The textbook's race: the row is read, then changed and its key deleted, and only then would the old row come."""
    cluster = FakeCluster()

    rows = ["new", "old"]
    seen: list[bool] = []

    def load(keys: list[str]) -> dict[str, str]:
        seen.append(b"k1" in cluster.held)
        row = rows.pop()
        if row == "old":
            cluster.delete(b"k1")
        return dict.fromkeys(keys, row)

    filler = LoadFiller(cluster, load, ttl_s=None, jitter=0, clock=fake_time, rng=random.Random(1))
    report = Warmer(filler, [b"k0", b"k1"], WarmSettings(), clock=fake_time, stop=fake_time).run()  # type: ignore[arg-type]
    assert (report.loaded, report.failed, report.backoffs) == (2, 0, 0)
    assert seen == [False, False]  # the old row was never there
    assert (cluster.held[b"k0"].data, cluster.held[b"k1"].data) == (b"old", b"new")


def test_a_key_that_is_always_overtaken_is_given_up(fake_time: FakeTime) -> None:
    cluster = FakeCluster()

    def load(keys: list[str]) -> dict[str, str]:
        cluster.delete(b"k1")
        return dict.fromkeys(keys, "old")

    filler = LoadFiller(cluster, load, ttl_s=None, jitter=0, clock=fake_time, rng=random.Random(1))
    report = Warmer(filler, [b"k1", b"k2"], WarmSettings(), clock=fake_time, stop=fake_time).run()  # type: ignore[arg-type]
    assert (report.loaded, report.failed, report.end) == (1, 1, "done")


def test_no_lease_is_left_behind(fake_time: FakeTime) -> None:
    cluster, database = FakeCluster(), FakeDatabase({"k1": 1})
    warmer(cluster, database, fake_time, keys=KEYS[:50]).run()
    assert cluster.leases == {}
    database.bad = {"k60"}
    warmer(cluster, database, fake_time, keys=KEYS[50:100]).run()
    assert cluster.leases == {}


def test_what_somebody_else_loads_is_left_to_them(fake_time: FakeTime) -> None:
    cluster, database = FakeCluster(), FakeDatabase(ROWS)
    cluster.leases[b"k0"] = 7
    report = warmer(cluster, database, fake_time, keys=KEYS[:3]).run()
    assert (report.loaded, report.present) == (2, 1)
    assert database.asked == [["k1", "k2"]]


def test_where_too_many_are_loaded_it_tries_again(fake_time: FakeTime) -> None:
    cluster, database = FakeCluster(), FakeDatabase(ROWS)
    cluster.most_leases = 60
    report = warmer(cluster, database, fake_time, keys=KEYS[:100]).run()
    assert (report.loaded, report.failed, report.end) == (100, 0, "done")
    assert report.backoffs >= 1


def test_keys_without_a_value_are_counted(fake_time: FakeTime) -> None:
    report = warmer(FakeCluster(), FakeDatabase({"k1": None}), fake_time).run()
    assert (report.loaded, report.absent) == (1, 249)  # a None is a value


def test_lifetimes_are_spread(fake_time: FakeTime) -> None:
    cluster = FakeCluster()
    warmer(cluster, FakeDatabase(ROWS), fake_time, settings=WarmSettings(ttl_s=100, jitter=0.2)).run()
    lifetimes = {entry.left_ms for entry in cluster.held.values()}
    assert len(lifetimes) > 200
    assert 80_000 <= min(lifetimes) < 82_000
    assert 98_000 < max(lifetimes) <= 100_000


def test_one_bad_key_fails_alone(fake_time: FakeTime) -> None:
    cluster, database = FakeCluster(), FakeDatabase(ROWS)
    database.bad = {"k7"}
    report = warmer(cluster, database, fake_time).run()
    assert (report.loaded, report.failed, report.end) == (249, 1, "done")
    assert b"k7" not in cluster.held
    assert report.error == "OSError: connection lost"
    assert report.backoffs >= 2


def test_a_value_that_cannot_be_stored_fails_alone(fake_time: FakeTime) -> None:
    report = warmer(FakeCluster(), FakeDatabase({**ROWS, "k3": object()}), fake_time).run()
    assert (report.loaded, report.failed) == (249, 1)
    assert "object" in report.error


def test_a_database_that_is_gone_is_given_up(fake_time: FakeTime) -> None:
    database = FakeDatabase(ROWS)
    database.bad = set(ROWS)
    report = warmer(FakeCluster(), database, fake_time, settings=WarmSettings(give_up_after=4)).run()
    assert report.end == "gave up"
    assert len(database.asked) == 4
    assert fake_time.now_s >= 0.5 + 1 + 2


def test_a_cluster_that_is_away_is_an_error_as_well(fake_time: FakeTime) -> None:
    cluster = FakeCluster()
    cluster.failure = ShardUnavailableError("s1 is away")
    report = warmer(cluster, FakeDatabase(ROWS), fake_time).run()
    assert (report.end, report.error, report.loaded) == ("gave up", "s1 is away", 0)


def test_it_stops_after_the_batch_under_way_and_goes_on_from_there(fake_time: FakeTime, tmp_path: Path) -> None:
    cluster, database, file = FakeCluster(), FakeDatabase(ROWS), ProgressFile(tmp_path / "p.json")
    first = warmer(cluster, database, fake_time, progress=file, watcher=lambda report, rate: fake_time.set())
    report = first.run()
    assert (report.end, report.loaded) == ("stopped", 100)
    assert file.read() == Position("c", fingerprint(KEYS), 100)

    cluster.held.clear()  # so that only the file can tell what has been done
    second = warmer(cluster, database, FakeTime(), progress=file).run()
    assert (second.resumed_at, second.loaded, second.position, second.end) == (100, 150, 250, "done")
    assert [key for asked in database.asked for key in asked] == list(ROWS)
    assert file.read() is None  # done: the next one begins anew


def test_keys_that_failed_before_a_stop_are_tried_again_by_the_next_run(fake_time: FakeTime, tmp_path: Path) -> None:
    database, file = FakeDatabase(ROWS), ProgressFile(tmp_path / "p.json")
    database.bad = {"k120"}

    def stop_at_an_error(report: Any, rate: float) -> None:
        if report.error:
            fake_time.set()

    warmer(FakeCluster(), database, fake_time, progress=file, watcher=stop_at_an_error).run()
    saved = file.read()
    assert saved is not None
    assert saved.done == 100


def test_an_interruption_saves_the_position_too(fake_time: FakeTime, tmp_path: Path) -> None:
    database, file = FakeDatabase(ROWS), ProgressFile(tmp_path / "p.json")

    def load(keys: list[str]) -> dict[str, Any]:
        if "k150" in keys:
            raise KeyboardInterrupt
        return database.load_many(keys)

    filler = LoadFiller(FakeCluster(), load, ttl_s=None, jitter=0, clock=fake_time, rng=random.Random(1))
    one = Warmer(filler, KEYS, WarmSettings(), clock=fake_time, stop=fake_time, cluster="c", progress=file)  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        one.run()
    assert file.read() == Position("c", fingerprint(KEYS), 100)
    assert one.report.end == "stopped"


def test_another_list_or_cluster_begins_at_the_beginning(fake_time: FakeTime, tmp_path: Path) -> None:
    file = ProgressFile(tmp_path / "p.json")
    for position in (Position("c", "other keys", 100), Position("other", fingerprint(KEYS), 100)):
        file.save(position)
        assert warmer(FakeCluster(), FakeDatabase(ROWS), FakeTime(), progress=file).run().resumed_at == 0


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 2}', '{"version": 1}', '{"version": 1, "cluster": "c"}'])
def test_a_file_that_is_something_else_is_refused_and_kept(fake_time: FakeTime, tmp_path: Path, text: str) -> None:
    path = tmp_path / "p.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="no progress file"):
        warmer(FakeCluster(), FakeDatabase(ROWS), fake_time, progress=ProgressFile(path)).run()
    assert path.read_text() == text


def test_the_bound_holds_loads_back(fake_time: FakeTime) -> None:
    database = FakeDatabase(ROWS, fake_time, takes_s=0.2)
    report = warmer(FakeCluster(), database, fake_time, settings=WarmSettings(max_latency_ms=50)).run()
    assert report.backoffs > 3
    assert len(database.asked[-1]) < 10
    assert report.loaded == 250
    assert report.rate_over_time


def test_a_copy_is_the_same_entry() -> None:
    time = FakeTime()
    entries = [RawEntry(b"a", 4, b"\x00\xff", 1234), RawEntry(b"b", 1, b"x", 0)]
    source, target = FakeCluster(*entries), FakeCluster(RawEntry(b"b", 0, b"newer", 0))
    filled = CopyFiller(target, source, clock=time).fill([b"a", b"b", b"gone"])
    assert (filled.loaded, filled.present, filled.absent) == (1, 1, 1)
    assert target.held[b"a"] == entries[0]
    assert target.held[b"b"].data == b"newer"
    source.failure = ShardUnavailableError("away")
    with pytest.raises(LoadError, match="away"):
        CopyFiller(target, source, clock=time).fill([b"c"])


def test_the_keys_of_a_source_hottest_first_and_then_the_others() -> None:
    entries = [RawEntry(b"k%d" % number, 0, b"", 0) for number in range(5)]
    ranked = FakeCluster(*entries, ranked=[b"k3", b"k1"])
    assert source_keys(ranked, None) == [b"k3", b"k1", b"k0", b"k2", b"k4"]
    assert source_keys(ranked, 3) == [b"k3", b"k1", b"k0"]
    assert source_keys(ranked, 1) == [b"k3"]
    assert source_keys(FakeCluster(*entries), 2) == [b"k0", b"k1"]


def test_what_can_load() -> None:
    database = FakeDatabase(ROWS)
    assert loader_of(database)(["k1"]) == {"k1": "v1"}
    assert loader_of(lambda keys: {})([]) == {}
    with pytest.raises(TypeError, match="load_many"):
        loader_of(7)  # type: ignore[arg-type]


def test_what_cannot_is_told_before_anything_is_loaded() -> None:
    async def later(keys: list[str]) -> dict[str, str]:
        return {}

    with pytest.raises(TypeError, match="is a class"):
        loader_of(FakeDatabase)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="asynchronous"):
        loader_of(later)  # type: ignore[arg-type]


def test_a_loader_that_returns_no_mapping_is_told() -> None:
    filler = LoadFiller(FakeCluster(), lambda keys: list(keys), ttl_s=None, jitter=0, clock=FakeTime(),  # type: ignore[arg-type, return-value]
                        rng=random.Random(1))  # fmt: skip
    with pytest.raises(LoadError, match="list, not a mapping"):
        filler.fill([b"a"])
