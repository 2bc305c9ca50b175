"""A bar on a terminal, plain lines elsewhere; and nothing is drawn between the steps."""

from __future__ import annotations

import io
import re
import threading

from rich.console import Console

from benchmarks.harness.progress import RunProgress


def test_plain_lines_where_there_is_no_terminal() -> None:
    console = Console(file=io.StringIO(), width=100)
    with RunProgress(console, 2) as progress:
        progress.step("get_many: ours, round 1 of 5")
        progress.step("[odd] name")
    lines = console.file.getvalue().splitlines()
    assert len(lines) == 2
    assert re.fullmatch(r"\[1/2\]\s+\d+\.\d s  get_many: ours, round 1 of 5", lines[0])
    assert re.fullmatch(r"\[2/2\]\s+\d+\.\d s  \[odd\] name", lines[1])


def test_a_bar_on_a_terminal_drawn_by_no_thread() -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    threads = threading.active_count()
    with RunProgress(console, 2) as progress:
        progress.step("one")
        assert threading.active_count() == threads
        drawn = console.file.getvalue()
        assert "one" in drawn
        assert "0/2" in drawn
        progress.step("two")
    drawn = console.file.getvalue()
    assert "1/2" in drawn
    assert "2/2" in drawn


def test_a_bar_that_breaks_off_does_not_claim_to_be_done() -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    progress = RunProgress(console, 2)
    progress.__enter__()
    progress.step("one")
    progress.__exit__(RuntimeError, RuntimeError(), None)
    assert "2/2" not in console.file.getvalue()
