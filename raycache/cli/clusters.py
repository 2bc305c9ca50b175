"""`up`, `down`, `status`: commands about whole clusters.

What lives here: their arguments and what they print. What does not: how a cluster starts (`raycache.actors.launch`).
"""

from __future__ import annotations

from typing import Any

import click

from raycache.cli import access, output, status_text
from raycache.cli.backend import Backend
from raycache.cli.config import asked_for, from_file, planned
from raycache.cluster_status import ClusterStatus
from raycache.config import LOG_FORMATS, MAX_COPIES, POLICIES, REPLICATION_MODES, ClusterConfig, parse_bytes
from raycache.errors import CallerError, ClusterNotFoundError, RayCacheError, StoreNotDrainedError

AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
SHARDS = click.IntRange(1, 1000)


@click.command()
@click.argument("name", required=False)
@click.option("--config", "config_path", type=click.Path(exists=True, dir_okay=False), help="A file with the settings; "
              "`raycache config` prints one. What the command line says counts more.")  # fmt: skip
@click.option("--shards", type=SHARDS, default=3, show_default=True, help="How many shards.")
@click.option("--memory", default="768MiB", show_default=True, help="For all shards together: bytes or, say, 2GiB.")
@click.option(
    "--policy", type=click.Choice(POLICIES), default="lru", show_default=True, help="What a full shard drops."
)
@click.option("--max-entries", type=click.IntRange(min=1), help="For all shards together. Default: only memory counts.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, show_default=True,
              help="The first shard listens here, the others on the ports above it; 0: free ports.")  # fmt: skip
@click.option("--gateway-port", type=click.IntRange(0, 65535), default=0, show_default=True,
              help="Each machine's gateway listens here; 0: a free port.")  # fmt: skip
@click.option("--metrics-port", type=click.IntRange(0, 65535), default=0,
              help="Each machine's gateway serves figures to Prometheus here. Default: nowhere.")  # fmt: skip
@click.option("--measure-every", type=click.IntRange(min=1), default=256, show_default=True,
              help="Of so many turns of a connection one is timed.")  # fmt: skip
@click.option("--log-format", type=click.Choice(LOG_FORMATS), default="text", show_default=True,
              help="How shards, gateways and the router write their logs.")  # fmt: skip
@click.option("--tracing", help="A function, as package.module:function, that sets OpenTelemetry up in each shard.")
@click.option("--bind", default="auto", show_default=True,
              help="auto: loopback if Ray has one node now, else node: each node's own; or an address.")  # fmt: skip
@click.option("--copies", type=click.IntRange(1, MAX_COPIES), default=1, show_default=True,
              help="How many shards hold each slot, on different machines where there are enough.")  # fmt: skip
@click.option("--replication", type=click.Choice(REPLICATION_MODES), default=REPLICATION_MODES[0], show_default=True,
              help="How copies follow each other; docs/promises.md says what each mode keeps.")  # fmt: skip
@click.option("--read-quorum", type=click.IntRange(0, MAX_COPIES), default=0,
              help="With quorum: how many copies a read asks. Default: a majority.")  # fmt: skip
@click.option("--write-quorum", type=click.IntRange(0, MAX_COPIES), default=0,
              help="With quorum: how many copies a write waits for. Default: a majority.")  # fmt: skip
@click.option("--allow-stale", is_flag=True, help="Take quorums that need not overlap: a read may miss a write.")
@click.option("--snapshot-dir", type=click.Path(), help="Where each shard keeps a snapshot, on its own machine's disk, "
              "to start warm after a restart. Default: nowhere.")  # fmt: skip
@click.option("--queue-memory", help="What writes that wait for a database may take of each shard. "
              "Default: a quarter.")  # fmt: skip
@click.option("--object-memory", help="What large values may take of Ray's object store, for all shards together; "
              "0: they are kept like others. Default: as much as --memory.")  # fmt: skip
@click.option("--cpus-per-shard", type=click.FloatRange(min=0), default=0.0, show_default=True,
              help="Of Ray's CPUs to reserve for each shard.")  # fmt: skip
@click.option("--allow-pickle", is_flag=True, help="Let handles that allow it, too, store values of any type as signed "
              "pickle. Who knows the secret can then run code in them.")  # fmt: skip
