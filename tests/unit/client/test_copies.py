"""Both handles where slots have several copies: which shard is asked what, and what its failures lead to."""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable
from typing import Any

import msgpack
import numpy as np
import pytest

from raycache.client import Cache, ConnectionInfo, Place, Result, Token
from raycache.errors import (
    DeadlineExceededError,
    NotEnoughReplicasError,
    RetryableError,
    ShardUnavailableError,
)
from raycache.ring.slots import SLOT_COUNT
from raycache.ring.topology import ShardInfo, Topology

HELLO = b"$6\r\n\x00hello\r\n"
BEHIND = b"-TRYAGAIN this copy is behind the token\r\n"
LONG_S = 20.0


def rows(name: bytes, count: int, payload: bytes = HELLO, age_ms: int = 1500) -> bytes:
    return b"*%d\r\n" % count + (b"*4\r\n%b:7\r\n$%d\r\n%b\r\n:%d\r\n" % (payload, len(name), name, age_ms)) * count


def serving(name: bytes) -> Callable[[list[bytes]], bytes]:
    """A shard that has "hello" under every key, and takes every write."""

    def script(argv: list[bytes]) -> bytes:
        match argv[0]:
            case b"RC.GET":
                return HELLO
            case b"RC.GETV":
                return b"*2\r\n:7\r\n" + HELLO
            case b"RC.MGET":
                return b"*%d\r\n" % (len(argv) - 1) + HELLO * (len(argv) - 1)
            case b"RC.READ":
                return rows(name, len(argv) - 2)
            case b"RC.INCRBY" | b"EXISTS" | b"DEL" | b"PERSIST" | b"PTTL":
                return b":1\r\n"
            case b"RC.WRITE":
                return b"*2\r\n%b:1\r\n" % script(argv[2:])
            case b"RC.TOKEN":
                return b"*2\r\n:%d\r\n:%d\r\n" % (int(name[1:]), 100 + int(name[1:]))
        return b"+OK\r\n"

    return script


def copied(peers: list[Any], *, first: int = 0, epoch: int = 1, down: tuple[int, ...] = (),
           mode: str = "primary-replica", copies: int | None = None) -> Topology:
    """A topology in which `peers[first]` leads every slot, and the next ones follow."""
    shards = tuple(
        ShardInfo(f"s{i}", *peer.address, node_id=f"n{i}", machine=f"m{i}", zone="",
                  state="down" if i in down else "up", weight=1, incarnation=1)
        for i, peer in enumerate(peers)
    )
    row = np.roll(np.arange(len(peers), dtype=np.int16), -first)[:copies]
    return Topology("test", epoch, shards, np.tile(row, (SLOT_COUNT, 1)), replication=mode)


@pytest.fixture
def peers(new_peer: Any) -> list[Any]:
    """Three shards that have everything: s0, which leads, s1 and s2."""
    found = [new_peer() for _ in range(3)]
    for number, peer in enumerate(found):
        peer.script = serving(b"s%d" % number)
    return found


@pytest.fixture
def connect(peers: list[Any], open_handle: Any) -> Callable[..., Any]:
    """Opens a handle on `peers`, which waits long before it calls one silent: the machine may be busy."""

    def opened(topology: Topology | None = None, *, mode: str = "primary-replica", timeout_s: float = LONG_S,
               hedge_s: float = 3.0, **options: Any) -> Any:
        known = topology or copied(peers, mode=mode)
        info = ConnectionInfo("test", tuple(peer.address for peer in peers), None, known.to_bytes())
        return open_handle(info, timeout_s=timeout_s, hedge_s=hedge_s, **options)

    return opened


def names(peer: Any) -> list[bytes]:
    return [argv[0] for argv in peer.commands if argv[0] != b"RC.TOPOLOGY"]


def wishes(peer: Any) -> list[dict[str, Any]]:
    return [msgpack.unpackb(argv[1], strict_map_key=False) for argv in peer.commands
            if argv[0] in (b"RC.READ", b"RC.WRITE")]


def again_until(what: Callable[[], object]) -> None:
    """Do `what`, which takes its time, until it succeeds."""
    give_up_s = time.monotonic() + 10
    while not what():
        assert time.monotonic() < give_up_s


def searches(*peers: Any) -> int:
    return sum(len(peer.named(b"RC.TOPOLOGY")) for peer in peers)


def publish(peers: list[Any], topology: Topology) -> None:
    for peer in peers:
        peer.topology = topology.to_bytes()


# What is asked of whom


