"""`get`, `set`, `del`: commands about single keys, for looking into a cache by hand.

What lives here: their arguments and what they print. What does not: the handle that they use (`raycache.client`).
"""

from __future__ import annotations

import json
import os
from typing import Any

import click

from raycache.cli import output
from raycache.cli.backend import Backend

_MISSING = object()


@click.command()
@click.argument("name")
@click.argument("key")
@click.option("--json", "as_json", is_flag=True, help="Print the value as JSON.")
@click.pass_obj
def get(backend: Backend, name: str, key: str, as_json: bool) -> None:
    """Print the value of KEY in the cluster NAME. Fails where there is none.

    Text and bytes are printed as they are, anything else as JSON where it has that form, else as Python shows it.

    \b
    Examples:
      raycache get features user:1
      raycache get features user:1 --json
    """
    backend.attach(start=False)
    with backend.connect(name) as cache:
        value = cache.get(os.fsencode(key), _MISSING)
    if value is _MISSING:
        raise click.ClickException(f"no key {key!r} in {name}: it was never set, has expired or was evicted")
    if as_json:
        click.echo(output.value_as_json(value))
    else:
        output.write_value(value)


@click.command("set")
@click.argument("name")
@click.argument("key")
@click.argument("value")
@click.option("--ttl", "ttl_s", type=float, help="Seconds until it expires, such as 300 or 0.5. Default: never.")
@click.option("--json", "as_json", is_flag=True, help="VALUE is JSON: store what it describes, not its text.")
@click.pass_obj
def set_value(backend: Backend, name: str, key: str, value: str, ttl_s: float | None, as_json: bool) -> None:
    """Set KEY in the cluster NAME to VALUE, a text.

    Redis clients read that text as bytes. With --json Python reads back the dict, list or number that VALUE describes.
    A VALUE that starts with a dash goes after two dashes.

    \b
    Examples:
      raycache set features user:1 Ada --ttl 300
      raycache set features user:2 '{"name": "Grace", "age": 45}' --json
      raycache set features offset -- -5
    """
    content: Any = _parse(value) if as_json else value
    backend.attach(start=False)
    with backend.connect(name) as cache:
        cache.set(os.fsencode(key), content, ttl=ttl_s)


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"VALUE is no JSON ({error}); a text needs quotes there: --json '\"text\"'") from None


@click.command("del")
@click.argument("name")
@click.argument("keys", metavar="KEY...", nargs=-1, required=True)
@click.pass_obj
def delete(backend: Backend, name: str, keys: tuple[str, ...]) -> None:
    """Delete each KEY in the cluster NAME and print how many there were. A key that is not there is no failure.

    \b
    Examples:
      raycache del features user:1
      raycache del features user:1 user:2 user:3
    """
    backend.attach(start=False)
    with backend.connect(name) as cache:
        click.echo(cache.delete_many([os.fsencode(key) for key in keys]))


COMMANDS = (get, set_value, delete)
