"""Heartbeats with time moved by hand."""

from __future__ import annotations

import pytest

from raycache.router.detector import Detector


@pytest.fixture
def detector() -> Detector:
    detector = Detector(ping_every_s=0.25, suspect_after_s=1.0)
    detector.watch("s0", 1, 10.0)
    return detector


def run(detector: Detector, start: float, stop: float, *, heard: bool = False) -> tuple[int, list[tuple[str, int]]]:
    """Tick every 50 ms; return how many pings there were, and the suspects."""
    pings, suspects = 0, []
    for tick in range(round((stop - start) / 0.05)):
        now = start + 0.05 * (tick + 1)
        for shard_id in detector.due(now):
            pings += 1
            if heard:
                detector.heard(shard_id, 1, now)
        suspects += detector.suspects(now)
    return pings, suspects


def test_pings_come_in_time_and_answers_keep_it_calm(detector: Detector) -> None:
    pings, suspects = run(detector, 10.0, 20.0, heard=True)
    assert 32 <= pings <= 41
    assert suspects == []


def test_silence_is_found_after_its_time_and_told_once(detector: Detector) -> None:
    assert run(detector, 10.0, 10.9)[1] == []
    assert run(detector, 10.9, 11.1)[1] == [("s0", 1)]
    pings, suspects = run(detector, 11.1, 15.0)
    assert pings > 10  # it may wake up
    assert suspects == []
    run(detector, 15.0, 15.5, heard=True)
    assert run(detector, 15.5, 17.5)[1] == [("s0", 1)]


def test_unsteady_answers_earn_more_patience_within_limits(detector: Detector) -> None:
    for now_s in (10.9, 11.7, 12.5):
        run(detector, now_s - 0.8, now_s)
        detector.heard("s0", 1, now_s)
    assert run(detector, 12.5, 14.0)[1] == []
    assert run(detector, 14.0, 14.4)[1] == [("s0", 1)]
    run(detector, 14.4, 22.0, heard=True)
    assert run(detector, 22.0, 23.1)[1] == [("s0", 1)]


def test_an_older_process_gives_no_sign_of_life(detector: Detector) -> None:
    run(detector, 10.0, 10.5, heard=True)
    detector.watch("s0", 2, 10.5)
    assert run(detector, 10.5, 12.0, heard=True)[1] == [("s0", 2)]


def test_a_late_answer_takes_nothing_back(detector: Detector) -> None:
    detector.heard("s0", 1, 10.9)
    detector.heard("s0", 1, 10.2)
    detector.heard("s9", 1, 10.2)
    assert run(detector, 10.9, 11.6)[1] == []


def test_the_routers_own_pause_is_nobody_elses_silence(detector: Detector) -> None:
    run(detector, 10.0, 10.5, heard=True)
    assert detector.suspects(60.0) == []
    assert detector.due(60.0) == ["s0"]
    assert run(detector, 60.0, 60.9)[1] == []
    assert run(detector, 60.9, 61.1)[1] == [("s0", 1)]


def test_forgotten_ones_are_left_alone(detector: Detector) -> None:
    detector.forget("s0")
    detector.forget("s0")
    assert run(detector, 10.0, 12.0) == (0, [])


@pytest.mark.parametrize(("ping", "suspect"), [(0, 1), (1, 1), (2, 1)])
def test_settings_that_make_no_sense(ping: float, suspect: float) -> None:
    with pytest.raises(ValueError, match="ping_every_s"):
        Detector(ping_every_s=ping, suspect_after_s=suspect)
