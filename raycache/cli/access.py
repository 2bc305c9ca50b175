"""`acl`: who may do what in a running cluster; and the options of `up` that say it from the start.

What lives here: arguments and what is printed. What does not: users (`raycache.access`), certificates (`raycache.tls`).
No password is taken from a command line, where everybody on the machine can read it (`ps`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from raycache.cli import output
from raycache.cli.backend import Backend
from raycache.tls import TlsSettings

_FILE: Final = click.Path(exists=True, dir_okay=False, resolve_path=True)
F = TypeVar("F", bound=Callable[..., Any])


def options(command: F) -> F:
    """Add to `up` what it takes for users and certificates."""
    for option in reversed((
        click.option("--users-file", type=_FILE, help="Users from the start: lines as `acl NAME LIST` prints them."),
        click.option("--tls-cert", type=_FILE, help="PEM certificate of the doors, at this path on every machine."),
        click.option("--tls-key", type=_FILE, help="Its private key, without a passphrase."),
        click.option("--tls-ca", type=_FILE, help="PEM certificates of the authorities that are trusted."),
        click.option("--tls-server-name", help="The DNS name in all the doors' certificates. Default: their address."),
        click.option("--tls-require-client-cert", is_flag=True, help="Turn away clients without a certificate."),
    )):
        command = option(command)
    return command


def take_options(settings: dict[str, Any]) -> dict[str, Any]:
    """Return `settings` with `users` and `tls` in place of the options above.

    Raises:
        ValueError: they make no sense together, or the file of users does not.
    """
    rest = {name: value for name, value in settings.items() if not name.startswith("tls_") and name != "users_file"}
    cert, key, ca = (settings.get(f"tls_{name}") for name in ("cert", "key", "ca"))
    name, demanding = settings.get("tls_server_name"), bool(settings.get("tls_require_client_cert"))
    if not any((cert, key, ca, name, demanding)):
        tls = None
    elif not (cert and key and ca):
        raise ValueError("TLS needs all of --tls-cert, --tls-key and --tls-ca")
    else:
        tls = TlsSettings(ca=ca, cert=cert, key=key, server_name=name, require_client_cert=demanding)
        tls.check_door()
    file = settings.get("users_file")
    return {**rest, "users": () if file is None else read_users(Path(file)), "tls": tls}


def given_options(given: dict[str, Any]) -> dict[str, Any]:
    """The same for options of which some are left to a file: what was not given is not in it."""
    settings = take_options(given)
    left = {name for name in ("users", "tls") if not settings[name]}
    return {name: value for name, value in settings.items() if name not in left}


def read_users(path: Path) -> tuple[str, ...]:
    """Return the lines of a file of users, without its comments."""
    lines = (line.strip() for line in path.read_text().splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("name")
@click.argument("words", nargs=-1, required=True, metavar="SUBCOMMAND [ARGUMENT]...")
@click.option("--password-stdin", is_flag=True, help="Add a password to SETUSER: the first line of standard input.")
@click.pass_obj
def acl(backend: Backend, name: str, words: tuple[str, ...], password_stdin: bool) -> None:
    """Show and change the users of the cluster NAME, with the words of Redis' ACL.

    Changes hold on all shards and gateways within a second, and as long as the cluster runs.

    \b
    Examples:
      raycache acl features SETUSER web on '~session:*' +@read +@write +@connection --password-stdin < secret-file
      raycache acl features LIST
      raycache acl features DRYRUN web GET session:1
      raycache acl features DELUSER web
    """
    rules = list(words)
    if any(word.startswith((">", "<")) for word in rules[2:]):
        raise click.UsageError("a password here could be read by everybody (`ps`): use --password-stdin",
                               click.get_current_context())
    if password_stdin:
        if rules[0].upper() != "SETUSER":
            raise click.UsageError("--password-stdin is for SETUSER", click.get_current_context())
        password = sys.stdin.readline().rstrip("\r\n")
        if not password:
            raise click.UsageError("no password on standard input", click.get_current_context())
        rules.append(f">{password}")
    backend.attach(start=False)
    _show(backend.acl(name, rules))


def _show(answer: Any) -> None:
    if answer is None:
        output.note("there is none")
    elif isinstance(answer, list):
        for line in _lines(answer):
            click.echo(line)
    else:
        click.echo(_text(answer))


def _lines(answer: list[Any]) -> list[str]:
    """One line for each element; lists inside stand on one line."""
    return [" ".join(map(_text, each)) if isinstance(each, list) else _text(each) for each in answer]


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(_text, value))
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


COMMANDS = (acl,)
