"""`record` and `replay` on a cluster in memory."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from raycache.cli.meter import Meter, stoppable
from raycache.warming.files import lines_of
from raycache.warming.read_log import accesses, header

RECORDING = header("features", 0.5) + "0 r 5 0 a\n3 m 0 0 b\n5 w 7 9000 b\n9 r 7 8990 b\n"


@pytest.fixture(autouse=True)
def _cluster(run: Any) -> None:
    run("up", "features")


def test_a_recording_is_a_file_and_a_line(run: Any, backend: Any, tmp_path: Path) -> None:
    backend.bulk("features").events = [(10**15, "r", 5, 0, b"a"), (10**15, "m", 0, 0, b"b")]
    out = tmp_path / "reads.gz"
    outcome = run("record", "features", "--out", str(out), "--seconds", "0.3", "--sample", "1")
    assert outcome.code == 0, outcome.err
    assert "features: 2 reads (hit ratio 50.0%), 0 writes and 0 deletes in" in outcome.out
    assert [access.key for access in accesses(lines_of([out]))] == [b"a", b"b"]
    assert "Recording features" in outcome.err


def test_a_recording_as_json_and_a_file_that_is_there(run: Any, tmp_path: Path) -> None:
    out = str(tmp_path / "reads.gz")
    record = json.loads(run("record", "features", "--out", out, "--seconds", "0.01", "--json").out)
    assert (record["reads"], record["dropped"], record["out"]) == (0, 0, out)
    again = run("record", "features", "--out", out, "--seconds", "0.01")
    assert (again.code, again.out) == (1, "")
    assert "is there already" in again.err


def test_a_replay_tells_the_ratio_beside_the_recorded_one(run: Any, backend: Any, tmp_path: Path) -> None:
    file = tmp_path / "reads"
    file.write_text(RECORDING)
    outcome = run("replay", "features", str(file), "--speed", "100")
    assert outcome.code == 0, outcome.err
    assert "features: 3 reads, hit ratio 33.3% (when recorded 66.7%); 1 filled, 1 writes, in" in outcome.out
    assert {key: (len(entry.data), entry.left_ms) for key, entry in backend.bulks["features"].held.items()} == {
        b"a": (5, 0), b"b": (7, 9000)}  # fmt: skip


def test_a_cluster_that_holds_something_is_refused_unless_forced(run: Any, backend: Any, tmp_path: Path) -> None:
    file = tmp_path / "reads"
    file.write_text(RECORDING)
    backend.bulk("features").put(b"x", b"mine", 0)
    outcome = run("replay", "features", str(file), "--speed", "max")
    assert (outcome.code, outcome.out) == (1, "")
    assert "holds 1 entries" in outcome.err
    assert run("replay", "features", str(file), "--speed", "max", "--force").code == 0


def test_a_trace_has_no_times_and_no_recorded_ratio(run: Any, tmp_path: Path) -> None:
    file = tmp_path / "trace.txt"
    file.write_text("1 50\n2\n1\n")
    outcome = run("replay", "features", str(file), "--json")
    record = json.loads(outcome.out)
    assert (record["reads"], record["hits"], record["end"]) == (3, 1, "done")
    assert "recorded_hit_ratio" not in record
    assert "no times" in run("replay", "features", str(file), "--speed", "2", "--force").err


@pytest.mark.parametrize(("text", "speed", "code", "words"), [
    ("seven\n", "1", 1, "reads, line 1"),
    (header("c", 1), "1", 1, "has no reads"),
    ("", "1", 1, "is empty"),
    (RECORDING, "0", 2, "a number above 0"),
    (RECORDING, "fast", 2, "a number above 0"),
])  # fmt: skip
def test_what_makes_no_sense_is_one_line(
    run: Any, tmp_path: Path, text: str, speed: str, code: int, words: str
) -> None:
    file = tmp_path / "reads"
    file.write_text(text)
    outcome = run("replay", "features", str(file), "--speed", speed)
    assert (outcome.code, outcome.out) == (code, "")
    assert words in outcome.err
    assert outcome.err.count("\n") == 1


def test_the_first_signal_asks_and_the_second_interrupts() -> None:
    with stoppable() as stop:
        assert not stop.is_set()
        signal.raise_signal(signal.SIGINT)
        assert stop.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)


def test_without_a_terminal_a_meter_prints_a_line_every_other_second(capsys: pytest.CaptureFixture[str]) -> None:
    now_s = 0.0
    with Meter("Warming features", clock=lambda: now_s) as meter:
        for number in range(10):
            now_s = number * 0.5
            meter.update(number / 10, f"{number} keys")
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"Warming features: {text} keys" for text in ("  0%  0", " 40%  4", " 80%  8")]


def test_on_a_terminal_it_is_a_bar_and_leaves_nothing_behind() -> None:
    import io

    from rich.console import Console

    screen = io.StringIO()
    now_s = 0.0
    with Meter("Warming", Console(file=screen, force_terminal=True, width=100), lambda: now_s) as meter:
        now_s = 10.0
        meter.update(0.25, "some keys")
    text = screen.getvalue()
    assert "25%" in text
    assert "about 0:30 left" in text
    assert "some keys" in text