def test_without_options_the_commands_are_the_plain_ones(peers: list[Any], connect: Any) -> None:
    handle = connect()
    assert (handle.get("k"), handle.get_many(["a", "b"]), handle.exists("k")) == (
        b"hello", {"a": b"hello", "b": b"hello"}, True)
    handle.set("k", 1)
    handle.set_many({"k": 1})
    assert (handle.delete("k"), handle.delete_many(["k"]), handle.incr("k"), handle.touch("k", None)) == (
        True, 1, 1, True)
    assert set(names(peers[0])) == {b"RC.GET", b"RC.MGET", b"EXISTS", b"RC.SET", b"RC.MSET", b"DEL", b"RC.INCRBY",
                                    b"PERSIST"}
    assert names(peers[1]) == names(peers[2]) == []


def test_a_replica_is_asked_where_that_is_wanted_of_the_handle_or_the_call(peers: list[Any], connect: Any) -> None:
    handle = connect(read_from="replica")
    assert handle.get("k") == b"hello"
    assert handle.get_many(["a", "b"]) == {"a": b"hello", "b": b"hello"}
    assert handle.exists("k")
    assert handle.get_with_version("k").version == 7
    assert wishes(peers[1]) == [{"from": "replica"}] * 4
    assert handle.get("k", read_from="primary") == b"hello"
    assert names(peers[0]) == [b"RC.GET"]
    other = connect()
    assert other.get("k", read_from="replica") == b"hello"
    assert len(names(peers[1])) == 5


def test_the_nearest_copy_is_asked_where_it_is_known(peers: list[Any], connect: Any) -> None:
    assert connect(read_from="nearest", place=Place("n2", "m2")).get("k") == b"hello"
    assert (names(peers[0]), names(peers[2])) == ([], [b"RC.READ"])
    assert connect(read_from="nearest").get("k") == b"hello"
    assert wishes(peers[0]) == [{"from": "primary"}]


def test_a_result_says_where_it_comes_from(peers: list[Any], connect: Any) -> None:
    handle = connect()
    assert handle.get_result("k") == Result(b"hello", 7, "s0", 1.5)
    assert handle.get_results(["a", "b"], read_from="replica") == dict.fromkeys("ab", Result(b"hello", 7, "s1", 1.5))
    peers[0].script = lambda argv: rows(b"s0", len(argv) - 2, payload=b"$-1\r\n", age_ms=-1)
    assert (handle.get_result("k"), handle.get_results(["k"])) == (None, {})


def test_writes_say_how_many_copies_they_want(peers: list[Any], connect: Any) -> None:
    handle = connect(timeout_s=1.0)
    handle.set("k", b"v", acks=1)
    handle.set_many({"k": b"v"}, acks=2, w=3)
    assert handle.delete("k", acks=1)
    assert handle.delete_many(["k"], acks=1) == 1
    assert (handle.incr("n", acks=1), handle.decr("n", w=2), handle.touch("k", None, acks=1)) == (1, 1, True)
    sent = [argv for argv in peers[0].commands if argv[0] == b"RC.WRITE"]
    assert sent[0][2:] == [b"RC.SET", b"k", b"0", b"v", b"0"]
    assert [argv[2] for argv in sent] == [b"RC.SET", b"RC.MSET", b"DEL", b"DEL", b"RC.INCRBY", b"RC.INCRBY", b"PERSIST"]
    assert wishes(peers[0])[:2] == [{"acks": 1, "w": 0, "timeout_ms": 800}, {"acks": 2, "w": 3, "timeout_ms": 800}]
    peers[0].script = lambda argv: b"*2\r\n:1\r\n:1\r\n" if argv[2] == b"RC.CAS" else b"*2\r\n+OK\r\n:1\r\n"
    assert (handle.add("k", 1, acks=1), handle.replace("k", 1, acks=1), handle.compare_and_set("k", 1, 7, acks=1)) == (
        True, True, True)


def test_nonsense_is_refused_before_anything_is_sent(peers: list[Any], connect: Any) -> None:
    handle = connect()
    for work in (lambda: handle.get("k", read_from="anywhere"), lambda: handle.get("k", r=9),
                 lambda: handle.set("k", 1, acks=-1), lambda: handle.set_many({"k": 1}, w=9),
                 lambda: handle.delete_many(["k"], acks=9), lambda: handle.incr("k", acks=1.5)):
        with pytest.raises(ValueError, match="must be"):
            work()
    with pytest.raises(TypeError, match="token"):
        handle.get("k", token={0: 1})
    with pytest.raises(ValueError, match="read_from"):
        connect(read_from="somewhere")
    assert all(peer.commands == [] for peer in peers)


