"""Plots: they are made of what the run has, small, and the same each time; and the command that writes everything."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from benchmarks.report import __main__ as command
from benchmarks.report import plots
from benchmarks.report.reading import Run
from benchmarks.suite.names import OPTIMUM, RAYCACHE, REDIS, TOOL_PREFIX
from tests.unit.benchmarks.report.made_up import raw

MOST_BYTES = 60_000


def lines_of(name: str) -> dict[str, list[tuple[float, float]]]:
    figure = plots.PLOTS[name](Run(raw()))
    assert figure is not None
    return {str(line.get_label()): list(zip(line.get_xdata(), line.get_ydata(), strict=True))
            for line in figure.axes[0].lines}


def test_a_line_goes_through_what_was_measured() -> None:
    found = lines_of("connections")
    assert found[RAYCACHE] == [(1, 1_000), (8, 2_000)]
    assert found[TOOL_PREFIX + REDIS] == [(1, 5_000), (8, 5_000)]


def test_sizes_are_drawn_in_megabytes() -> None:
    assert lines_of("values")[RAYCACHE] == [(100, 0.2), (1024 * 1024, 50 * 1.048576)]


def test_percentiles_are_drawn_of_the_rate_that_was_kept() -> None:
    assert set(lines_of("open-percentiles")) == {RAYCACHE, REDIS}
    assert lines_of("percentiles")[RAYCACHE][0] == (2.0, 150.0)


def test_hit_ratios_have_the_optimum_beside_them() -> None:
    found = lines_of("hits")
    assert found[OPTIMUM] == [(10.0, 0.8)]
    assert found["lru"] == [(10.0, 0.5), (50.0, 0.7)]


def test_bars_are_as_high_as_the_numbers() -> None:
    memory, pauses = (plots.PLOTS[name](Run(raw())) for name in ("memory", "pauses"))
    assert memory is not None
    assert pauses is not None
    assert [round(bar.get_height(), 1) for bar in memory.axes[0].patches] == [180.2, 90.4]
    assert sum(bar.get_height() for bar in pauses.axes[0].patches) == 2 * 100_000


def test_a_run_without_anything_to_draw_draws_nothing(tmp_path: Path) -> None:
    assert plots.write(Run(raw() | {"questions": []}), tmp_path / "images") == {}
    assert not (tmp_path / "images").exists()


def test_the_command_writes_the_report_and_small_plots_the_same_each_time(tmp_path: Path) -> None:
    source, target = tmp_path / "raw.json", tmp_path / "docs" / "figures.md"
    source.write_text(json.dumps(raw()))
    arguments = ["--raw", str(source), "--to", str(target), "--note", "Made up."]
    result = CliRunner().invoke(command.main, arguments)
    assert result.exit_code == 0, result.output
    images = {path.name: path.read_bytes() for path in (tmp_path / "docs" / "figures").iterdir()}
    assert set(images) == {f"{name}.svg" for name in plots.PLOTS}
    assert max(map(len, images.values())) < MOST_BYTES
    text = target.read_text()
    assert all(f"(figures/{name})" in text for name in images)
    assert "- Made up." in text
    CliRunner().invoke(command.main, arguments)
    assert {path.name: path.read_bytes() for path in (tmp_path / "docs" / "figures").iterdir()} == images


def test_without_a_run_there_is_nothing_to_report(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(command, "OUT", tmp_path)
    result = CliRunner().invoke(command.main, ["--to", str(tmp_path / "report.md")])
    assert result.exit_code == 1
    assert "make bench" in result.output
