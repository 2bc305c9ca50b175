"""`demo`: the command around `raycache.demo`.

What lives here: its arguments. What does not: the demo, which is imported, and Ray with it, only when it runs.
"""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from raycache.cli.backend import quiet_logs
from raycache.config import POLICIES, ClusterConfig, parse_bytes
from raycache.demo.display import Display
from raycache.demo.settings import DemoSettings
from raycache.errors import InternalError

DEFAULTS = DemoSettings()


@click.command()
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True),
              help="How long the tasks read. Default: 20, with --trace until it ends.")  # fmt: skip
@click.option("--shards", type=click.IntRange(1, 1000), default=DEFAULTS.shards, show_default=True)
@click.option("--memory", default=DEFAULTS.memory, show_default=True, help="For all shards together.")
@click.option("--policy", type=click.Choice(POLICIES), default=DEFAULTS.policy, show_default=True,
              help="What a full shard drops.")  # fmt: skip
@click.option("--readers", type=click.IntRange(1, 100), default=DEFAULTS.readers, show_default=True,
              help="How many Ray tasks read.")  # fmt: skip
@click.option("--trace", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Replay this access trace: a request a line, the key's number first; gzip or text.")  # fmt: skip
@click.option("--skew", type=click.FloatRange(0, 5), default=DEFAULTS.skew, show_default=True,
              help="Of the Zipf popularity without --trace: 0 is uniform.")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=DEFAULTS.seed, show_default=True,
              help="Of the Zipf popularity.")  # fmt: skip
def demo(seconds: float | None, shards: int, memory: str, policy: str, readers: int, trace: Path | None,
         skew: float, seed: int) -> None:  # fmt: skip
    """Show the cache at work: Ray tasks read a real database through it.

    Builds a SQLite database of 28,000 real airports, starts Ray and a cluster, and runs tasks that ask for the airports
    around an airport: from the cache, else by a query that takes milliseconds. Every 50th read is also done without
    the cache, timed, and compared. Everything that was started is stopped at the end, after Ctrl-C too.

    \b
    Examples:
      raycache demo
      raycache demo --seconds 60 --shards 4 --policy lfu --memory 12MiB
      raycache demo --trace web12.txt.gz --seconds 30
    """
    if seconds is None and trace is None:
        seconds = DEFAULTS.seconds
    settings = DemoSettings(seconds, shards, memory, policy, readers, trace, skew, seed)
    ClusterConfig(name="demo", shards=shards, memory_per_shard_bytes=parse_bytes(memory) // shards)  # refuses at once
    from raycache.demo import job  # Ray takes a third of a second to import

    quiet_logs()
    tally = job.run(settings, Display(settings, Console()))
    if tally.wrong:
        raise InternalError(f"{tally.wrong} of {tally.checked} answers from the cache differed from the database's")


COMMANDS = (demo,)
