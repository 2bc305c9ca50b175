"""The loops, on a clock that a slow server moves: nothing waits here."""

from __future__ import annotations

import pytest

from benchmarks.suite.runner import GIVE_UP_AFTER, MOST_ERRORS, Tally, Work, closed_loop, in_threads, open_loop
from benchmarks.suite.schedule import Arrivals

MS = 1_000_000
WORK = Work(["a", "b"], [True, False], b"12345")


class Server:
    """A clock, and a client each of whose calls takes what the list says, the last entry for ever."""

    def __init__(self, *takes_ms: int) -> None:
        self.now_ns = 0
        self.calls: list[str] = []
        self._takes_ms = list(takes_ms)
        self.value: bytes | None = b"xxxxx"
        self.error: Exception | None = None

    def clock(self) -> int:
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)

    def get(self, key: str) -> bytes | None:
        self._pass(f"get {key}")
        return self.value

    def set(self, key: str, value: bytes) -> object:
        self._pass(f"set {key} {value.decode()}")
        return None

    def _pass(self, call: str) -> None:
        self.calls.append(call)
        self.now_ns += (self._takes_ms.pop(0) if len(self._takes_ms) > 1 else self._takes_ms[0]) * MS
        if self.error:
            raise self.error


def closed(server: Server, end_ms: int, first: int = 0) -> Tally:
    tally = Tally()
    closed_loop(server, WORK, first, end_ms * MS, tally, server.clock)
    return tally


def opened(server: Server, rate: float, duration_s: float) -> Tally:
    tally = Tally()
    open_loop(server, WORK, Arrivals(0, rate, duration_s), tally, server.clock, server.sleep)
    return tally


def test_a_closed_loop_asks_when_it_has_its_answer() -> None:
    server = Server(2, 30, 2)
    tally = closed(server, 35)
    assert server.calls == ["get a", "set b 12345", "get a", "set b 12345"]
    assert [wait // MS for wait in tally.waits_ns] == [2, 30, 2, 2]
    assert tally.last_ns == 36 * MS, "what was begun in time is finished, and counts"


def test_callers_begin_at_different_places() -> None:
    server = Server(5)
    closed(server, 5, first=3)
    assert server.calls == ["set b 12345"]


def test_an_open_loop_makes_late_requests_wait_from_their_time() -> None:
    # Every 10 ms one is due; the first takes 35 ms. A closed loop would see one slow request, here four waited.
    tally = opened(Server(35, 1), rate=100, duration_s=0.05)
    assert [wait // MS for wait in tally.waits_ns] == [35, 26, 17, 8, 1]
    assert [service // MS for service in tally.services_ns] == [35, 1, 1, 1, 1]
    assert tally.unserved == 0


def test_an_open_loop_that_keeps_up_sleeps_until_each_is_due() -> None:
    server = Server(1)
    tally = opened(server, rate=100, duration_s=0.05)
    assert {wait // MS for wait in tally.waits_ns} == {1}
    assert server.now_ns == 41 * MS


def test_a_backlog_that_will_never_shrink_is_given_up_and_said() -> None:
    tally = opened(Server(50), rate=100, duration_s=0.1)  # twenty times too slow
    assert len(tally.waits_ns) == 10
    assert tally.unserved == 10 - round(GIVE_UP_AFTER * 100 / 50)
    assert max(tally.waits_ns) >= 100 * MS, "who was given up has waited until then"


@pytest.mark.parametrize("value", [None, b"too long"])
def test_what_does_not_read_back_is_counted(value: bytes | None) -> None:
    server = Server(1)
    server.value = value
    assert closed(server, 4).wrong == 2
    server = Server(1)
    server.value = value
    assert opened(server, 1_000, 0.004).wrong == 2


def test_errors_are_counted_by_what_they_say() -> None:
    server = Server(1)
    server.error = OSError("away")
    for tally in (closed(server, 3), opened(Server(1), 1_000, 0.003)):
        assert len(tally.waits_ns) == 3
    assert closed(server, server.now_ns // MS + 2).errors == {"OSError: away": 2}


def test_only_a_handful_of_texts_is_kept() -> None:
    tally = Tally()
    for number in range(2 * MOST_ERRORS):
        tally.fail(ValueError(str(number)))
    assert tally.failed == 2 * MOST_ERRORS
    assert len(tally.errors) == MOST_ERRORS


def test_every_caller_has_a_thread() -> None:
    seen: list[int] = []
    in_threads([lambda number=number: seen.append(number) for number in range(5)], start_ns=0)  # type: ignore[misc]
    assert sorted(seen) == list(range(5))