def test_too_few_copies_are_said_at_once_and_nothing_is_tried_again(peers: list[Any], connect: Any) -> None:
    peers[0].script = lambda argv: b"-NOREPLICAS 0 of the 1 copies asked for are alive\r\n"
    handle = connect()
    for work in (lambda: handle.set("k", 1, acks=1), lambda: handle.set_many({"k": 1}, acks=1),
                 lambda: handle.incr("k", acks=1)):
        with pytest.raises(NotEnoughReplicasError, match="0 of the 1"):
            work()
    assert names(peers[0]) == [b"RC.WRITE"] * 3


def test_with_one_copy_wishes_for_copies_mean_nothing(peers: list[Any], connect: Any) -> None:
    handle = connect(copied(peers, copies=1), read_from="replica")
    handle.use(Token(((0, 5),)))
    assert (handle.get("k"), handle.get_many(["k"]), handle.exists("k")) == (b"hello", {"k": b"hello"}, True)
    assert handle.get_results(["k"]) == {"k": Result(b"hello", 7, "s0", 1.5)}
    assert handle.token() == Token(((0, 5),)), "what it uses, and nothing of its own"
    assert names(peers[0]) == [b"RC.GET", b"RC.MGET", b"EXISTS", b"RC.READ"]


# Tokens


def test_a_token_has_the_clocks_of_the_shards_that_were_written_to(peers: list[Any], connect: Any) -> None:
    for write in (lambda handle: handle.set("k", 1), lambda handle: handle.set_many({"k": 1})):
        handle = connect()
        handle.ttl("k")
        write(handle)
        assert handle.token() == Token(((0, 100),))
        handle.use(Token(((0, 200), (2, 7))))
        assert handle.token() == Token(((0, 200), (2, 7)))


def test_a_token_of_who_has_written_nothing_has_the_clock_of_every_living_shard(
        peers: list[Any], connect: Any) -> None:
    assert connect().token() == Token(((0, 100), (1, 101), (2, 102)))
    peers[2].close()
    assert connect(copied(peers, down=(2,))).token() == Token(((0, 100), (1, 101)))


def test_a_token_names_a_lost_shard_that_was_written_to_so_that_readers_ask_primaries(
        peers: list[Any], connect: Any) -> None:
    handle = connect()
    handle.set("k", 1)
    after = copied(peers, first=1, epoch=2, down=(0,))
    peers[1].topology = peers[2].topology = after.to_bytes()
    peers[0].close()
    token = handle.token()
    assert token == Token(((0, 1),))
    connect(after).get_result("k", read_from="replica", token=token)
    assert wishes(peers[1]) == [{"from": "primary"}], "the replicas may not have been told of that write"


def test_without_the_clock_of_a_shard_that_may_live_there_is_no_token(peers: list[Any], connect: Any) -> None:
    peers[1].close()
    with pytest.raises(RetryableError):
        connect(timeout_s=0.3).token()


def test_a_copy_behind_the_token_leaves_the_read_to_the_others(peers: list[Any], connect: Any) -> None:
    peers[1].script = peers[2].script = lambda argv: BEHIND
    handle, token = connect(), Token(((0, 100),))
    assert handle.get("k", read_from="replica", token=token) == b"hello"
    assert handle.get_many(["a", "b"], read_from="replica", token=token) == {"a": b"hello", "b": b"hello"}
    assert [len(names(peer)) for peer in peers] == [2, 2, 2]
    assert wishes(peers[1])[0] == {"from": "replica", "token": {0: 100}, "timeout_ms": 250}


def test_when_every_copy_is_behind_it_is_tried_until_the_deadline(peers: list[Any], connect: Any) -> None:
    for peer in peers:
        peer.script = lambda argv: BEHIND
    # Not always "behind the token": the deadline may fall into an attempt.
    with pytest.raises(RetryableError):
        connect(timeout_s=1.0).get("k", token=Token(((0, 100),)))
    assert len(names(peers[2])) > 1


def test_a_handle_that_uses_a_token_shows_it_in_every_read(peers: list[Any], connect: Any) -> None:
    handle = connect()
    handle.use(Token(((0, 1),)))
    handle.get("k", token=Token(((1, 2),)))
    handle.get_many(["k"])
    handle.exists("k")
    assert [wish["token"] for wish in wishes(peers[0])] == [{0: 1, 1: 2}, {0: 1}, {0: 1}]
    handle.use(None)
    handle.get("k")
    assert names(peers[0])[-1] == b"RC.GET"


