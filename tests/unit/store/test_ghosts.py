"""Ghosts: a FIFO queue of hashes from which any can be taken out, against an ordered dict."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from raycache.store.policies.ghosts import Ghosts

STEPS = st.sampled_from("aatd")
HASHES = st.one_of(st.integers(-20, 20), st.sampled_from([2**63 - 1, -(2**63), 1 << 32, 1 << 40]))


@settings(max_examples=200, deadline=None)
@given(expected=st.sampled_from([1, 10, 1000]), steps=st.lists(st.tuples(STEPS, HASHES), max_size=200))
def test_ghosts_are_an_ordered_dict(expected: int, steps: list[tuple[str, int]]) -> None:
    ghosts, model = Ghosts(expected), dict[int, int]()
    for step, hashed in steps:
        known = hashed & 2**64 - 1
        if step == "t":
            assert ghosts.take(hashed) == model.pop(known, 0)
        elif step == "d" and model:
            ghosts.drop_oldest()
            del model[next(iter(model))]
        elif step == "a" and known not in model:
            weight = abs(hashed) % 1000 + 1
            ghosts.add(hashed, weight)
            model[known] = weight
        assert (len(ghosts), ghosts.weight) == (len(model), sum(model.values()))
        assert list(ghosts.hashes()) == list(model)


def test_the_queue_stays_short_however_many_ghosts_are_taken_out() -> None:
    ghosts = Ghosts(100)
    for number in range(50):
        ghosts.add(-number - 1, 1)
    for number in range(40_000):
        ghosts.add(number, 1)
        assert ghosts.take(number) == 1
    assert len(ghosts) == 50
    assert sum(map(len, ghosts._chunks)) < 80_000  # 40,000 records of 8 bytes were written
    for number in range(50):
        assert next(ghosts.hashes()) == (-number - 1) & 2**64 - 1
        ghosts.drop_oldest()
    assert len(ghosts) == 0


def test_a_ghost_that_came_again_is_as_young_as_its_return() -> None:
    ghosts = Ghosts(10)
    for hashed in (1, 2, 3):
        ghosts.add(hashed, 5)
    assert ghosts.take(1) == 5
    ghosts.add(1, 7)
    ghosts.drop_oldest()
    assert list(ghosts.hashes()) == [3, 1]
    assert ghosts.weight == 12
