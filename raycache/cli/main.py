"""The `raycache` command: the group of all commands, and what happens when one fails.

What lives here: the entry point `main`, which turns every expected failure into one line on standard error and an exit
code. What does not: the commands, one module per topic. An unexpected failure is a bug: it keeps its traceback.

Exit codes: 0 done; 1 it could not be done; 2 the command line makes no sense; 130 interrupted.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

import click

import raycache
from raycache.cli import (
    access,
    advise,
    clusters,
    config,
    dashboard,
    demo,
    explain,
    http,
    keys,
    moving,
    replay,
    ring,
    stores,
    top,
    upgrading,
    verifying,
    warming,
)
from raycache.cli.backend import Backend, RayBackend
from raycache.errors import RayCacheError

_HELP = """A distributed cache inside a Ray cluster, spoken to by Python, Redis clients and this command.

\b
A first walk:
  raycache up features --shards 3 --memory 512MiB --gateway-port 6400
  raycache set features user:1 Ada --ttl 300
  raycache get features user:1
  redis-cli -p 6400 get user:1
  raycache status features
  raycache down features

Each command explains itself: `raycache up --help`. `raycache demo` shows the cache at work on a real database.
"""


@click.group(help=_HELP, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(raycache.__version__, prog_name="raycache")
@click.pass_context
def cli(context: click.Context) -> None:
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for command in (
    *clusters.COMMANDS, *moving.COMMANDS, *verifying.COMMANDS, *keys.COMMANDS, *ring.COMMANDS, *top.COMMANDS,
    *stores.COMMANDS, *explain.COMMANDS, *warming.COMMANDS, *replay.COMMANDS, *upgrading.COMMANDS, *http.COMMANDS,
    *access.COMMANDS, *advise.COMMANDS, *dashboard.COMMANDS, *demo.COMMANDS, *config.COMMANDS,
):  # fmt: skip
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None, *, backend: Backend | None = None) -> int:
    """Run one command; return the exit code.

    Args:
        arguments: without the program's name; None: those of this process.
        backend: what stands for Ray; None: Ray.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        # A command that ends with an exit code of its own, as `verify` does, has it returned here.
        code = cli.main(arguments, prog_name="raycache", standalone_mode=False, obj=backend or RayBackend())
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.UsageError as error:
        place = error.ctx.command_path if error.ctx else "raycache"
        return _fail(f"{error.format_message().rstrip('.')}; see `{place} --help`", 2)
    except click.ClickException as error:
        return _fail(error.format_message(), 1)
    except (click.Abort, KeyboardInterrupt):
        return _fail("interrupted", 130)
    except BrokenPipeError:
        # Whoever read our output has left, as `head` does; nothing more can be printed, at exit neither.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if not _is_expected(error):
            raise
        return _fail(str(error), 1)
    return code if isinstance(code, int) else 0


def _is_expected(error: Exception) -> bool:
    """Whether the text alone tells the user what to do: our own errors, refused settings, Ray or the network gone."""
    is_rays = type(error).__module__.startswith("ray.exceptions")
    return is_rays or isinstance(error, RayCacheError | ValueError | OSError)


def _fail(message: str, code: int) -> int:
    click.echo(f"raycache: {' '.join(message.split())}", err=True)
    return code


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    """Treat a polite request to end as Ctrl-C: what a command has started is then cleaned up."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
