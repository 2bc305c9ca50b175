"""`upgrade`: new processes for a running cluster, with the code that is installed now.

What lives here: its arguments and what it prints. What does not: whose turn it is (`raycache.router.upgrading`), and
watching a change (`moving`).
"""

from __future__ import annotations

import dataclasses

import click

from raycache.cli import output, status_text
from raycache.cli.backend import Backend
from raycache.cli.moving import AS_JSON, NO_WAIT, TIMEOUT, report_begun, watch
from raycache.cli.output import duration_text
from raycache.cli.progress import Progress, read_progress, summary
from raycache.cluster_status import ClusterStatus


@click.command()
@click.argument("name")
@click.option("--gateways", is_flag=True, help="The gateways, too, one after the other: their clients' connections "
              "break, and can be opened again within a second or so.")  # fmt: skip
@NO_WAIT
@TIMEOUT
@AS_JSON
@click.pass_obj
def upgrade(backend: Backend, name: str, gateways: bool, no_wait: bool, timeout_s: float | None,
            as_json: bool) -> None:  # fmt: skip
    """Replace the processes of the cluster NAME, shard by shard, by ones with the code that is installed now.

    Install the new version on all nodes first. One shard more runs meanwhile, so that nothing is evicted for want of
    room and no slot has fewer copies: it takes over the first shard's entries, whose new process takes over the second
    one's, and so on. At the end, the router's process is replaced, too. Shows how far it is, and then what moved and
    how many misses that caused. Ctrl-C stops the watching, not the upgrade: give the command again to watch on, or
    `raycache cancel NAME`.

    \b
    Examples:
      raycache upgrade features
      raycache upgrade features --gateways
      raycache upgrade features --json
    """
    backend.attach(start=False)
    before, prior = backend.status(name), backend.progress(name)["last"]
    backend.begin_upgrade(name)
    if no_wait:
        report_begun(name, read_progress(backend.progress(name)), as_json)
        return
    result = watch(backend, name, prior, timeout_s, quiet=as_json)
    with output.busy("Restarting the router"):
        backend.restart_router(name)
    renewed = 0
    if gateways:
        with output.busy("Restarting the gateways"):
            renewed = backend.restart_gateways(name)
    _report(before, backend.status(name), result, renewed, as_json)


def _report(before: ClusterStatus, after: ClusterStatus, result: Progress | None, gateways: int,
            as_json: bool) -> None:  # fmt: skip
    versions = {shard.id: shard.version for shard in before.shards}
    if as_json:
        change = None if result is None else dataclasses.asdict(result)
        output.print_json({**status_text.status_record(after), "change": change, "versions_before": versions,
                           "gateways_restarted": gateways})  # fmt: skip
        return
    if result is not None:
        click.echo(summary(result))
    rows = [(shard.id, shard.machine, versions.get(shard.id, ""), shard.version, duration_text(shard.uptime_s))
            for shard in after.shards]  # fmt: skip
    output.print_table(("shard", "machine", "version before", "version", "up for"), rows, left=4)
    if not gateways:
        click.echo(f"the gateways run on as they are; `raycache upgrade {after.name} --gateways` replaces them, too")
    status_text.print_warnings(after)


COMMANDS = (upgrade,)
