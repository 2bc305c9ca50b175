"""The frame around a loaded value, what may be done with one that was read, and XFetch against its paper."""

from __future__ import annotations

import contextlib
import math
import random
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raycache.codec import LOADED, decode, decode_payload, encode
from raycache.codec.loaded import frame, header_of
from raycache.errors import CorruptValueError
from raycache.loading.basics import Source
from raycache.loading.early import is_due
from raycache.loading.engine import Engine
from raycache.loading.found import IS_DUE, NEVER, NOT_PLAIN, Found, Verdict, value_at_once
from raycache.loading.options import LoadOptions
from raycache.loading.steps import Flight, Outcome, Spawn

TAGS = ((b"t", 7), (b"u", 8))


def aged(left_ms: int, value: Any = "v", *, load_s: float = 0.0, grace_ms: int = 0, tags: Any = ()) -> bytes:
    kind, data = encode(value)
    framed = frame(kind, data, number=1, load_s=load_s, grace_ms=grace_ms, tags=tags)
    return left_ms.to_bytes(8, "big", signed=True) + bytes([LOADED]) + framed


def verdict(left_ms: int, generations: Any = None, *, grace_ms: int = 0, tags: Any = (), **options: Any) -> Verdict:
    found = Found(aged(left_ms, grace_ms=grace_ms, tags=tags))
    return found.verdict(generations or {}, LoadOptions(**options), random.Random(1))


@given(st.one_of(st.none(), st.integers(), st.text(), st.binary(), st.lists(st.integers())),
       st.lists(st.tuples(st.binary(max_size=20), st.integers(0, 2**63)), max_size=3), st.floats(0, 5000),
       st.integers(0, 2**40))
def test_whoever_decodes_gets_the_value_that_is_inside(value: Any, tags: Any, load_s: float, grace_ms: int) -> None:
    kind, data = encode(value)
    framed = frame(kind, data, number=5, load_s=load_s, grace_ms=grace_ms, tags=tuple(tags))
    for again in (decode(LOADED, framed), decode_payload(bytes([LOADED]) + framed), Found(NEVER + bytes([LOADED])
                                                                                           + framed).value):
        assert (again, type(again)) == (value, type(value))
    header = header_of(framed)
    assert (header.tags, header.grace_ms) == (tuple(tags), grace_ms)
    assert header.load_s == pytest.approx(min(load_s, 4294.967295), abs=2e-6)
    assert framed.startswith(header.mark)


@given(st.binary(max_size=60))
def test_rubbish_is_refused_with_the_one_error(rubbish: bytes) -> None:
    with contextlib.suppress(CorruptValueError):
        assert Found(NEVER + bytes([LOADED]) + rubbish).header


def test_a_frame_in_a_frame_is_refused() -> None:
    with pytest.raises(CorruptValueError):
        decode(LOADED, frame(LOADED, b"", number=0, load_s=0, grace_ms=0))
    with pytest.raises(ValueError, match="65,535"):
        frame(0, b"", number=0, load_s=0, grace_ms=0, tags=((b"x" * 65_536, 1),))


def test_marks_tell_two_loads_of_one_value_apart() -> None:
    one, two = (frame(0, b"v", number=number, load_s=1.0, grace_ms=0) for number in (1, 2))
    assert not two.startswith(header_of(one).mark)


@pytest.mark.parametrize(("left_ms", "grace_ms", "options", "expected"), [
    (-1, 0, {}, Verdict.GOOD),
    (1000, 0, {}, Verdict.GOOD),
    (1000, 900, {}, Verdict.GOOD),
    (500, 900, {}, Verdict.USELESS),
    (500, 900, {"stale_ttl": 0.4}, Verdict.USELESS),
    (500, 900, {"stale_ttl": 0.41}, Verdict.STALE),
    (500, 900, {"stale_if_error": 0.41}, Verdict.FALLBACK),
    (500, 900, {"stale_if_error": 0.41, "stale_ttl": 0.39}, Verdict.FALLBACK),
    (500, 900, {"stale_if_error": 0.41, "stale_ttl": 0.41}, Verdict.STALE),
])
def test_what_may_be_done_with_a_value_depends_on_its_age(left_ms: int, grace_ms: int, options: Any,
                                                          expected: Verdict) -> None:
    assert verdict(left_ms, grace_ms=grace_ms, **options) is expected


@pytest.mark.parametrize(("generations", "expected"), [
    ({b"t": 7, b"u": 8}, Verdict.GOOD), ({b"t": 7, b"u": 9}, Verdict.USELESS), ({b"t": 7, b"u": None}, Verdict.USELESS),
])
def test_a_value_is_useless_when_any_of_its_tags_has_moved_on(generations: Any, expected: Verdict) -> None:
    assert verdict(1000, generations, tags=TAGS) is expected


