"""`acl` and the options of `up` about users and certificates: no password on a command line, and no half-made TLS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from raycache.cli.access import read_users, take_options
from raycache.cli.main import cli
from raycache.tls import TlsSettings
from tests.certificates import Authority


def test_words_go_as_they_are_and_answers_are_lines(run: Any, backend: Any) -> None:
    run("up", "features")
    assert run("acl", "features", "SETUSER", "web", "on", "~a:*", "+@read", "-@dangerous", "%R~b:*").out == "OK\n"
    assert backend.wishes == [("acl", "features", "SETUSER", "web", "on", "~a:*", "+@read", "-@dangerous", "%R~b:*")]
    backend.acl_answer = [b"user a on", b"user b off"]
    assert run("acl", "features", "LIST").out == "user a on\nuser b off\n"
    backend.acl_answer = [[b"reason", b"key", b"count", 2], [b"x", [b"y", b"z"]]]
    assert run("acl", "features", "LOG").out == "reason key count 2\nx y,z\n"
    backend.acl_answer = None
    assert "there is none" in run("acl", "features", "GETUSER", "x").err
    backend.acl_answer = 1
    assert run("acl", "features", "DELUSER", "x").out == "1\n"


@pytest.mark.parametrize("rule", [">hunter2", "<hunter2"])
def test_a_password_on_the_command_line_is_refused(run: Any, backend: Any, rule: str) -> None:
    run("up", "features")
    outcome = run("acl", "features", "SETUSER", "web", "on", rule)
    assert outcome.code == 2
    assert "--password-stdin" in outcome.err
    assert "hunter2" not in outcome.err + outcome.out
    assert backend.wishes == []


def test_a_password_comes_from_standard_input(backend: Any) -> None:
    backend.start("features", shards=1, memory="64MiB", policy="lru")
    runner = CliRunner()
    words = ["acl", "features", "SETUSER", "web", "on", "--password-stdin"]
    assert runner.invoke(cli, words, input="hunter 2\n", obj=backend).exit_code == 0
    assert backend.wishes == [("acl", "features", "SETUSER", "web", "on", ">hunter 2")]
    assert isinstance(runner.invoke(cli, words, input="\n", obj=backend, standalone_mode=False).exception,
                      click.UsageError)
    wrong = ["acl", "features", "LIST", "--password-stdin"]
    assert isinstance(runner.invoke(cli, wrong, input="x\n", obj=backend, standalone_mode=False).exception,
                      click.UsageError)


def test_a_file_of_users(run: Any, backend: Any, tmp_path: Path) -> None:
    file = tmp_path / "users.acl"
    file.write_text("# who may come in\n\nuser web on #" + "a" * 64 + " ~a:* +@read\n  user b off\n")
    assert read_users(file) == ("user web on #" + "a" * 64 + " ~a:* +@read", "user b off")
    assert run("up", "features", "--users-file", str(file)).code == 0
    assert backend.started_with["users"] == read_users(file)
    file.write_text("users web on\n")
    refused = run("up", "other", "--users-file", str(file))
    assert (refused.code, "user NAME RULE" in refused.err) == (1, True)


def test_certificates(run: Any, backend: Any, tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    cert, key = authority.issue("door")
    assert run("up", "features", "--tls-cert", cert, "--tls-key", key, "--tls-ca", authority.ca,
               "--tls-server-name", "cache", "--tls-require-client-cert").code == 0
    assert backend.started_with["tls"] == TlsSettings(ca=authority.ca, cert=cert, key=key, server_name="cache",
                                                      require_client_cert=True)
    refused = run("up", "features", "--tls-cert", cert, "--tls-key", key)
    assert refused.code == 1
    assert "TLS needs all of" in refused.err


def test_without_options_there_is_nothing() -> None:
    assert take_options({"shards": 3}) == {"shards": 3, "users": (), "tls": None}