@click.option("--split-transactions/--refuse-split-transactions", default=True, show_default=True,
              help="What the gateway does with a MULTI over several shards.")  # fmt: skip
@access.options
@click.option("--timeout", "timeout_s", type=click.FloatRange(min=1), default=60.0, show_default=True,
              help="Seconds to wait until everything serves.")  # fmt: skip
@AS_JSON
@click.pass_context
def up(context: click.Context, /, name: str | None, config_path: str | None, as_json: bool, **settings: Any) -> None:
    """Start the cluster NAME, and Ray too where none runs. Returns when everything serves.

    If NAME runs already, attach to it and say so. Redis clients connect to a gateway's address (redis-cli, Django) or,
    if they know Redis Cluster, to any shard's; Python uses raycache.connect("NAME").

    \b
    Examples:
      raycache up features
      raycache up features --shards 3 --memory 512MiB --policy lru --gateway-port 6400 --port 6410
      raycache up sessions --memory 2GiB --copies 2
      raycache up orders --memory 2GiB --copies 3 --replication quorum --snapshot-dir /var/lib/raycache --json
      raycache up --config raycache.yaml
    """
    backend: Backend = context.obj
    if config_path is not None:
        given = {option: value for option, value in settings.items()
                 if context.get_parameter_source(option) is click.core.ParameterSource.COMMANDLINE}  # fmt: skip
        settings = from_file(config_path, name, access.given_options(given))
        name = settings["name"]
    elif name is None:
        raise click.UsageError("say the NAME of the cluster, or --config FILE", context)
    else:
        settings = access.take_options(settings)
        _refuse_early(name, settings)
    with output.busy(f"Starting {name}"):
        started_ray = backend.attach(start=True)
        was_running = name in backend.clusters()
        if config_path is not None:
            config = planned(backend, settings)
            status = backend.start_config(config, timeout_s=settings["timeout_s"])
            settings = asked_for(config)
        else:
            status = backend.start(name, **settings)
    if started_ray:
        output.note("Ray was started too and stays; `ray stop` ends it")
    if was_running:
        output.note(f"{name} runs already: attached{_kept_settings(status, settings)}")
    if as_json:
        output.print_json({**status_text.status_record(status), "attached": was_running, "started_ray": started_ray})
    else:
        status_text.print_status(status)


def _refuse_early(name: str, settings: dict[str, Any]) -> None:
    """Refuse what `start` would refuse, before seconds go into starting Ray."""
    shards = settings["shards"]
    ClusterConfig(
        name=name, shards=shards, memory_per_shard_bytes=parse_bytes(settings["memory"]) // shards,
        port=settings["port"], gateway_port=settings["gateway_port"], bind=settings["bind"], copies=settings["copies"],
        replication=settings["replication"], read_quorum=settings["read_quorum"],
        write_quorum=settings["write_quorum"], allow_stale=settings["allow_stale"], users=settings["users"],
        tls=settings["tls"], metrics_port=settings["metrics_port"], tracing=settings["tracing"],
        allow_pickle=settings["allow_pickle"],
    )  # fmt: skip
    if settings["max_entries"] is not None and settings["max_entries"] < shards:
        raise ValueError(f"--max-entries must be at least {shards}, one for each shard, not {settings['max_entries']}")


def _kept_settings(status: ClusterStatus, settings: dict[str, Any]) -> str:
    """Say which of the settings asked for differ from those that a running cluster keeps."""
    differing = []
    if len(status.shards) != settings["shards"]:
        differing.append(f"{len(status.shards)} shards (`raycache scale` changes that)")
    if status.policy != settings["policy"]:
        differing.append(f"policy {status.policy}")
    if status.memory_per_shard_bytes != parse_bytes(settings["memory"]) // settings["shards"]:
        differing.append("its memory per shard")
    if status.copies != settings["copies"]:
        differing.append(f"{status.copies} {'copy' if status.copies == 1 else 'copies'} of each slot")
    elif status.copies > 1 and status.replication != settings["replication"]:
        differing.append(f"replication {status.replication}")
    gateway_port, port = settings["gateway_port"], settings["port"]
    if gateway_port and not any(address.endswith(f":{gateway_port}") for address in status.gateways):
        differing.append("its gateway's port")
    if port and not any(one.address.endswith(f":{port + int(one.id[1:])}") for one in status.shards):
        differing.append("its shards' ports")
    return f"; it keeps {', '.join(differing)}" if differing else ""


