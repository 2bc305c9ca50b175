"""Counting in a process, and what of it is news."""

from __future__ import annotations

import threading

from raycache.functions.tally import MOST_NEWS, Ledger, Tally
from raycache.usage.rows import FunctionUse


class Woken:
    def __init__(self) -> None:
        self.times = 0
        self.ledger = Ledger(self.wake)

    def wake(self) -> None:
        self.times += 1


def test_everything_that_happens_is_counted() -> None:
    tally = Tally("m.f", lambda: None)
    tally.hit("k")
    tally.hit(b"k")
    tally.loaded("k", 0.5)
    tally.stale("k")
    tally.waited("k", 0.25)
    tally.failed("k", ValueError())
    tally.cache_failed()
    assert tally.use() == FunctionUse(hits=2, loads=1, load_s=0.5, stale=1, waits=1, wait_s=0.25, failures=1,
                                      cache_errors=1)
    tally.use().hits = 99
    assert tally.use().hits == 2


def test_news_are_told_once() -> None:
    woken = Woken()
    tally = Tally("m.f", lambda: woken.ledger)
    assert woken.ledger.news() == {}
    tally.hit("k")
    tally.hit("k")
    assert woken.times == 1
    assert woken.ledger.news() == {"m.f": FunctionUse(hits=2)}
    assert (woken.ledger.news(), woken.times) == ({}, 1)
    tally.hit("k")
    assert woken.times == 2
    assert woken.ledger.news() == {"m.f": FunctionUse(hits=1)}
    assert tally.use().hits == 3


def test_two_functions_of_one_name_are_one() -> None:
    woken = Woken()
    for tally in (Tally("m.f", lambda: woken.ledger), Tally("m.f", lambda: woken.ledger)):
        tally.hit("k")
    assert woken.times == 1
    assert woken.ledger.news() == {"m.f": FunctionUse(hits=2)}


def test_one_message_is_bounded_and_the_rest_follows() -> None:
    woken = Woken()
    tallies = [Tally(f"f{number}", lambda: woken.ledger) for number in range(MOST_NEWS + 3)]
    for tally in tallies:
        tally.hit("k")
    assert (len(woken.ledger.news()), woken.times) == (MOST_NEWS, 2)
    assert (len(woken.ledger.news()), woken.times) == (3, 2)


def test_what_is_counted_before_there_is_a_handle_is_told_later() -> None:
    woken, known = Woken(), list[Ledger]()
    tally = Tally("m.f", lambda: known[0] if known else None)
    tally.hit("k")
    known.append(woken.ledger)
    tally.hit("k")
    assert woken.ledger.news() == {"m.f": FunctionUse(hits=2)}


def test_a_forked_child_tells_only_its_own() -> None:
    woken = Woken()
    tally = Tally("m.f", lambda: woken.ledger)
    tally.hit("k")
    woken.ledger.forget()
    assert woken.ledger.news() == {}
    tally.loaded("k", 1.0)
    assert woken.ledger.news() == {"m.f": FunctionUse(loads=1, load_s=1.0)}


def test_threads_lose_no_count() -> None:
    told, woken = FunctionUse(), Woken()
    tally = Tally("m.f", lambda: woken.ledger)

    def work() -> None:
        for _ in range(2000):
            tally.hit("k")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        for use in woken.ledger.news().values():
            told.add(use)
    for use in woken.ledger.news().values():
        told.add(use)
    assert tally.use().hits == told.hits == 8000
