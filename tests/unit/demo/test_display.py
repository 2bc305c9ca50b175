"""What is shown, on a terminal and without one."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from raycache.cluster_status import ShardStatus
from raycache.demo.display import LINE_EVERY_S, Display, duration, headline, line, seconds_text
from raycache.demo.settings import DemoSettings, Progress
from raycache.demo.tally import Latencies, Tally


def progress(*, wrong: int = 0, failures: int = 0, elapsed_s: float = 10.0) -> Progress:
    tally = Tally(hits=900, misses=100, checked=20, wrong=wrong, failures=failures)
    for latencies, seconds in ((tally.gets, 85e-6), (tally.reads, 120e-6), (tally.queries, 4.31e-3)):
        for _ in range(100):
            latencies.record(seconds)
    shards = tuple(
        ShardStatus(f"s{i}", "up", "m", "h:1", 1, entries=300 + i, used_bytes=1 << 20, hits=9, misses=1)
        for i in range(3)
    )
    return Progress(elapsed_s, 0.5, tally, shards, 903)


def shown(*updates: Progress, terminal: bool = False, times: tuple[float, ...] = ()) -> str:
    out = io.StringIO()
    clock = iter(times or [LINE_EVERY_S * number for number in range(1, 100)])
    display = Display(DemoSettings(), Console(file=out, force_terminal=terminal), clock=lambda: next(clock))
    with display:
        display.step("Started Ray")
        for update in updates:
            display.update(update)
    return out.getvalue()


def test_without_a_terminal_there_are_plain_lines_and_a_table() -> None:
    text = shown(progress())
    assert "\x1b" not in text
    assert "Started Ray" in text
    for words in (
        "900 of 1,000: 3.9 s of queries",
        "hit ratio                            90.0%",
        "20, all equal",
        "a read without the cache",
        "4.3",
        "s2",
        "302",
    ):
        assert words in text
    assert "failed" not in text


def test_lines_come_every_two_seconds() -> None:
    # The clock is read once to decide, once more when a line is due.
    text = shown(progress(), progress(), progress(), times=(0.0, 0.0, 1.9, 2.0, 2.0))
    assert text.count("without cache p50") == 2


def test_nothing_is_reported_before_the_first_read() -> None:
    assert "hit ratio" not in shown()
    empty = Progress(0.1, 0.0, Tally(), (), 0)
    assert "without cache p50" not in shown(empty)


def test_a_terminal_gets_bars() -> None:
    text = shown(progress(), terminal=True)
    assert "━" in text
    assert "301 keys" in text
    assert "50%" in text


def test_the_line_for_a_log_has_every_figure() -> None:
    text = line(progress())
    for words in ("10.0 s", "50%", "reads 1,000", "hit ratio 90.0%", "GET p50 85", "saved 900", "keys 300/301/302"):
        assert words in text


def test_wrong_answers_and_failures_cannot_be_overlooked() -> None:
    text = shown(progress(wrong=2, failures=7))
    assert "20, of which 2 WERE WRONG" in text
    assert "cache calls that failed" in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(85e-6, "85 us"), (0.9996e-3, "1 ms"), (4.31e-3, "4.31 ms"), (0.9, "900 ms"), (1234.5, "1,234.5 s")],
)
def test_durations_for_people(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text


def test_a_duration_that_nobody_measured() -> None:
    assert duration(Latencies(), 50) == "-"


def test_the_headline_says_what_runs() -> None:
    text = headline(DemoSettings(seconds=30, shards=4, policy="lfu", seed=9))
    for words in ("3 Ray tasks", "4 shards", "policy lfu", "seed 9", "for 30 s"):
        assert words in text
    assert "the trace web12.txt.gz" in headline(DemoSettings(seconds=None, trace=Path("x/web12.txt.gz")))


def test_a_run_without_an_end_is_refused() -> None:
    with pytest.raises(ValueError, match="for how many seconds"):
        DemoSettings(seconds=None)