def test_a_pickled_handle_keeps_its_token_and_its_choice_of_copies(peers: list[Any], connect: Any) -> None:
    handle = connect(read_from="replica", hedge_s=0.5)
    cache = handle if isinstance(handle, Cache) else handle.cache
    cache.use(Token(((1, 5),)))
    again = pickle.loads(pickle.dumps(cache))
    assert (again._wishes, again._settings.hedge_s) == (cache._wishes, 0.5)


# Reads while something fails


def test_a_dead_primary_costs_reads_nothing(peers: list[Any], connect: Any) -> None:
    handle = connect()
    assert handle.get("k") == b"hello"
    peers[0].close()
    started_s = time.monotonic()
    assert (handle.get("k"), handle.exists("k"), handle.get_with_version("k").version) == (b"hello", True, 7)
    assert handle.get_many(["a", "b"]) == {"a": b"hello", "b": b"hello"}
    assert handle.get_result("k").source == "s1"
    assert time.monotonic() - started_s < 5, "far from the deadline"
    assert {wish["from"] for wish in wishes(peers[1])} == {"replica"}


def test_reads_that_had_to_go_elsewhere_learn_who_leads_now(peers: list[Any], connect: Any) -> None:
    handle = connect()
    peers[0].close()
    publish(peers[1:], copied(peers, first=1, epoch=2, down=(0,)))
    assert handle.get("k") == b"hello"

    def plain() -> bool:
        assert handle.get("k") == b"hello"
        return b"RC.GET" in names(peers[1])

    again_until(plain)


def test_a_silent_primary_is_waited_for_once(peers: list[Any], connect: Any) -> None:
    peers[0].script = lambda argv: None
    handle = connect(hedge_s=0.1)
    started_s = time.monotonic()
    for _ in range(20):
        assert handle.get("k") == b"hello"
        assert handle.get_many(["k"]) == {"k": b"hello"}
    assert time.monotonic() - started_s < 4, "40 waits would take 4 s"
    assert len(names(peers[0])) < 10


