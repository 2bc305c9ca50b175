"""The order of the rounds, and what a plan accepts."""

from __future__ import annotations

import pytest

from benchmarks.harness.rounds import MIN_ROUNDS, MOST_ATTEMPTS, CalmRounds, Plan, interleave


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


def is_odd(number: int) -> bool:
    return number % 2 == 1


def test_a_disturbed_round_is_kept_apart_and_made_again() -> None:
    samples = iter([2, 3, 5, 4, 6])
    rounds = CalmRounds[int](5)
    for _ in range(3):
        rounds.add(lambda: next(samples), is_odd)
    assert (rounds.calm, rounds.disturbed) == ([2, 4, 6], [3, 5])
    assert rounds.are_enough


def test_rounds_that_are_always_disturbed_come_to_an_end() -> None:
    rounds = CalmRounds[int](5)
    for _ in range(5):
        rounds.add(lambda: 1, is_odd)
    assert (rounds.calm, len(rounds.disturbed)) == ([], MOST_ATTEMPTS * 5)
    assert not rounds.are_enough


@pytest.mark.parametrize(("calm", "enough"), [(2, False), (3, True), (5, True)])
def test_half_of_the_rounds_must_be_undisturbed(calm: int, enough: bool) -> None:
    assert CalmRounds(5, [0] * calm).are_enough is enough
