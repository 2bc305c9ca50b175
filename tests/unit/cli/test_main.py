"""Help that teaches, failures in one line, exit codes."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from raycache.cli.main import cli, main
from raycache.errors import RayCacheError

COMMANDS = ("up", "down", "scale", "drain", "explain", "cancel", "verify", "status", "get", "set", "del", "ring", "top",
            "warm",
            "record", "replay", "demo", "dashboard", "attach", "detach",
            "stores", "letters", "upgrade", "acl", "http", "config", "advise", "policy")


def test_all_commands_are_there() -> None:
    assert set(cli.commands) == set(COMMANDS)


def test_no_command_shows_the_help(run: Any) -> None:
    outcome = run()
    assert outcome.code == 0
    assert "A first walk" in outcome.out
    assert run("--help").out == outcome.out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_shows_how_it_is_used(run: Any, command: str) -> None:
    outcome = run(command, "--help")
    assert outcome.code == 0
    assert "Examples:" in outcome.out
    assert outcome.out.count(f"raycache {command}") >= 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fetch"], "No such command 'fetch'"),
        (["get", "features"], "Missing argument 'KEY'; see `raycache get --help`"),
        (["up", "features", "--shard-count", "3"], "No such option"),
        (["up", "features", "--shards", "0"], "0 is not in the range 1<=x<=1000"),
        (["up", "features", "--policy", "best"], "'best' is not one of 'lru', 'lfu'"),
        (["del", "features"], "Missing argument"),
        (["demo", "--trace", "no-such-file"], "does not exist"),
    ],
)
def test_a_command_line_without_sense_is_one_line_and_code_2(run: Any, arguments: list[str], words: str) -> None:
    outcome = run(*arguments)
    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.err.startswith("raycache: ")
    assert outcome.err.count("\n") == 1
    assert words in outcome.err
    assert "--help`" in outcome.err


def test_an_expected_failure_is_one_line_and_code_1(run: Any, backend: Any) -> None:
    backend.failure = RayCacheError("it does not start:\n  port 7000 is taken")
    outcome = run("up", "features")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == "raycache: it does not start: port 7000 is taken\n"


def test_a_lost_connection_is_expected_too(run: Any, backend: Any) -> None:
    backend.failure = ConnectionRefusedError("nobody listens")
    assert run("up", "features").code == 1


def test_a_bug_keeps_its_traceback(run: Any, backend: Any) -> None:
    backend.failure = AttributeError("a bug")
    with pytest.raises(AttributeError, match="a bug"):
        run("up", "features")


def test_an_interruption_is_code_130(run: Any, backend: Any) -> None:
    backend.failure = KeyboardInterrupt()
    outcome = run("up", "features")
    # The empty line ends the one on which the terminal shows ^C.
    assert (outcome.code, outcome.err) == (130, "\nraycache: interrupted\n")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("raycache, version ")


def test_help_does_not_wait_for_ray() -> None:
    code = "import sys; from raycache.cli.main import main; main(['--help']); sys.exit('ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_that_leaves_early_gets_no_traceback() -> None:
    # The reading end is closed before anything is written.
    code = "import sys; from raycache.cli.main import main; sys.stdin.read(); sys.exit(main(['--help']))"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    process.stdin.close()
    assert b"Traceback" not in process.stderr.read()
    process.stderr.close()
    process.wait()