@pytest.mark.parametrize("read_from", ["primary", "replica"])
def test_a_shard_that_is_slow_and_answers_is_waited_for(peers: list[Any], connect: Any, read_from: str) -> None:
    """It has much to do; to ask others, too, would make that more, and the others busy next."""
    one_at_a_time, clock = threading.Lock(), threading.Event()

    def slow(argv: list[bytes]) -> bytes:
        if argv[0] in (b"RC.GET", b"RC.READ", b"RC.MGET"):
            with one_at_a_time:
                clock.wait(0.1)
        return serving(b"s0")(argv)

    for peer in peers:
        peer.script = slow
    handle = connect(hedge_s=0.5, read_from=read_from)
    found: list[Any] = []
    threads = [threading.Thread(target=lambda n=n: found.append(handle.get(f"k{n}"))) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert found == [b"hello"] * 16
    asked = [name for peer in peers for name in names(peer) if name in (b"RC.GET", b"RC.READ", b"RC.MGET")]
    assert len(asked) <= 16, "none was asked for twice"


def test_a_late_answer_is_not_taken_for_the_next_ones(peers: list[Any], connect: Any) -> None:
    release = threading.Event()

    def late(argv: list[bytes]) -> bytes:
        # However often it is asked: on a busy machine all three may be too slow once, and then it begins anew.
        if argv == [b"RC.GET", b"a"]:
            release.wait(10)
            return b"$5\r\n\x00late\r\n"
        return b"$4\r\n\x00own\r\n" if argv[0] == b"RC.GET" else serving(b"s0")(argv)

    peers[0].script = late
    handle = connect(hedge_s=0.1)
    assert handle.get("a") == b"hello"
    release.set()
    answers: list[Any] = []

    def is_asked_again() -> bool:
        handle.set("b", 1)  # a write that is answered ends the suspicion
        answers.append(handle.get("b"))
        return answers[-1] == b"own"

    again_until(is_asked_again)
    assert set(answers) <= {b"own", b"hello"}


def test_a_copy_that_refuses_leaves_the_read_to_the_others(peers: list[Any], connect: Any) -> None:
    for refusal in (b"-CLUSTERDOWN This shard has lost contact with the others and must not serve\r\n",
                    b"-LOADING\r\n", b"-TRYAGAIN This slot is being taken over\r\n"):
        peers[0].script = lambda argv, refusal=refusal: refusal
        handle = connect()
        assert (handle.get("k"), handle.get_many(["k"])) == (b"hello", {"k": b"hello"})
    assert names(peers[1]).count(b"RC.READ") == 6


def test_a_replica_that_holds_nothing_leaves_the_read_to_the_primary(peers: list[Any], connect: Any) -> None:
    peers[1].script = peers[2].script = lambda argv: b"-MOVED 1 127.0.0.1:1\r\n"
    handle = connect(read_from="replica")
    assert (handle.get("k"), handle.get_many(["k"])) == (b"hello", {"k": b"hello"})
    assert names(peers[0]) == [b"RC.READ", b"RC.READ"]


def test_without_any_copy_reads_end_at_the_deadline(peers: list[Any], connect: Any) -> None:
    handle = connect(timeout_s=0.5)
    for peer in peers:
        peer.close()
    for work in (lambda: handle.get("k"), lambda: handle.get_many(["k"]), lambda: handle.get_result("k")):
        with pytest.raises(RetryableError):
            work()


def test_where_all_copies_are_silent_reads_end_at_the_deadline(peers: list[Any], connect: Any) -> None:
    for peer in peers:
        peer.script = lambda argv: None
    handle = connect(timeout_s=0.5, hedge_s=0.1)
    started_s = time.monotonic()
    for work in (lambda: handle.get("k"), lambda: handle.get_many(["k"])):
        with pytest.raises(RetryableError):
            work()
    assert time.monotonic() - started_s < 5


# Writes while something fails


def test_a_write_to_a_dead_primary_goes_to_the_next_as_soon_as_that_leads(
        peers: list[Any], connect: Any, wait_until: Any) -> None:
    handle = connect()
    handle.set("k", 1)
    peers[0].close()
    before = searches(*peers)
    done = threading.Thread(target=lambda: (handle.set("k", 2), handle.set_many({"k": 3}), handle.incr("n")))
    done.start()
    wait_until(lambda: searches(*peers) > before + 3)
    publish(peers[1:], copied(peers, first=1, epoch=2, down=(0,)))
    done.join(10)
    assert not done.is_alive()
    assert names(peers[1]) == [b"RC.SET", b"RC.MSET", b"RC.INCRBY"]


def test_a_write_to_a_silent_primary_is_repeated_once_another_leads(
        peers: list[Any], connect: Any, wait_until: Any) -> None:
    peers[0].script = lambda argv: None
    handle = connect(hedge_s=0.1)
    work: list[Callable[[], Any]] = [lambda: handle.set("k", 2), lambda: handle.set_many({"k": 3}),
                                     lambda: handle.delete("k")]
    threads = [threading.Thread(target=one) for one in work]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(names(peers[0])) == 3 and searches(*peers[1:]))
    publish(peers[1:], copied(peers, first=1, epoch=2, down=(0,)))
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert sorted(names(peers[0])) == sorted(names(peers[1])) == [b"DEL", b"RC.MSET", b"RC.SET"], "each sent once"


def test_those_who_are_asked_for_a_topology_hear_which_shard_is_silent(
        peers: list[Any], connect: Any, wait_until: Any) -> None:
    peers[0].script = lambda argv: None
    handle = connect(hedge_s=0.1)
    thread = threading.Thread(target=lambda: handle.set("k", 2))
    thread.start()
    host, port = peers[0].address

    def told() -> bool:
        questions = [argv for peer in peers[1:] for argv in peer.named(b"RC.TOPOLOGY")]
        return [b"RC.TOPOLOGY", b"1", b"SILENT", b"%s:%d" % (host.encode(), port)] in questions

    wait_until(told)
    publish(peers[1:], copied(peers, first=1, epoch=2, down=(0,)))
    thread.join(10)
    assert not thread.is_alive()


def test_a_write_that_cannot_be_repeated_is_unknown_once_another_leads(
        peers: list[Any], connect: Any, wait_until: Any) -> None:
    peers[0].script = lambda argv: None
    handle = connect(hedge_s=0.1)
    errors: list[Exception] = []

    def incr() -> None:
        try:
            handle.incr("n")
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=incr)
    thread.start()
    wait_until(lambda: names(peers[0]))
    publish(peers[1:], copied(peers, first=1, epoch=2, down=(0,)))
    thread.join(10)
    assert "may or may not have happened" in str(errors[0])
    assert names(peers[1]) == []


