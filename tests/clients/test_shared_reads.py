"""Threads that read one key share round trips, and none gets an answer that was sent for before it asked."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from raycache.client.shared_reads import AT_ONCE, SharedReads
from raycache.errors import DeadlineExceededError, ShardUnavailableError
from tests.support import wait_until

KEY = b"k"


class Shard:
    """Has each read wait until it is let go, and answers with what it held when that came."""

    def __init__(self) -> None:
        self.value = b"1"
        self.error: Exception | None = None
        self._waiting: list[threading.Event] = []

    @property
    def asked(self) -> int:
        return len(self._waiting)

    def go(self, *numbers: int) -> None:
        for number in numbers:
            self._waiting[number].set()

    def read(self, key: bytes) -> bytes | None:
        value, mine = self.value + key[1:], threading.Event()
        self._waiting.append(mine)
        assert mine.wait(20)
        if self.error is not None:
            raise self.error
        return value


@pytest.fixture
def shard() -> Shard:
    return Shard()


@pytest.fixture
def reads(shard: Shard) -> SharedReads:
    return SharedReads(shard.read, 20.0)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(60) as executor:
        yield executor


def gathered(reads: SharedReads) -> int:
    """How many wait for the next read."""
    running = reads._keys[KEY]
    return 0 if running.next is None else len(running.next.turn._waiting) + len(running.next.done._waiting)


def lonely(reads: SharedReads, pool: ThreadPoolExecutor, shard: Shard) -> list[Future[bytes | None]]:
    """Have as many read as may alone, one after the other."""
    alone = []
    for number in range(AT_ONCE):
        alone.append(pool.submit(reads.read, KEY))
        wait_until(lambda number=number: shard.asked == number + 1)
    return alone


def herd(reads: SharedReads, pool: ThreadPoolExecutor, shard: Shard, count: int) -> list[Future[bytes | None]]:
    """Have as many read as may alone, the last of whom is waited for, and `count` more who gather."""
    alone = lonely(reads, pool, shard)
    more = [pool.submit(reads.read, KEY) for _ in range(count)]
    wait_until(lambda: gathered(reads) == count)
    return alone + more


def test_a_few_read_alone_and_the_others_together(reads: SharedReads, pool: ThreadPoolExecutor, shard: Shard) -> None:
    all_of_them = herd(reads, pool, shard, 40)
    shard.value = b"2"  # written after those had been sent
    shard.go(AT_ONCE - 1)
    wait_until(lambda: shard.asked == AT_ONCE + 1)
    shard.value = b"3"
    late = pool.submit(reads.read, KEY)  # its read has been sent, so this one is too late for it
    wait_until(lambda: gathered(reads) == 1)
    shard.go(AT_ONCE)
    wait_until(lambda: shard.asked == AT_ONCE + 2)
    shard.go(*range(AT_ONCE - 1), AT_ONCE + 1)
    assert [each.result(20) for each in all_of_them] == [b"1"] * AT_ONCE + [b"2"] * 40
    assert late.result(20) == b"3"
    assert (shard.asked, reads._keys) == (AT_ONCE + 2, {})


def test_other_keys_are_read_meanwhile(reads: SharedReads, pool: ThreadPoolExecutor, shard: Shard) -> None:
    herd(reads, pool, shard, 2)
    other = pool.submit(reads.read, b"kk")
    wait_until(lambda: shard.asked == AT_ONCE + 1)
    shard.go(AT_ONCE)
    assert other.result(20) == b"1k"
    shard.go(*range(AT_ONCE))
    wait_until(lambda: shard.asked == AT_ONCE + 2)
    shard.go(AT_ONCE + 1)


def test_an_error_goes_to_all_whose_read_it_was(reads: SharedReads, pool: ThreadPoolExecutor, shard: Shard) -> None:
    all_of_them = herd(reads, pool, shard, 3)
    shard.go(AT_ONCE - 1)
    wait_until(lambda: shard.asked == AT_ONCE + 1 and all_of_them[AT_ONCE - 1].done())
    shard.error = ShardUnavailableError("gone")
    shard.go(*range(AT_ONCE - 1), AT_ONCE)
    errors = [each.exception(20) for each in all_of_them]
    assert [type(each) for each in errors[AT_ONCE:]] == [ShardUnavailableError] * 3
    assert len({id(each) for each in errors[AT_ONCE:]}) == 3
    assert reads._keys == {}


def test_nobody_waits_for_others_for_longer_than_for_a_shard(shard: Shard, pool: ThreadPoolExecutor) -> None:
    reads = SharedReads(shard.read, 0.01)
    alone = lonely(reads, pool, shard)
    for late in [pool.submit(reads.read, KEY) for _ in range(3)]:
        with pytest.raises(DeadlineExceededError):
            late.result(20)
    shard.go(*range(AT_ONCE))
    assert [each.result(20) for each in alone] == [b"1"] * AT_ONCE
    assert (reads._keys, len(reads._room)) == ({}, AT_ONCE - 1)
