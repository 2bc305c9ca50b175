"""`dashboard`: the Grafana dashboard, printed or put where Ray's Grafana set-up loads it.

What lives here: the command. What does not: the dashboard (`raycache.dashboards`).
"""

from __future__ import annotations

from pathlib import Path

import click

from raycache.dashboards.install import RAY_FOLDER, install, shipped


@click.command()
@click.option("--folder", type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="Write it into this folder, which Grafana loads dashboards from.")  # fmt: skip
@click.option("--session", type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="Write it into this Ray session's folder, such as /tmp/ray/session_latest.")  # fmt: skip
def dashboard(folder: Path | None, session: Path | None) -> None:
    """Print the Grafana dashboard, or write it where Grafana loads it.

    It shows what Ray's metrics agents export. Ray's dashboard sets Grafana up to load what lies in its session's
    folder; with RAY_METRICS_GRAFANA_DASHBOARD_OUTPUT_DIR that is another one.

    \b
    Examples:
      raycache dashboard --session /tmp/ray/session_latest
      raycache dashboard --folder /etc/grafana/dashboards
      raycache dashboard > raycache.json
    """
    if session is not None:
        folder = session / RAY_FOLDER
        folder.mkdir(parents=True, exist_ok=True)
    if folder is None:
        click.echo(shipped(), nl=False)
    else:
        click.echo(f"wrote {install(folder)}")


COMMANDS = (dashboard,)
