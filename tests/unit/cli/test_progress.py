"""How a change looks while it is under way."""

from __future__ import annotations

import io

from rich.console import Console

from raycache.cli.progress import Progress, ProgressView, line, read_progress, read_result, summary
from raycache.cluster_status import TransferStatus
from tests.unit.cli.conftest import account, change

TRANSFER = TransferStatus("t1", "s0", "s3", 1365, "streaming", 1000, 1 << 20, 1, 2.0)
PROGRESS = Progress("drain s0", False, 4.0, 1024, 4096, 1000, 1 << 20, 1, (TRANSFER,))


def test_the_routers_account_is_read_with_what_is_on_its_way() -> None:
    arriving = {"id": "t1", "giver": "s0", "receiver": "s3", "slots": 5, "state": "waiting", "entries": 10, "bytes": 20,
                "misses": 3, "seconds": 1.0}  # fmt: skip
    progress = read_progress(account(change("drain s0", slots=1024), transfers=(arriving,)))
    assert progress is not None
    assert (progress.entries, progress.bytes, progress.misses) == (250_010, (25 << 20) + 20, 3)
    assert progress.fraction == 0.25
    assert read_progress(account()) is None
    assert read_result(account()) is None


def test_a_change_without_slots_to_move_is_at_its_beginning_until_it_is_done() -> None:
    assert Progress("scale", False, 0, 0, 0, 0, 0, 0).fraction == 0
    assert Progress("scale", True, 0, 0, 0, 0, 0, 0).fraction == 1


def test_a_line_and_a_summary() -> None:
    assert line(PROGRESS) == "drain s0:  25%, 1,024 of 4,096 slots, 1,000 entries, 1.0 MiB in 4.0 s, 1 miss caused"
    assert summary(PROGRESS) == "drain s0: 1,024 slots moved, 1,000 entries, 1.0 MiB in 4.0 s, 1 miss caused"


def shown(*seconds: float, terminal: bool) -> str:
    out = io.StringIO()
    with ProgressView(Console(file=out, force_terminal=terminal, width=100, _environ={})) as view:
        for at_s in seconds:
            view.update(Progress("drain s0", False, at_s, 1024, 4096, 1000, 1 << 20, 1, (TRANSFER,)))
    return out.getvalue()


def test_without_a_terminal_a_line_every_other_second() -> None:
    lines = shown(0.0, 0.2, 1.9, 2.1, 3.0, 4.2, terminal=False).splitlines()
    assert [one.partition(" in ")[2].partition(",")[0] for one in lines] == ["0 ms", "2.1 s", "4.2 s"]


def test_a_terminal_shows_a_bar_and_each_transfer() -> None:
    text = shown(0.0, 0.2, terminal=True)
    assert "25%" in text
    assert "1,024 of 4,096 slots" in text
    assert "s0 -> s3, 1,365 slots: streaming, 1,000 entries" in text
