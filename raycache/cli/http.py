"""`http`: the door for clients that speak HTTP.

What lives here: its arguments and what it prints. What does not: starting it (`serve_app.starting`), which is imported
when it is asked for: FastAPI and Serve take a second.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from raycache.cli import output


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Listen here; beyond loopback tokens are needed.")
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True, help="Listen on this port.")
@click.option("--cluster", default="", help="The cluster of requests that name none. Default: the only one that runs.")
@click.option("--replicas", type=click.IntRange(0, 1000), default=0,
              help="How many Serve replicas. Default: as the load needs.")  # fmt: skip
@click.option("--max-replicas", type=click.IntRange(1, 1000), default=4, show_default=True,
              help="At most so many where the load decides.")  # fmt: skip
@click.option("--tokens-file", type=click.Path(exists=True, dir_okay=False), help="JSON with the tokens to let in.")
@click.option("--admin-secret-file", type=click.Path(exists=True, dir_okay=False),
              help="What drain and scale must show. Default: they are off.")  # fmt: skip
@click.option("--user", help="Have this user's rights at the clusters. Default: all, with their secret.")
@click.option("--password-file", type=click.Path(exists=True, dir_okay=False), help="Holds its password.")
@click.option("--accept-secrets", is_flag=True, help="Take a cluster's secret as a token for that cluster.")
@click.option("--cors-origin", "cors_origins", multiple=True, help="Let pages of this origin call from a browser.")
@click.option("--open", "is_open", is_flag=True, help="Let everybody in who reaches --host, without a token.")
@click.option("--proxy", type=click.Choice(["auto", "serve"]), default="auto", show_default=True,
              help="auto: HAProxy, which is many times faster, where it can be used.")  # fmt: skip
@click.option("--tls-cert", type=click.Path(exists=True, dir_okay=False), default=None,
              help="Speak TLS with this certificate (PEM). Then Serve's own proxy is used.")  # fmt: skip
@click.option("--tls-key", type=click.Path(exists=True, dir_okay=False), default=None, help="Its private key (PEM).")
@click.option("--stop", "is_stop", is_flag=True, help="End the door; what is under way is finished first.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def http(is_stop: bool, as_json: bool, **options: Any) -> int:
    """Open the HTTP door on Ray Serve, for all clusters in this Ray. Returns when it serves; docs/http.md says more.

    \b
    Examples:
      raycache http
      raycache http --host 0.0.0.0 --tokens-file /etc/raycache/tokens.json --admin-secret-file /etc/raycache/admin
      raycache http --host 0.0.0.0 --tokens-file tokens.json --tls-cert door.pem --tls-key door.key
      raycache http --stop
    """
    from serve_app import starting

    if is_stop:
        with output.busy("Ending the door"):
            was_there = starting.stop()
        output.note("The door is closed" if was_there else "There was no door")
        return 0
    wish = wish_of(options)
    with output.busy("Opening the door"):
        started = starting.start(wish)
    for note in started.notes:
        output.note(note)
    if as_json:
        output.print_json({"url": started.url, "proxy": started.proxy, "notes": list(started.notes)})
    else:
        click.echo(f"{started.url} (proxy: {started.proxy})")
    return 0


def wish_of(options: dict[str, Any]) -> Any:
    """Return what the options ask for.

    Raises:
        ValueError: a token is described wrongly, or a setting makes no sense.
    """
    from serve_app import settings, starting

    given: dict[str, Any] = {"cluster": options["cluster"], "accept_secrets": options["accept_secrets"],
                             "cors_origins": options["cors_origins"]}
    if options["user"] or options["password_file"]:
        file = options["password_file"]
        given |= {"user": options["user"] or "", "password_file": str(Path(file).absolute()) if file else ""}
    if options["tokens_file"]:
        given["tokens"] = settings.tokens_in(Path(options["tokens_file"]))
    if options["admin_secret_file"]:
        given["admin_secret"] = Path(options["admin_secret_file"]).read_text().strip()
    return starting.Wish(settings.HttpSettings.from_mapping(given), options["host"], options["port"],
                         options["replicas"], options["max_replicas"], options["is_open"], options["proxy"] == "auto",
                         *(str(Path(options[name]).absolute()) if options[name] else ""
                           for name in ("tls_cert", "tls_key")))


COMMANDS = (http,)