@click.command()
@click.argument("name")
@click.option("--if-running", is_flag=True, help="Succeed also where NAME does not run.")
@click.option("--drain-timeout", "drain_timeout_s", type=click.FloatRange(min=0), default=30.0, show_default=True,
              help="Seconds that writing what waits for databases may take.")  # fmt: skip
@click.option("--force", is_flag=True, help="Stop it even if acknowledged writes wait for a database, or it "
              "has refused some: they are lost.")
@click.option("--with-ray", is_flag=True, help="End Ray, too, on all its machines (`ray stop` on each): before "
              "`ray down`, which ends it on the head alone.")  # fmt: skip
@click.pass_obj
def down(backend: Backend, name: str, if_running: bool, drain_timeout_s: float, force: bool,
         with_ray: bool) -> None:  # fmt: skip
    """Stop the cluster NAME and forget all it holds. Ray goes on, unless --with-ray; `ray stop` ends it.

    What waits for attached databases is written first.

    \b
    Examples:
      raycache down features
      raycache down features --if-running     in scripts that may run twice
      raycache down features --with-ray       the machines are free afterwards
    """
    _down(backend, name, if_running, drain_timeout_s, force)
    if not with_ray:
        return
    if others := backend.clusters():
        raise RayCacheError(f"Ray goes on: {', '.join(others)} runs in it as well")
    with output.busy("Stopping Ray"):
        machines = backend.stop_ray()
    click.echo(f"Ray stopped on {machines} {'machine' if machines == 1 else 'machines'}")


def _down(backend: Backend, name: str, if_running: bool, drain_timeout_s: float, force: bool) -> None:
    try:
        backend.attach(start=False)
        backend.stop(name, drain_timeout_s=drain_timeout_s, force=force)
    except ClusterNotFoundError as error:
        if not if_running:
            raise ClusterNotFoundError(f"nothing to stop: {_not_found(backend, name)}") from error
        output.note(f"{name} does not run: nothing to stop")
        return
    except RayCacheError as error:
        if not if_running or isinstance(error, CallerError | StoreNotDrainedError):
            raise
        output.note(f"nothing to stop: {error}")
        return
    click.echo(f"{name} stopped")


def _not_found(backend: Backend, name: str) -> str:
    running = backend.clusters()
    return f"no cluster {name!r} runs; " + (f"these do: {', '.join(running)}" if running else "none does")


@click.command()
@click.argument("name", required=False)
@click.option("--secret", is_flag=True, help="Show the cluster's secret: the password for AUTH, alone on its line.")
@AS_JSON
@click.pass_obj
def status(backend: Backend, name: str | None, secret: bool, as_json: bool) -> None:
    """Show the cluster NAME: its shards, where they listen, what they hold, how they are used. Without NAME: all.

    Counters count since each shard's last start; ops/s is over the last few seconds. With copies: of how many slots a
    shard is primary and replica, how far it is behind (lag), and what its loss would cost now (loss window: writes that
    it has acknowledged and another owner does not have yet). Then slots under way, what happened lately, and warnings.

    \b
    Examples:
      raycache status
      raycache status features
      raycache status features --json
      REDISCLI_AUTH="$(raycache status features --secret)" redis-cli -p 6400 dbsize
    """
    backend.attach(start=False)
    if name is None:
        _print_all(backend, secret, as_json)
        return
    found = backend.status(name)
    if as_json:
        output.print_json(status_text.status_record(found, secret=secret))
    elif secret:
        click.echo(found.secret)
    else:
        status_text.print_status(found)


def _print_all(backend: Backend, secret: bool, as_json: bool) -> None:
    if secret and not as_json:
        raise click.UsageError("--secret needs the NAME of a cluster", click.get_current_context())
    found = [backend.status(name) for name in backend.clusters()]
    if as_json:
        output.print_json([status_text.status_record(one, secret=secret) for one in found])
    elif not found:
        click.echo("no cluster runs; start one with `raycache up NAME`")
    for number, one in enumerate([] if as_json else found):
        if number:
            click.echo()
        status_text.print_status(one)


COMMANDS = (up, down, status)