def test_a_value_of_set_is_always_good() -> None:
    found = Found((5).to_bytes(8, "big") + bytes([3]) + b"text")
    assert (found.verdict({}, LoadOptions(), random.Random(1)), found.value, found.mark) == (Verdict.GOOD, "text", b"")


@pytest.mark.parametrize(("payload", "is_hit"), [
    (aged(-1), True), (aged(1000), True), (aged(1000, grace_ms=999), True), (aged(1000, grace_ms=1000), False),
    (aged(1000, tags=TAGS), False), (NEVER + b"\0raw", True), (NEVER + bytes([LOADED]) + b"short", False),
])
def test_the_short_way_calls_nothing_a_hit_that_the_long_way_does_not(payload: bytes, is_hit: bool) -> None:
    value = value_at_once(payload, LoadOptions(), random.Random(1))
    assert (value is not NOT_PLAIN) == is_hit
    assert not is_hit or value == Found(payload).value


@pytest.mark.parametrize(("load_s", "beta"), [(0.2, 1.0), (0.05, 2.0)])
def test_refreshes_come_before_the_expiry_as_the_paper_says(load_s: float, beta: float) -> None:
    """A look at `left` before the expiry refreshes with probability exp(-left / (delta * beta)): figure 3 of the paper.

    20,000 looks at each point, so three standard deviations are at most 0.011.
    """
    rng, looks = random.Random(2015), 20_000
    for share in (0.1, 0.5, 1.0, 2.0, 4.0):
        left_s = share * load_s * beta
        seen = sum(is_due(left_s, load_s, beta, rng) for _ in range(looks)) / looks
        expected = math.exp(-share)
        assert abs(seen - expected) < 3 * math.sqrt(expected * (1 - expected) / looks)


def test_of_readers_in_a_row_the_first_refreshes_where_the_paper_expects_it() -> None:
    """With r readers a second the first refresh comes so early that e ** (-x / d) * r * d is about exponential: the
    mean gap is d * (ln(r * d) + Euler's constant). 200 runs: three standard deviations of their mean are 0.27 d."""
    rng, load_s, every_s, runs = random.Random(8), 0.1, 0.0005, 200
    gaps = []
    for _ in range(runs):
        left_s = 1.4
        while left_s > 0 and not is_due(left_s, load_s, 1.0, rng):
            left_s -= every_s
        gaps.append(left_s)
    expected = load_s * (math.log(load_s / every_s) + 0.5772)
    assert abs(sum(gaps) / runs - expected) < 3 * load_s * (math.pi / math.sqrt(6)) / math.sqrt(runs)
    assert min(gaps) > 0


def test_a_hit_is_refreshed_as_often_as_the_paper_says_and_chance_is_asked_once() -> None:
    """20,000 hits at three distances, through all that `get_or_load` asks: three standard deviations are 0.011."""
    rng, hits = random.Random(42), 20_000
    for share in (0.5, 1.0, 2.0):
        payload = aged(int(share * 1000), load_s=1.0)
        due = sum(value_at_once(payload, LoadOptions(), rng) is IS_DUE for _ in range(hits)) / hits
        assert abs(due - math.exp(-share)) < 0.011
    # What is due is refreshed, however the dice would fall a second time.
    unlikely = Engine(Nobody(), "c", lambda: 0.0, random.Random(1), 5.0)
    for _ in range(20):
        work = unlikely.obtain("k", b"k", Source(lambda: 1), LoadOptions(), aged(30_000, load_s=1.0), is_read=True,
                               is_due=True)
        assert isinstance(next(work), Spawn)
        with pytest.raises(StopIteration) as ended:
            work.send(True)
        assert ended.value.value == "v"


class Nobody:
    """Flights of which each is the first."""

    def join(self, key: bytes) -> tuple[Flight, bool]:
        return Flight(key, None), True

    def finish(self, flight: Flight, outcome: Outcome) -> None:
        """Nobody waits."""


def test_an_expired_value_is_always_due_and_a_quick_load_never_early() -> None:
    rng = random.Random(1)
    assert all(is_due(0.0, 0.1, 1.0, rng) for _ in range(1000))
    assert not any(is_due(0.001, 0.0, 1.0, rng) for _ in range(1000))


def test_the_header_is_as_long_as_it_says() -> None:
    assert struct.calcsize(">BBIIIQ") == 22
