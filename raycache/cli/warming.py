"""`warm`: fill a cluster before its users come, from a database or from another cluster.

What lives here: arguments, where keys and values come from, and what is printed. What does not: the work and its pace
(`raycache.warming`).
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click

from raycache.cli import elsewhere, output
from raycache.cli.backend import Backend
from raycache.cli.import_path import imported
from raycache.cli.meter import Meter, stoppable
from raycache.client.bulk import Bulk
from raycache.client.info import Login
from raycache.warming.api import HotKeys, hot_keys, source_keys
from raycache.warming.files import ProgressFile
from raycache.warming.filling import CopyFiller, Filler, LoadFiller, loader_of
from raycache.warming.pace import UNLIMITED, WarmSettings
from raycache.warming.report import WarmReport
from raycache.warming.running import Warmer
from raycache.warming.topk import DEFAULT_COUNTERS

DEFAULTS: Final = WarmSettings()
POINTS_SHOWN: Final = 12
FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("name")
@click.argument("logs", nargs=-1, metavar="[LOG]...", type=FILE)
@click.option("--load", metavar="MODULE:FUNCTION", help="Loads the values: a function of a list of keys that returns a "
              "mapping, or an object with such a load_many.")  # fmt: skip
@click.option("--from", "source", metavar="OTHER", help="Copy from this cluster instead: its name, or HOST:PORT.")
@elsewhere.options
@click.option("--json-field", "field", help="The logs are JSON lines; the key is this field, such as request.key.")
@click.option("--pattern", help="The key is what the first group of this regular expression matches in a line.")
@click.option("--key", "template", default="{}", show_default=True, help="What becomes of it, such as user:{}.")
@click.option("--top", type=click.IntRange(min=1), help="How many keys. Default: 10,000 of logs, all of OTHER.")
@click.option("--counters", type=click.IntRange(min=1), default=DEFAULT_COUNTERS, show_default=True,
              help="How many different keys of logs are counted exactly; more of them, approximately.")  # fmt: skip
@click.option("--batch", type=click.IntRange(1, 8192), default=DEFAULTS.batch, show_default=True,
              help="Keys a load, at most.")  # fmt: skip
@click.option("--delay-ms", type=click.FloatRange(min=0), default=DEFAULTS.delay_s * 1000, show_default=True,
              help="Pause between two loads.")  # fmt: skip
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Keys a second, at most.")
@click.option("--max-latency-ms", type=click.FloatRange(min=0, min_open=True),
              help="Slow down while a load, or the probe, takes longer than this.")  # fmt: skip
@click.option("--probe", metavar="MODULE:FUNCTION", help="Does what other clients of the database do; is held to "
              "--max-latency-ms as well.")  # fmt: skip
@click.option("--ttl", "ttl_s", type=click.FloatRange(min=0, min_open=True),
              help="Seconds until what was loaded expires, less up to a tenth at random. Default: never.")  # fmt: skip
@click.option("--progress", type=click.Path(dir_okay=False, path_type=Path),
              help="A small file that remembers how far it is: the same command goes on from there.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.pass_obj
def warm(backend: Backend, /, name: str, logs: tuple[Path, ...], load: str | None, source: str | None,
         top: int | None, probe: str | None, progress: Path | None, as_json: bool, **options: Any) -> None:  # fmt: skip
    """Fill the cluster NAME before its users come, hottest keys first, at a pace that the database bears.

    With LOG files (gzip or plain) the most frequent keys in them are loaded by --load. With --from, entries
    are copied from another cluster as they are, with the time they have left to live; the hottest first if its policy
    is lru, lfu or plain-lfu. Keys that NAME has already are passed over; nothing is overwritten.

    By default a hundred keys are loaded at a time, a tenth of a second apart. When loads fail it slows down and waits.
    With --max-latency-ms it starts slowly, speeds up while the database answers well within that bound, and gives way
    when it does not. Ctrl-C ends it after the batch under way, and prints the report.

    Exit status: 0 done, 1 given up (the last error is in the report), 130 stopped.

    \b
    Examples:
      raycache warm features keys.txt --load shop.db:load_many --ttl 3600
      raycache warm features access.log.1.gz access.log --load shop.db:load_many \\
          --pattern '"GET /users/(\\d+)' --key 'user:{}' --top 50000
      raycache warm features requests.jsonl --json-field request.key --load shop.db:load_many \\
          --max-latency-ms 20 --probe shop.db:typical_query --progress warm.json
      raycache warm features --from features-old --top 100000 --rate 5000 --delay-ms 0
      RAYCACHE_FROM_SECRET=... raycache warm features --from 10.0.0.7:6410
      raycache warm features --from cache.example:6410 --from-user copier --from-password-file pw --from-tls-ca ca.pem
    """
    parsing = {option: options.pop(option) for option in ("field", "pattern", "template", "counters")}
    given = elsewhere.taken_from(options)
    settings = WarmSettings(delay_s=options.pop("delay_ms") / 1000, **options)
    login = None
    if source is None:
        if given:
            raise click.UsageError("--from-... is for --from HOST:PORT")
        from_logs, filler_of = _from_logs(logs, load, {**parsing, "top": top or 10_000}, settings)
        backend.attach(start=False)
    else:
        if logs or load is not None:
            raise click.UsageError("either LOG files and --load, or --from")
        login = _login(source, given)
        _attach(backend, name, source)
    measured = imported(probe, "--probe") if probe is not None else None
    keys: Sequence[bytes]
    with backend.bulk(name) as target, _source(backend, source, login) as origin:
        if origin is not None:
            with output.busy(f"Asking {source} for its keys"):
                keys = source_keys(origin, top)
            filler: Filler = CopyFiller(target, origin, clock=time.monotonic)
        else:
            keys, filler = from_logs, filler_of(target)
        report = _run(name, filler, keys, settings, measured, progress)
    _print(name, report, as_json=as_json)


def _from_logs(logs: Sequence[Path], load: str | None, parsing: dict[str, Any],
               settings: WarmSettings) -> tuple[list[bytes], Any]:  # fmt: skip
    if not logs or load is None:
        raise click.UsageError("it needs LOG files and --load, or --from")
    try:
        loader = loader_of(imported(load, "--load"))
    except TypeError as error:
        raise ValueError(f"--load {load!r}: {error}") from None
    with output.busy("Counting keys"):
        found = hot_keys(logs, **parsing)
    _tell(found)
    if not found.keys:
        raise click.ClickException("no key in the logs: look at --pattern or --json-field")

    def filler_of(target: Bulk) -> LoadFiller:
        return LoadFiller(target, loader, ttl_s=settings.ttl_s, jitter=settings.jitter, clock=time.monotonic,
                          rng=random.Random())

    return [one.key for one in found.keys], filler_of


def _tell(found: HotKeys) -> None:
    text = f"{found.lines:,} lines, the {len(found.keys):,} most frequent keys"
    if found.without_key:
        text += f", {found.without_key:,} lines without a key"
    if found.error_bound:
        text += f", counts up to {found.error_bound:,} too high (more --counters count exactly)"
    output.note(text)


def _attach(backend: Backend, name: str, source: str) -> None:
    if source == name:
        raise ValueError(f"{name} cannot be copied into itself")
    backend.attach(start=False)


def _login(source: str, given: dict[str, Any]) -> Login | None:
    """Return how to come in at HOST:PORT; None for a cluster that Ray knows.

    Raises:
        ValueError: the options make no sense.
    """
    if ":" in source:
        return elsewhere.login_of(given)
    if given:
        raise ValueError(f"--from-... is for a cluster at HOST:PORT: how to come in at {source}, Ray knows")
    return None


@contextmanager
def _source(backend: Backend, source: str | None, login: Login | None) -> Iterator[Bulk | None]:
    if source is None:
        yield None
    elif login is not None:
        with backend.bulk_at(source, login) as bulk:
            yield bulk
    else:
        with backend.bulk(source) as bulk:
            yield bulk


def _run(name: str, filler: Filler, keys: Sequence[bytes], settings: WarmSettings, probe: Any,
         progress: Path | None) -> WarmReport:  # fmt: skip
    with Meter(f"Warming {name}") as meter, stoppable() as stop:

        def show(report: WarmReport, rate: float) -> None:
            meter.update(report.position / report.total if report.total else 1.0, _line(report, rate))

        file = ProgressFile(progress) if progress is not None else None
        warmer = Warmer(filler, keys, settings, probe=probe, progress=file, cluster=name, watcher=show, stop=stop)
        return warmer.run()


def _line(report: WarmReport, rate: float) -> str:
    now = report.rate_over_time[-1][1] if report.rate_over_time else report.rate
    limit = f" of {rate:,.0f} wanted" if rate < UNLIMITED else ""
    return (f"{report.position:,} of {report.total:,} keys, {report.loaded:,} loaded, {now:,.0f} a second{limit}"
            f"{_rest(report)}")  # fmt: skip


def _rest(report: WarmReport) -> str:
    parts = ((report.present, "there already"), (report.absent, "without a value"), (report.failed, "failed"),
             (report.backoffs, "times slower"))  # fmt: skip
    return "".join(f", {count:,} {what}" for count, what in parts if count)


def _print(name: str, report: WarmReport, *, as_json: bool) -> None:
    if as_json:
        output.print_json({"name": name, **report.as_json()})
    else:
        resumed = f", the first {report.resumed_at:,} by an earlier run" if report.resumed_at else ""
        click.echo(f"{name}: {report.position:,} of {report.total:,} keys done{resumed}; {report.loaded:,} loaded in "
                   f"{output.duration_text(report.seconds)}, {report.rate:,.0f} a second{_rest(report)}")
        if len(report.rate_over_time) > 1:
            every = -(-len(report.rate_over_time) // POINTS_SHOWN)
            shown = ", ".join(f"{rate:,.0f} at {at:.0f} s" for at, rate in report.rate_over_time[every - 1 :: every])
            click.echo(f"keys a second: {shown}")
    if report.error:
        output.note(f"warning: the last error was: {report.error}")
    if report.end != "done":
        output.note(f"{report.end}; with --progress the same command goes on from there")
        raise click.exceptions.Exit(1 if report.end == "gave up" else 130)


COMMANDS = (warm,)
