"""The order of the rounds, and what a plan accepts."""

from __future__ import annotations

import pytest

from benchmarks.harness.rounds import MIN_ROUNDS, Plan, interleave


def test_the_sides_take_turns() -> None:
    order: list[str] = []
    steps: list[str] = []
    counter = iter(range(100))

    def side(name: str):
        def measure() -> int:
            order.append(name)
            return next(counter)

        return measure

    results = interleave({"a": side("a"), "b": side("b")}, 3, steps.append)
    assert order == ["a", "b", "a", "b", "a", "b"]
    assert results == {"a": [0, 2, 4], "b": [1, 3, 5]}
    assert steps == [f"{name}, round {number} of 3" for number in (1, 2, 3) for name in ("a", "b")]


def test_fewer_than_five_rounds_are_refused() -> None:
    assert MIN_ROUNDS == 5
    with pytest.raises(ValueError, match="at least 5, not 4"):
        Plan(rounds=4)


def test_quick_is_a_tenth_but_never_nothing() -> None:
    assert Plan().size(20_000) == 20_000
    assert Plan(quick=True).size(20_000) == 2_000
    assert Plan(quick=True).size(3) == 1