def test_a_slow_answer_to_a_write_is_waited_for(peers: list[Any], connect: Any, wait_until: Any) -> None:
    def slow(argv: list[bytes]) -> bytes:
        wait_until(lambda: searches(*peers[1:]) > 3)
        return serving(b"s0")(argv)

    peers[0].script = slow
    assert connect(hedge_s=0.1).incr("n") == 1
    assert len(names(peers[0])) == 1


def test_a_write_nobody_answers_ends_at_the_deadline(peers: list[Any], connect: Any) -> None:
    peers[0].script = lambda argv: None
    handle = connect(timeout_s=1.0, hedge_s=0.1)
    for work in (lambda: handle.set("k", 1), lambda: handle.set_many({"k": 1}), lambda: handle.incr("k")):
        with pytest.raises(DeadlineExceededError):
            work()
    assert len(names(peers[0])) == 3, "each sent once"


def test_a_refusal_for_now_is_waited_out(peers: list[Any], connect: Any) -> None:
    answers = [b"-CLUSTERDOWN cut off\r\n", b"-TRYAGAIN This slot is being taken over\r\n", b":1\r\n"]
    peers[0].script = lambda argv: answers.pop(0)
    assert connect().incr("n") == 1


def test_a_slot_that_moved_while_the_command_ran_leaves_its_outcome_unknown(peers: list[Any], connect: Any) -> None:
    moved = b"-TRYAGAIN Slots moved while the command ran\r\n"
    peers[0].script = lambda argv: moved if len(names(peers[0])) < 3 else b"+OK\r\n"
    handle = connect()
    with pytest.raises(ShardUnavailableError, match="may or may not"):
        handle.incr("n")
    handle.set("k", 1)
    assert names(peers[0]) == [b"RC.INCRBY", b"RC.SET", b"RC.SET"]


@pytest.mark.parametrize("mode", ["quorum", "multi-primary"])
def test_where_any_owner_takes_writes_a_dead_one_costs_nothing(peers: list[Any], connect: Any, mode: str) -> None:
    handle = connect(mode=mode, timeout_s=5.0)
    peers[0].close()
    handle.set("k", 1)
    handle.set_many({"a": 1, "b": 2})
    assert (handle.incr("n"), handle.delete_many(["k"]), handle.get("k")) == (1, 1, b"hello")
    assert [name for name in names(peers[1]) if name != b"RC.READ"] == [b"RC.SET", b"RC.MSET", b"RC.INCRBY", b"DEL"]
    assert names(peers[2]) == []


ALONE = b"-NOREPLICAS 1 of the 2 copies needed are alive\r\n"


def test_what_one_owner_cannot_do_alone_another_may(peers: list[Any], connect: Any) -> None:
    peers[0].script = lambda argv: ALONE
    handle = connect(mode="quorum")
    handle.set("k", 1)
    assert (handle.incr("n"), handle.get("k"), handle.get_many(["k"])) == (1, b"hello", {"k": b"hello"})
    assert handle.get_result("k").source == "s1"
    assert [name for name in names(peers[1]) if name != b"RC.READ"] == [b"RC.SET", b"RC.INCRBY"]


def test_where_no_owner_reaches_enough_others_that_is_said_quickly(peers: list[Any], connect: Any) -> None:
    for peer in peers:
        peer.script = lambda argv: ALONE
    handle, started_s = connect(mode="quorum"), time.monotonic()
    for work in (lambda: handle.incr("k"), lambda: handle.get("k"), lambda: handle.get_results(["k"])):
        with pytest.raises(NotEnoughReplicasError, match="1 of the 2"):
            work()
    assert time.monotonic() - started_s < LONG_S / 2


def test_owners_that_have_lost_each_other_for_a_moment_are_asked_again(peers: list[Any], connect: Any) -> None:
    for number, peer in enumerate(peers):
        peer.script = lambda argv, peer=peer, number=number: (
            ALONE if len(names(peer)) % 4 else serving(b"s%d" % number)(argv))
    handle = connect(mode="quorum")
    for _ in range(5):
        assert (handle.incr("n"), handle.get("k"), handle.get_results(["k"])["k"].value) == (1, b"hello", b"hello")


def test_a_write_that_has_perhaps_happened_is_not_done_elsewhere(peers: list[Any], connect: Any) -> None:
    peers[0].script = lambda argv: b"-NOREPLICAS 1 of the 2 copies needed have the write\r\n"
    with pytest.raises(NotEnoughReplicasError, match="have the write"):
        connect(mode="quorum").incr("n")
    assert names(peers[1]) == names(peers[2]) == []
