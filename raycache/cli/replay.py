"""`record` and `replay`: what a live cluster is asked, tried on another one.

What lives here: arguments, bars, what is printed. What does not: the work (`raycache.warming`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from raycache.cli import output
from raycache.cli.backend import Backend
from raycache.cli.meter import Meter, stoppable
from raycache.config import format_bytes
from raycache.warming import recording
from raycache.warming.files import lines_of
from raycache.warming.read_log import HEADER, accesses
from raycache.warming.replaying import DEFAULT_BATCH, Replayer, ReplayReport

POINTS_SHOWN: Final = 12


@click.command()
@click.argument("name")
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path),
              help="A new file; gzip, whatever its name.")  # fmt: skip
@click.option("--sample", type=click.FloatRange(0, 1, min_open=True), default=0.1, show_default=True,
              help="Which share of all keys. A key is recorded wholly or not at all.")  # fmt: skip
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), default=60.0, show_default=True,
              help="How long.")  # fmt: skip
@click.option("--hash-keys", is_flag=True, help="Write hashes instead of keys.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.pass_obj
def record(backend: Backend, name: str, out: Path, sample: float, seconds: float, hash_keys: bool,
           as_json: bool) -> None:  # fmt: skip
    """Record a sample of what the cluster NAME is asked, for `raycache replay`.

    The shards note reads (hit or miss, size, time to live) and what writes leave behind, of those keys whose hash falls
    into the sample; values are not recorded. It costs a shard something only while it lasts. Ctrl-C ends it early.

    \b
    Examples:
      raycache record features --out reads.gz
      raycache record features --out reads.gz --sample 0.01 --seconds 600 --hash-keys
    """
    if out.exists():
        raise ValueError(f"{out} is there already: name another file, or remove it")
    backend.attach(start=False)
    with backend.bulk(name) as bulk, Meter(f"Recording {name}") as meter, stoppable() as stop:

        def show(report: recording.RecordReport) -> None:
            meter.update(report.seconds / seconds, f"{report.reads:,} reads, hit ratio {report.hit_ratio:.1%}")

        report = recording.record(bulk, out, sample=sample, seconds=seconds, hash_keys=hash_keys, watcher=show,
                                  stop=stop)
    if as_json:
        output.print_json({"name": name, "out": str(out), **report.as_json()})
    else:
        counts = report.counts
        click.echo(f"{name}: {report.reads:,} reads (hit ratio {report.hit_ratio:.1%}), {counts['w']:,} writes and "
                   f"{counts['d']:,} deletes in {output.duration_text(report.seconds)}: {out}, "
                   f"{format_bytes(out.stat().st_size)}")  # fmt: skip
    if report.dropped:
        output.note(f"warning: {report.dropped:,} more were too many to fetch: take a smaller --sample")
    if report.gaps:
        output.note(f"warning: a shard did not answer {report.gaps:,} times: what it was asked then is missing")


class Speed(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.3 on
    """ "max", or how many times as fast as it was."""

    name = "speed"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float | str:
        if value == "max":
            return "max"
        try:
            speed = float(str(value).removesuffix("x"))
        except ValueError:
            speed = 0.0
        if not 0 < speed < float("inf"):
            self.fail('a number above 0, such as 1 or 10, or "max"', param, ctx)
        return speed


@click.command()
@click.argument("name")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--speed", type=Speed(), help="1: as it was; 10: ten times as fast; max: as fast as it goes. Default: 1, "
              "for a trace max.")  # fmt: skip
@click.option("--batch", type=click.IntRange(1, 8192), default=DEFAULT_BATCH, show_default=True,
              help="Reads that are due together go together; 1: one after the other, exactly.")  # fmt: skip
@click.option("--force", is_flag=True, help="Replay into a cluster that holds something already.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.pass_obj
def replay(backend: Backend, name: str, file: Path, speed: float | str | None, batch: int, force: bool,
           as_json: bool) -> None:  # fmt: skip
    """Replay recorded reads against the cluster NAME, and tell the hit ratio that it reaches.

    FILE is from `raycache record`, or an access trace: a request a line, the key's number and perhaps its size. A read
    that misses stores as many bytes as were recorded, so NAME should be a new cluster of the size and policy in
    question; what it has under the same keys would be overwritten with zeros. Of a sample of a tenth, a tenth of the
    memory reaches the ratio that all of it would: start the cluster with the share of memory that was sampled.

    Exit status: 0 done, 1 given up because the cluster does not answer, 130 stopped.

    \b
    Examples:
      raycache up trial --memory 64MiB --policy lfu
      raycache replay trial reads.gz
      raycache replay trial reads.gz --speed 20 --json
      raycache replay trial web12.txt.gz --speed max --batch 1
    """
    is_recording, last_ms, count = _look(file)
    wanted = speed or (1.0 if is_recording else "max")
    if not is_recording and wanted != "max":
        raise ValueError(f"{file} is a trace, which has no times: leave --speed out")
    backend.attach(start=False)
    with backend.bulk(name) as bulk, Meter(f"Replaying against {name}") as meter, stoppable() as stop:
        if not force and (held := bulk.entries()):
            raise click.ClickException(f"{name} holds {held:,} entries, which a replay would mix with zeros: "
                                       "take a new cluster, or say --force")  # fmt: skip

        def show(report: ReplayReport) -> None:
            fraction = report.at_ms / last_ms if last_ms else (report.reads + report.writes + report.failed) / count
            meter.update(fraction, _line(report, is_recording=is_recording))

        replayer = Replayer(bulk, accesses(lines_of([file]), file.name), batch=batch, watcher=show, stop=stop,
                            speed=None if wanted == "max" else float(wanted))
        report = replayer.run()
    _print(name, report, is_recording=is_recording, as_json=as_json)


def _look(file: Path) -> tuple[bool, int, int]:
    """Return whether it is a recording, the time of its last access, and how many there are. Refuses a bad file early.

    Raises:
        ValueError: it is neither a recording nor a trace.
    """
    last_ms = count = 0
    for access in accesses(lines_of([file]), file.name):
        last_ms, count = access.at_ms, count + 1
    if not count:
        raise ValueError(f"{file} has no reads")
    return next(iter(lines_of([file]))).startswith(HEADER), last_ms, count


def _line(report: ReplayReport, *, is_recording: bool) -> str:
    was = f" (when recorded {report.recorded_hit_ratio:.1%})" if is_recording else ""
    late = f", {output.duration_text(report.late_s)} late" if report.late_s > 1 else ""
    return f"{report.reads:,} reads, hit ratio {report.hit_ratio:.1%}{was}{late}"


def _print(name: str, report: ReplayReport, *, is_recording: bool, as_json: bool) -> None:
    if as_json:
        record = report.as_json()
        if not is_recording:
            del record["recorded_hit_ratio"]
        output.print_json({"name": name, **record})
    else:
        rate = report.reads / report.seconds if report.seconds else 0.0
        click.echo(f"{name}: {_line(report, is_recording=is_recording)}; {report.fills:,} filled, {report.writes:,} "
                   f"writes, in {output.duration_text(report.seconds)} ({rate:,.0f} reads a second)")
        if len(points := report.hit_ratio_over_time) > 1:
            every = -(-len(points) // POINTS_SHOWN)
            shown = ", ".join(f"{ratio:.1%} at {at:.0f} s" for at, ratio in points[every - 1 :: every])
            click.echo(f"hit ratio: {shown}")
    if report.late_s > 1:
        output.note(f"warning: up to {output.duration_text(report.late_s)} late: the recorded speed was not kept")
    if report.failed:
        output.note(f"warning: {report.failed:,} failed; the last error was: {report.error}")
    if report.end != "done":
        output.note(report.end)
        raise click.exceptions.Exit(1 if report.end == "gave up" else 130)


COMMANDS = (record, replay)
