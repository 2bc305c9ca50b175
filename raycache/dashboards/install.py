"""Putting the dashboard where Grafana finds it.

What lives here: finding Ray's folder and writing one file. What does not: what is in it (`build`).
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Final

NAME: Final = "raycache_grafana_dashboard.json"
RAY_FOLDER: Final = "metrics/grafana/dashboards"
"""Below a Ray session's folder: here Ray's dashboard writes its own, and its Grafana set-up loads whatever is here."""


def shipped() -> str:
    """Return the dashboard that came with this package."""
    return files("raycache.dashboards").joinpath(NAME).read_text()


def install(folder: Path) -> Path:
    """Write the dashboard into `folder`, which must be there; return the file.

    Raises:
        OSError: it cannot be written.
    """
    path = folder / NAME
    path.write_text(shipped())
    return path
