"""Connections of the simulation: order, partitions, resets, dead machines."""

from __future__ import annotations

import random
from typing import Any

import pytest

from raycache.testing.simulation.network import CONNECT_TIMEOUT_S, RESEND_S, End, Network
from raycache.testing.simulation.scheduler import Process, Scheduler


class Pair:
    """Two processes, a and b, and a's connections to b."""

    def __init__(self, seed: int = 1) -> None:
        self.scheduler = Scheduler()
        self.network = Network(self.scheduler, random.Random(seed))
        self.a, self.b = Process(self.scheduler, "a"), Process(self.scheduler, "b")
        self.a.start()
        self.b.start()
        self.seen: list[tuple[str, Any]] = []
        self.network.listen(self.b, lambda end: self._use("b", end))

    def _use(self, name: str, end: End) -> None:
        end.on_message = lambda payload: self.seen.append((name, payload))
        end.on_lost = lambda: self.seen.append((name, "lost"))
        setattr(self, f"{name}_end", end)

    def connect(self) -> End:
        found: list[End] = []
        self.network.dial(self.a, "b", lambda end: (self._use("a", end), found.append(end))[0], self._failed)
        self.run(2 * CONNECT_TIMEOUT_S)
        return found[0]

    def _failed(self, is_refused: bool) -> None:
        self.seen.append(("a", "refused" if is_refused else "timeout"))

    def run(self, seconds: float = 0.1) -> None:
        self.scheduler.run(self.scheduler.now_s + seconds)


@pytest.fixture
def pair() -> Pair:
    return Pair()


def test_one_connection_keeps_the_order_whatever_the_delays(pair: Pair) -> None:
    end = pair.connect()
    pair.network.slow_s["a", "b"] = 0.5
    for number in range(50):
        end.send(number)
    pair.run(2.0)
    assert pair.seen == [("b", number) for number in range(50)]


def test_a_partition_keeps_messages_until_it_heals(pair: Pair) -> None:
    end = pair.connect()
    pair.network.block(("a", "b"))
    end.send("late")
    pair.b_end.send("the other way is open")
    pair.run(1.0)
    assert pair.seen == [("a", "the other way is open")]
    pair.network.heal(("a", "b"))
    pair.run(RESEND_S)
    assert pair.seen[1:] == [("b", "late")]


def test_nobody_connects_through_a_partition_and_a_dead_process_refuses(pair: Pair) -> None:
    pair.network.block(("b", "a"))
    pair.network.dial(pair.a, "b", pytest.fail, pair._failed)
    pair.run(0.5)
    assert pair.seen == []
    pair.run(1.0)
    pair.network.heal(("b", "a"))
    pair.b.die()
    pair.network.dial(pair.a, "b", pytest.fail, pair._failed)
    pair.run()
    assert pair.seen == [("a", "timeout"), ("a", "refused")]


def test_the_death_of_a_process_shows_at_the_other_end_and_that_of_its_machine_does_not(pair: Pair) -> None:
    end = pair.connect()
    pair.b.die()
    pair.network.ended("b", silently=False)
    pair.run()
    assert pair.seen == [("a", "lost")]
    assert not end.is_open
    pair.b.start()
    pair.connect()
    pair.network.dark.add("b")
    pair.b.die()
    pair.network.ended("b", silently=True)
    pair.run(5.0)
    assert pair.seen == [("a", "lost")]
    pair.network.lit("b")
    pair.run()
    assert pair.seen == [("a", "lost"), ("a", "lost")]


def test_a_reset_takes_what_was_under_way_and_tells_both(pair: Pair) -> None:
    end = pair.connect()
    end.send("never comes")
    assert pair.network.reset("a", "b") == 1
    pair.run()
    assert sorted(pair.seen) == [("a", "lost"), ("b", "lost")]


def test_closing_comes_after_what_was_sent_even_through_a_partition(pair: Pair) -> None:
    end = pair.connect()
    pair.network.block(("a", "b"))
    end.send("first")
    end.close()
    pair.run(1.0)
    assert pair.seen == []
    pair.network.heal(("a", "b"))
    pair.run(1.0)
    assert pair.seen == [("b", "first"), ("b", "lost")]


def test_a_paused_process_is_connected_to_and_hears_everything_later(pair: Pair) -> None:
    pair.b.pause()
    end = pair.connect()
    end.send("hello")
    pair.run(1.0)
    assert pair.seen == []
    pair.b.resume()
    assert pair.seen == [("b", "hello")]
