"""What a log line looks like, and what never stands in one."""

from __future__ import annotations

import json
import logging
import sys

import pytest

from raycache.logs import JsonFormatter, _Redacting, event, set_up

SECRET = 's3"cret\\'


def record(message: str, *args: object, **extra: object) -> logging.LogRecord:
    made = logging.getLogger("raycache.x").makeRecord("raycache.x", logging.INFO, "f", 1, message, args, None,
                                                      extra=dict(extra) or None)
    made.created, made.msecs = 1_700_000_000.25, 250.0
    return made


def test_a_json_line_has_its_time_its_event_and_what_every_line_has() -> None:
    line = JsonFormatter(cluster="c", shard="s1").format(record("lost %s", "s0", **event("lost", shard_lost="s0", n=3)))
    assert "\n" not in line
    assert json.loads(line) == {
        "time": "2023-11-14T22:13:20.250Z", "level": "info", "logger": "raycache.x", "cluster": "c", "shard": "s1",
        "message": "lost s0", "event": "lost", "shard_lost": "s0", "n": 3}


@pytest.mark.parametrize("made", [JsonFormatter, _Redacting])
def test_no_line_shows_a_secret_not_even_in_a_traceback(made: type[logging.Formatter]) -> None:
    formatter = made([SECRET])  # type: ignore[arg-type]
    told = record("password is %s", SECRET, **event("auth", password=SECRET))
    try:
        raise ValueError(f"bad password {SECRET}")
    except ValueError:
        told.exc_info = sys.exc_info()
    line = formatter.format(told)
    assert SECRET not in line
    assert json.dumps(SECRET)[1:-1] not in line
    assert "(redacted)" in line
    assert "bad password" in line


def test_set_up_writes_json_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    try:
        set_up("json", ["s3cret"], cluster="c")
        logging.getLogger("raycache.test").info("two\nlines and s3cret")
        line = json.loads(capsys.readouterr().err)
    finally:
        root.handlers[:], root.level = before, level
    assert (line["message"], line["cluster"]) == ("two\nlines and (redacted)", "c")
