"""`config`, and what `up --config` makes of a file.

What lives here: printing a file with every setting explained, checking one, and turning one into what is started. What
does not: which settings there are (`raycache.configfile`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import click

from raycache import configfile
from raycache.cli.backend import Backend
from raycache.config import ClusterConfig, format_bytes
from raycache.errors import RayCacheError

_POLL_S: Final = 0.5


@click.command()
@click.argument("name", default="features")
@click.option("--check", "path", type=click.Path(exists=True, dir_okay=False),
              help="Check this file instead, and say what it means. Exit code 1 if it is wrong.")  # fmt: skip
def config(name: str, path: str | None) -> None:
    """Print a file for `raycache up --config`, with every setting, what it means and its default.

    \b
    Examples:
      raycache config features > raycache.yaml
      raycache config --check raycache.yaml
    """
    if path is None:
        click.echo(configfile.written(name), nl=False)
        return
    settings = from_file(path, None, {})
    is_auto = settings["shards"] == "auto"
    found = configfile.cluster_config(known(settings), shards=1 if is_auto else None)
    shards = "as many shards as there are cores for, each" if is_auto else f"{found.shards} shards"
    copies = f", {found.copies} copies ({found.replication})" if found.copies > 1 else ""
    click.echo(f"{path} is good: {found.name}, {shards} of {format_bytes(found.memory_per_shard_bytes)}, policy "
               f"{found.policy}{copies}")


def from_file(path: str, name: str | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a file's settings, with what the command line says in their place, and the defaults of the start itself.

    Raises:
        ConfigFileError: the file is wrong.
        ValueError: nobody says the cluster's name, or the two together make no sense.
    """
    settings = configfile.read(Path(path).read_text(encoding="utf-8"), path)
    if "memory" in given:
        settings.pop("memory_per_shard", None)
    settings |= given
    if name is not None:
        settings["name"] = name
    if "name" not in settings:
        raise ValueError(f"{path} does not say the cluster's name: give it there (name: features), or here")
    defaults = {one: setting.default for one, setting in configfile.settings().items()
                if setting.of is configfile.Launch}  # fmt: skip
    settings = {**defaults, **settings}
    configfile.cluster_config(known(settings), shards=1 if settings["shards"] == "auto" else None)
    return settings


def known(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of `settings` that a file may have: the command line's own are others."""
    return {name: value for name, value in settings.items() if name in configfile.settings()}


def planned(backend: Backend, settings: Mapping[str, Any], *, pause: Callable[[float], None] = time.sleep,
            clock: Callable[[], float] = time.monotonic) -> ClusterConfig:  # fmt: skip
    """Return what to start: wait for the nodes that the file asks for, and count their cores if it says so.

    Raises:
        RayCacheError: they do not come in time, or have no core to spare.
    """
    wanted, is_auto = settings["nodes"], settings["shards"] == "auto"
    cpus = settings.get("cpus_per_shard", 0.0)
    deadline_s = clock() + settings["timeout_s"]
    nodes, cores = backend.core_budget(cpus) if wanted or is_auto else (0, 0)
    while nodes < wanted:
        if clock() > deadline_s:
            raise RayCacheError(f"{nodes} Ray nodes take shards after {settings['timeout_s']:g} s, not {wanted}: start "
                                "the others, or say nodes: 0")
        pause(_POLL_S)
        nodes, cores = backend.core_budget(cpus)
    if is_auto and not cores:
        raise RayCacheError("no Ray node has cores for a shard: start one, or say how many shards there should be")
    return configfile.cluster_config(known(settings), shards=cores if is_auto else None)


def asked_for(config: ClusterConfig) -> dict[str, Any]:
    """Return a configuration in the words of the command line."""
    return {"shards": config.shards, "policy": config.policy, "memory": config.memory_per_shard_bytes * config.shards,
            "copies": config.copies, "replication": config.replication, "gateway_port": config.gateway_port,
            "port": config.port}  # fmt: skip


COMMANDS = (config,)
