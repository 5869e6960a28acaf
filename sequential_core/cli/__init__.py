"""The command `sequential`.

Results go to standard output as JSON, and nothing else does; progress, logs and errors go to standard error.
Exit codes: 0 the task completed or paused, 1 the task ended with an error, 2 the command could not be
carried out, 130 it was interrupted.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

import click

from sequential_core import __version__
from sequential_core.cli import running, serving, tasks
from sequential_core.cli.output import EXIT_TASK_ERROR, printable
from sequential_core.errors import CodeError, SequentialError

__all__ = ["cli", "main"]

EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="sequential")
def cli() -> None:
    """Runs JavaScript or TypeScript that pauses at fetch() and goes on in another process."""


for _command in (
    running.run,
    tasks.execute,
    tasks.resume,
    tasks.event,
    tasks.event_url,
    tasks.cancel,
    tasks.get,
    tasks.list_tasks,
    tasks.remove,
    serving.serve,
    serving.callback_key,
):
    cli.add_command(_command)


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except CodeError as error:
        click.echo(printable(str(error)), err=True)
        sys.exit(EXIT_TASK_ERROR)
    except SequentialError as error:
        click.echo(f"error: {printable(str(error))}", err=True)
        sys.exit(EXIT_USAGE)
    except click.ClickException as error:
        error.show()
        sys.exit(EXIT_USAGE)


def main() -> None:
    """Runs the command line."""
    with _errors():
        cli(standalone_mode=False)
