"""`python -m benchmarks.report`: a Markdown report and its plots, from the raw file of `make bench`.

What lives here: the command line and the files. What does not: what the report says (`pages`).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

import click

from benchmarks.harness.machine import ROOT
from benchmarks.report import plots
from benchmarks.report.pages import Frame, page
from benchmarks.report.reading import Run

OUT: Final = ROOT / "benchmarks" / "out"
METHOD: Final = ROOT / "benchmarks" / "README.md"


@click.command()
@click.option("--raw", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="The raw file of a run.  [default: the newest in benchmarks/out]")
@click.option("--to", type=click.Path(dir_okay=False, path_type=Path), default=OUT / "report.md", show_default=True,
              help="The report; its plots go into a folder of the same name beside it.")
@click.option("--note", default="", help="A sentence about the run that stands at the top.")
def main(raw: Path | None, to: Path, note: str) -> None:
    """Make tables and plots of a run of `make bench`.

    Everything comes from the raw file; nothing is measured here.
    """
    source = raw or _newest()
    run = Run(json.loads(source.read_text()))
    to.parent.mkdir(parents=True, exist_ok=True)
    written = plots.write(run, to.with_suffix(""))
    images = {name: f"{to.stem}/{path.name}" for name, path in written.items()}
    to.write_text(page(run, Frame(images, os.path.relpath(METHOD, to.resolve().parent), note)))
    click.echo(f"written: {to}, {len(written)} plots, from {source}")


def _newest() -> Path:
    found = [path for name in ("bench", "bench-partial") if (path := OUT / f"{name}-raw.json").exists()]
    if not found:
        raise click.ClickException("there is no run yet: make bench")
    return max(found, key=lambda path: path.stat().st_mtime)


if __name__ == "__main__":
    main()
