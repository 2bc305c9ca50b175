"""`scale`, `drain`, `cancel` against a stand-in: what they ask for, show and report."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from raycache.cli import moving
from raycache.cli.moving import follow, moved_slots, resolve
from raycache.cli.progress import Progress
from raycache.errors import ChangeUnderWayError, DeadlineExceededError
from raycache.ring.topology import Topology
from tests.unit.cli.conftest import account, change, topology


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "POLL_S", 0.0)


TRANSFER = {"id": "t1", "giver": "s0", "receiver": "s3", "slots": 1365, "state": "streaming", "entries": 1000,
            "bytes": 1 << 20, "misses": 0, "seconds": 2.0, "mismatches": 0}  # fmt: skip
UNDER_WAY = account(change("scale from 3 to 4 shards", slots=1024, seconds=4.0), settled=False, transfers=(TRANSFER,))


def test_scale_says_what_moved_what_it_cost_and_how_it_is_now(run: Any, backend: Any) -> None:
    run("up", "features")
    outcome = run("scale", "features", "4")
    assert outcome.code == 0
    assert backend.wishes == [("scale", "features", 4)]
    lines = [" ".join(line.split()) for line in outcome.out.splitlines()]
    assert lines[0] == ("scale from 3 to 4 shards: 4,096 slots moved, 250,000 entries, 25.0 MiB in 8.2 s, 0 misses "
                        "caused")  # fmt: skip
    assert lines[1] == "shard slots gained slots lost"
    assert lines[-2].startswith("s3 up 10.0.0.1 10.0.0.1:7003")
    moved = dict(line.split(maxsplit=1) for line in lines[2:6])
    assert moved["s3"] == "4,096 0"
    assert moved.keys() == {"s0", "s1", "s2", "s3"}


def test_scale_shows_progress_as_lines_on_standard_error(run: Any, backend: Any) -> None:
    run("up", "features")
    backend.accounts = [UNDER_WAY, UNDER_WAY]
    outcome = run("scale", "features", "4")
    assert outcome.err == ("scale from 3 to 4 shards:  25%, 1,024 of 4,096 slots, 251,000 entries, 26.0 MiB in 4.0 s, "
                           "0 misses caused\n")  # fmt: skip


def test_scale_for_programs_is_one_document(run: Any, backend: Any) -> None:
    run("up", "features")
    backend.accounts = [UNDER_WAY]
    outcome = run("scale", "features", "4", "--json")
    record = json.loads(outcome.out)
    assert outcome.err == ""
    assert len(record["shards"]) == 4
    cost = {"entries": 250_000, "bytes": 25 << 20, "misses": 0, "seconds": 8.25, "slots_done": 4096, "is_done": True}
    assert cost.items() <= record["change"].items()
    assert {"shard": "s3", "gained": 4096, "lost": 0} in record["change"]["moved"]


def test_scale_to_what_there_is_does_nothing(run: Any, backend: Any) -> None:
    run("up", "features")
    backend.last = change("drain s1", is_done=True)
    outcome = run("scale", "features", "3")
    assert outcome.code == 0
    assert "slots moved" not in outcome.out
    assert json.loads(run("scale", "features", "3", "--json").out)["change"] is None


def test_no_wait_returns_at_once(run: Any, backend: Any) -> None:
    run("up", "features")
    backend.last, backend.accounts = None, [UNDER_WAY]
    outcome = run("scale", "features", "4", "--no-wait")
    assert outcome.out == ("features: scale from 3 to 4 shards has begun; `raycache status features` shows how far it "
                           "is\n")  # fmt: skip
    backend.accounts = [UNDER_WAY, UNDER_WAY]
    record = json.loads(run("scale", "features", "4", "--no-wait", "--json").out)
    assert record["change"]["slots_done"] == 1024
    backend.accounts = []
    assert run("scale", "features", "4", "--no-wait").out == "features: nothing to do\n"


def test_a_second_operator_is_refused_in_one_line(run: Any, backend: Any) -> None:
    run("up", "features")
    backend.failure = ChangeUnderWayError("scale from 3 to 4 shards is under way since 7 s: wait, or cancel it")
    outcome = run("drain", "features", "s1")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == "raycache: scale from 3 to 4 shards is under way since 7 s: wait, or cancel it\n"


def test_ctrl_c_stops_the_watching_and_says_that_the_change_goes_on(
    run: Any, backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("up", "features")

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(moving, "follow", interrupt)
    outcome = run("scale", "features", "4")
    assert outcome.code == 130
    assert "the change goes on (`raycache cancel features` undoes it)" in outcome.err


def test_drain_takes_a_shard_a_machine_or_the_beginning_of_a_node_id(run: Any, backend: Any) -> None:
    run("up", "features")
    outcome = run("drain", "features", "s1")
    assert "drain s1: 4,096 slots moved" in outcome.out
    run("drain", "features", "s1", "--undo")
    run("drain", "features", "10.0.0.1")
    assert backend.wishes == [("drain", "features", "s1"), ("undrain", "features", "s1"), ("drain", "features", "n")]


def test_cancel_goes_back(run: Any, backend: Any) -> None:
    run("up", "features")
    outcome = run("cancel", "features")
    assert "cancel: scale from 3 to 4 shards: 4,096 slots moved" in outcome.out
    assert backend.wishes == [("cancel", "features")]
    backend.failure = ValueError("no change is under way")
    assert run("cancel", "features").err == "raycache: no change is under way\n"


def on_nodes(*nodes: tuple[str, str]) -> Topology:
    table = topology("features", len(nodes))
    shards = tuple(replace(shard, node_id=node, machine=machine)
                   for shard, (node, machine) in zip(table.shards, nodes, strict=True))  # fmt: skip
    return replace(table, shards=shards)


def test_a_target_is_resolved_only_if_it_means_one_thing() -> None:
    first, second, third = "ab12" + 52 * "0", "ab12" + 52 * "1", "cd34" + 52 * "2"
    table = on_nodes((first, "10.0.0.1"), (second, "10.0.0.1"), (third, "10.0.0.2"))
    assert resolve(table, "s2") == "s2"
    assert resolve(table, third) == resolve(table, "10.0.0.2") == resolve(table, "cd34") == third
    with pytest.raises(ValueError, match=f"means 2 nodes; say which: {first}, {second}"):
        resolve(table, "10.0.0.1")
    with pytest.raises(ValueError, match=r"no shard and no node is called 'c'; shards: s0, s1, s2; nodes: 10\.0\.0\.1"):
        resolve(table, "c")
    assert resolve(table, 56 * "e") == 56 * "e"


def test_what_moved_counts_every_copy() -> None:
    before, after = topology("features", 3), topology("features", 4)
    moved = moved_slots(before, after)
    assert moved["s3"] == (len(after.slots_owned("s3")), 0)
    assert sum(gained for gained, _ in moved.values()) == sum(lost for _, lost in moved.values())
    assert moved_slots(before, before) == {}


class Watched:
    """A router that tells one account after the other, and a view that notes what it was shown."""

    def __init__(self, *accounts: dict[str, Any]) -> None:
        self.accounts = list(accounts)
        self.shown: list[Progress] = []
        self.now_s = 0.0

    def follow(self, prior: object = None, timeout_s: float | None = None) -> Progress | None:
        return follow(lambda: self.accounts.pop(0) if len(self.accounts) > 1 else self.accounts[0], self.shown.append,
                      prior, timeout_s=timeout_s, pause=self.pause, clock=lambda: self.now_s)  # fmt: skip

    def pause(self, _: float) -> None:
        self.now_s += 1.0


def test_following_ends_with_the_result_of_this_change() -> None:
    done = change("scale from 3 to 4 shards", is_done=True)
    watched = Watched(UNDER_WAY, UNDER_WAY, account(last=done, settled=False))
    result = watched.follow(prior=change("drain s1", is_done=True))
    assert result is not None
    assert (result.is_done, result.text, result.slots_done) == (True, "scale from 3 to 4 shards", 4096)
    assert [one.slots_done for one in watched.shown] == [1024, 1024]


def test_a_change_too_quick_to_be_seen_has_a_result() -> None:
    result = Watched(account(last=change("scale from 3 to 2 shards", is_done=True))).follow()
    assert result is not None
    assert result.text == "scale from 3 to 2 shards"


def test_a_router_that_was_restarted_meanwhile_has_forgotten_the_cost_but_not_the_change() -> None:
    watched = Watched(UNDER_WAY, account(settled=False), account(last=change("refill s1", is_done=True), settled=False),
                      account(settled=True))  # fmt: skip
    result = watched.follow()
    assert result is not None
    assert not result.is_done
    assert result.slots_done == 1024


def test_waiting_ends_at_the_timeout() -> None:
    watched = Watched(UNDER_WAY)
    with pytest.raises(DeadlineExceededError, match="not complete after 3 s; it goes on"):
        watched.follow(timeout_s=3.0)
    assert len(watched.shown) == 4
