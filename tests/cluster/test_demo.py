"""The demo on a real Ray: what it measures is true, and it leaves nothing behind."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console

import raycache
from raycache.demo import job
from raycache.demo.display import Display
from raycache.demo.settings import DemoSettings

pytestmark = pytest.mark.ray

PROGRAM = Path(sys.executable).with_name("raycache")


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder for temporary files that no other demo on this machine uses."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))


def demo_leftovers() -> list[str]:
    clusters = [name for name in raycache.clusters() if name.startswith("demo-")]
    return clusters + [path.name for path in Path(tempfile.gettempdir()).glob("raycache-demo-*")]


def run(settings: DemoSettings) -> tuple[job.Tally, str]:
    out = io.StringIO()
    tally = job.run(settings, Display(settings, Console(file=out)))
    return tally, out.getvalue()


def test_a_trace_is_replayed_to_its_end(ray_cluster: str, tmp_path: Path) -> None:
    trace = tmp_path / "trace.txt"
    # 20 keys, each asked for 40 times in rounds. Keys beyond the airports ask about smaller surroundings.
    keys = [number * 5003 for number in range(20)] * 40
    trace.write_text("".join(f"{key}\n" for key in keys))
    tally, text = run(DemoSettings(seconds=None, shards=2, memory="4MiB", readers=2, trace=trace))
    assert tally.lookups == 800
    # Each key is a miss once, or for both readers where they meet.
    assert 20 <= tally.misses <= 40
    assert tally.failures == 0
    assert tally.checked > 0
    assert tally.wrong == 0
    assert "saved" in text
    assert demo_leftovers() == []


def test_the_settings_do_what_they_say(ray_cluster: str) -> None:
    tally, text = run(DemoSettings(seconds=2.0, shards=1, memory="1MiB", policy="noeviction", readers=2, skew=0.0))
    assert tally.lookups > 0
    assert "policy noeviction" in text
    shards = [line.split()[0] for line in text.splitlines() if line.startswith("s") and line[1:2].isdigit()]
    assert shards == ["s0"]
    assert demo_leftovers() == []


def test_an_interruption_stops_everything(ray_cluster: str) -> None:
    process = subprocess.Popen(
        [PROGRAM, "demo", "--seconds", "60", "--shards", "1", "--readers", "1"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
        # Whoever runs the tests in the background of a shell has them ignore it, and that is inherited.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert process.stdout is not None
    with process.stdout as printed:
        for line in printed:
            if "without cache" in line:
                break
        process.send_signal(signal.SIGINT)
        rest = printed.read()
    assert process.wait(timeout=60) == 130
    assert "Traceback" not in rest
    assert "database reads saved" in rest  # what was measured until then is shown
    assert "raycache: interrupted" in rest
    assert demo_leftovers() == []
