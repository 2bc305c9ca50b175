"""attach, detach, stores, letters: databases behind a cluster.

What lives here: those commands and their tables. What does not: attaching (`raycache.actors.stores`), what a store is
(`raycache.stores`). A URL with a password is taken from the environment only: everybody sees a command line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from raycache.cli import output
from raycache.cli.backend import Backend
from raycache.cli.clusters import AS_JSON
from raycache.cli.import_path import look_here_first
from raycache.cli.output import print_table
from raycache.cli.status_text import queue_text

if TYPE_CHECKING:
    from raycache.stores.wire import DeadLetter

_FIGURES = (("written", "written"), ("batches", "batches"), ("refused", "refusals"), ("outages", "outages"))


@click.command()
@click.argument("name")
@click.argument("store")
@click.option("--url-env", metavar="VAR", help="The environment variable that holds the database's SQLAlchemy URL.")
@click.option("--where", help='A URL without a password, or "package.module:Class" of a store of your own.')
@click.option("--write", type=click.Choice(["through", "behind", "none"]), default="through", show_default=True,
              help="How writes reach the database.")  # fmt: skip
@click.option("--read/--no-read", default=True, show_default=True, help="Whether misses are loaded from it.")
@click.option("--table", default="raycache", show_default=True, help="The table.")
@click.option("--key-column", default="key", show_default=True, help="Its column for the key.")
@click.option("--column", "columns", multiple=True, help="A column of the value; may be given several times. "
              "Default: the table is raycache's own.")  # fmt: skip
@click.option("--key-prefix", default="", help="What keys begin with in the cache and not in the database.")
@click.pass_obj
def attach(backend: Backend, /, name: str, store: str, url_env: str | None, where: str | None, write: str,
           **settings: Any) -> None:
    """Attach a database to the cluster NAME, as STORE. Programs use it by `raycache.backed(cache, "STORE")`.

    \b
    Examples:
      raycache attach shop orders --url-env DATABASE_URL --write behind
      raycache attach shop users --url-env DATABASE_URL --table users --key-column id --column name --key-prefix user:
      raycache attach shop local --where sqlite:////var/lib/shop/cache.db
    """
    if (url_env is None) == (where is None):
        raise click.UsageError("say either --url-env or --where", click.get_current_context())
    place = where if where is not None else _from(url_env or "")
    from raycache.stores.config import masked

    if where is not None and masked(where) != where:
        raise click.UsageError("a password does not belong on a command line, where everybody sees it: put the URL "
                               "into an environment variable and name that with --url-env", click.get_current_context())
    look_here_first()  # before Ray is attached to, which looks where this process does
    backend.attach(start=False)
    backend.attach_store(name, store, place, write=None if write == "none" else write, **settings)
    click.echo(f"{store} is attached to {name}: {masked(place)}")


def _from(variable: str) -> str:
    """Return what the environment holds, as click reads it for options."""
    option = click.Option(["--url"], envvar=variable)
    value = option.resolve_envvar_value(click.get_current_context())
    if not value:
        raise click.UsageError(f"the environment has no {variable}", click.get_current_context())
    return value


@click.command()
@click.argument("name")
@click.argument("store")
@click.option("--drain-timeout", "drain_timeout_s", type=click.FloatRange(min=0), default=30.0, show_default=True,
              help="Seconds that writing what waits may take.")  # fmt: skip
@click.option("--force", is_flag=True, help="Detach it even if something waits; it stays in the shards.")
@click.pass_obj
def detach(backend: Backend, name: str, store: str, drain_timeout_s: float, force: bool) -> None:
    """Detach STORE from the cluster NAME once all that waits for it is written.

    \b
    Examples:
      raycache detach shop orders
      raycache detach shop orders --drain-timeout 300
    """
    backend.attach(start=False)
    with output.busy(f"Writing what waits for {store}"):
        backend.detach_store(name, store, drain_timeout_s=drain_timeout_s, force=force)
    click.echo(f"{store} is detached from {name}")


@click.command()
@click.argument("name")
@AS_JSON
@click.pass_obj
def stores(backend: Backend, name: str, as_json: bool) -> None:
    """Show the databases behind the cluster NAME, what their writers do, and what waits in the shards.

    \b
    Examples:
      raycache stores shop
      raycache stores shop --json
    """
    backend.attach(start=False)
    status, found = backend.status(name), backend.store_statuses(name)
    if as_json:
        output.print_json({"stores": found, "queued": status.queued, "queue_oldest_s": status.queue_oldest_s,
                           "dead_letters": status.dead_letters})
        return
    if not found:
        click.echo(f"{name} has no stores; attach one with `raycache attach {name} STORE`")
    for one in found:
        _print_store(one)
    click.echo(queue_text(status) or "nothing waits")


def _print_store(one: dict[str, Any]) -> None:
    """Print one store in two lines or three: where it is, what its writer does, what went wrong."""
    how = "write-" + one["write"] if one["write"] else "no writes"
    table = f", table {one['table']}" if one["table"] else ""
    click.echo(f"{one['name']}: {how}{', read-through' if one['read'] else ''}, {one['store']}{table}")
    if "state" in one:
        figures = "".join(f", {one[name]:,} {text}" for name, text in _FIGURES if name in one)
        click.echo(f"  writer: {one['state']}{figures}")
    for name in ("failure", "last_error"):
        if one.get(name):
            click.echo(f"  {name.replace('_', ' ')}: {one[name]}")


@click.command()
@click.argument("name")
@click.argument("store")
@click.argument("keys", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All of them, in place of KEYS.")
@click.option("--retry", "action", flag_value="retry", help="Let them wait for the database again.")
@click.option("--discard", "action", flag_value="discard", help="Forget them.")
@AS_JSON
@click.pass_obj
def letters(backend: Backend, name: str, store: str, keys: tuple[str, ...], everything: bool, action: str | None,
            as_json: bool) -> None:
    """List the writes that the database of STORE has refused for good, or do something with some of them.

    \b
    Examples:
      raycache letters shop orders
      raycache letters shop orders --retry --all
      raycache letters shop orders --discard order:17
    """
    if (action is not None) != bool(keys or everything):
        raise click.UsageError("say --retry or --discard, and KEYS or --all", click.get_current_context())
    backend.attach(start=False)
    with backend.connect(name) as cache:
        from raycache.stores.backed import BackedCache
        from raycache.stores.config import Attachment

        backed = BackedCache(cache, Attachment(store, None, "behind", read=False))
        found = backed.dead_letters()
        if action is None:
            _print_letters(found, as_json)
            return
        chosen = found if everything else [letter for letter in found if letter.key in keys]
        count = backed.revive(chosen) if action == "retry" else backed.discard(chosen)
    click.echo(f"{count:,} wait again" if action == "retry" else f"{count:,} discarded")


def _print_letters(found: list[DeadLetter], as_json: bool) -> None:
    if as_json:
        output.print_json([{"key": letter.key, "deletion": letter.is_deletion, "value": repr(letter.value),
                            "reason": letter.reason, "queued_ms": letter.queued_ms} for letter in found])
    elif not found:
        click.echo("no dead letters")
    else:
        rows = [(letter.key, "delete" if letter.is_deletion else repr(letter.value)[:60],
                 letter.reason.rpartition(" refuses this: ")[2][:100])  # which database is known: the user named it
                for letter in found]
        print_table(("key", "value", "reason"), rows, left=3)


COMMANDS = (attach, detach, stores, letters)
