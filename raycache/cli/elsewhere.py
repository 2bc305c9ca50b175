"""A cluster elsewhere, which no Ray here knows: the options that say how to come in there.

What lives here: `--from-...` and what they amount to. What does not: connecting (`raycache.connecting`). No secret and
no password is taken from the command line, where everybody on the machine can read it (`ps`).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from raycache.client.info import Login
from raycache.tls import TlsSettings

SECRET_VARIABLE: Final = "RAYCACHE_FROM_SECRET"
PASSWORD_VARIABLE: Final = "RAYCACHE_FROM_PASSWORD"
_FILE: Final = click.Path(exists=True, dir_okay=False, resolve_path=True)
_NAMES: Final = ("from_secret_file", "from_user", "from_password_file", "from_tls_ca", "from_tls_cert", "from_tls_key",
                 "from_tls_server_name")
F = TypeVar("F", bound=Callable[..., Any])


def options(command: F) -> F:
    """Add to a command what it takes for a cluster at HOST:PORT."""
    for option in reversed((
        click.option("--from-secret-file", type=_FILE, help=f"Holds HOST:PORT's secret. Or set {SECRET_VARIABLE}."),
        click.option("--from-user", metavar="USER", help="Come in as this user of HOST:PORT instead."),
        click.option("--from-password-file", type=_FILE, help=f"Holds its password. Or set {PASSWORD_VARIABLE}."),
        click.option("--from-tls-ca", type=_FILE, help="HOST:PORT speaks TLS: PEM certificates of the authorities that "
                     "are trusted."),
        click.option("--from-tls-cert", type=_FILE, help="Our own certificate, where HOST:PORT demands one."),
        click.option("--from-tls-key", type=_FILE, help="Its private key."),
        click.option("--from-tls-server-name", help="The DNS name in its certificates. Default: HOST."),
    )):
        command = option(command)
    return command


def taken_from(settings: dict[str, Any]) -> dict[str, Any]:
    """Take the options above out of `settings`; return those that were given."""
    taken = {name: settings.pop(name) for name in _NAMES}
    return {name: value for name, value in taken.items() if value is not None}


def login_of(given: dict[str, Any]) -> Login:
    """Return how to come in.

    Raises:
        ValueError: the options make no sense together.
        OSError: a file cannot be read.
    """
    tls = None
    if ca := given.get("from_tls_ca"):
        tls = TlsSettings(ca=ca, cert=given.get("from_tls_cert"), key=given.get("from_tls_key"),
                          server_name=given.get("from_tls_server_name"))
    elif any(name.startswith("from_tls_") for name in given):
        raise ValueError("TLS needs --from-tls-ca: whom to trust")
    user = given.get("from_user")
    if user is None:
        if "from_password_file" in given:
            raise ValueError("--from-password-file needs --from-user")
        return Login(_shown(given.get("from_secret_file"), SECRET_VARIABLE), None, tls)
    if "from_secret_file" in given:
        raise ValueError("either the secret, or --from-user and a password")
    password = _shown(given.get("from_password_file"), PASSWORD_VARIABLE)
    if password is None:
        raise ValueError(f"--from-user needs --from-password-file, or {PASSWORD_VARIABLE} in the environment")
    return Login(password, user, tls)


def _shown(file: str | None, variable: str) -> str | None:
    return Path(file).read_text().strip() if file is not None else os.environ.get(variable)
