"""The command `sequential`.

Results go to standard output as JSON, and nothing else does; progress, logs and errors go to standard error.
Exit codes: 0 the task completed or paused, 1 the task ended with an error, 2 the command could not be
carried out, 130 it was interrupted.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from sequential_core import __version__
from sequential_core.errors import CodeError, SequentialError
from sequential_core.flow import SequentialFlow
from sequential_core.model import Answer, ErrorAnswer, Language, PendingRequest, Status, Task

if TYPE_CHECKING:
    from rich.console import Console

EXIT_COMPLETED = 0
EXIT_TASK_ERROR = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

# Code and servers choose what is printed, and must not steer the terminal.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# What a terminal obeys without showing it (C1 and bidirectional controls), and halves of surrogate pairs.
_UNSHOWN = re.compile(r"[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

_SHOWN_URL_LENGTH = 100

_UNIT_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


class _Duration(click.ParamType[Any]):
    """A number of seconds, or one with a unit: 90s, 15m, 2h, 30d."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", value)
        if found is None:
            self.fail(f"{value!r} is not a duration such as 90s, 15m, 2h or 30d", param, ctx)
        try:
            return timedelta(seconds=float(found[1]) * _UNIT_SECONDS[found[2]])
        except OverflowError:
            self.fail(f"{value!r} is too long", param, ctx)


class _Json(click.ParamType[Any]):
    """JSON text, or - for JSON from standard input."""

    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return _Given(json.loads(sys.stdin.read() if value == "-" else value))
        except (ValueError, RecursionError) as error:
            self.fail(f"it is not JSON: {error}", param, ctx)


class _Given:
    """A value that was given on the command line; it may be null."""

    def __init__(self, value: Any) -> None:
        self.value = value


_storage = click.option(
    "--storage",
    metavar="URL",
    help="Where tasks wait, such as sqlite:///tasks.db. Default: SEQUENTIAL_STORAGE, or a SQLite file of the user's.",
)
_vm_state = click.option("--vm-state", is_flag=True, help="Print the state of the program too, in base64.")


def _code_options(command: Any) -> Any:
    for option in (
        click.argument("file", required=False, type=click.File("rb"), metavar="[FILE]"),
        click.option("-e", "--eval", "code", metavar="CODE", help="Run this code instead of a file."),
        click.option(
            "--language",
            type=click.Choice([language.value for language in Language]),
            help="What the code is written in. Default: typescript if FILE ends in .ts or .mts, else javascript.",
        ),
        click.option("--id", "task_id", metavar="ID", help="The task's id; made if not given."),
        click.option("--name", metavar="NAME", help="A label."),
        click.option("--ttl", type=_Duration(), help="How long each pause is kept. Default: 2h."),
        click.option("--retain", type=_Duration(), help="How long the outcome is kept. Default: not at all."),
        _storage,
    ):
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="sequential")
def cli() -> None:
    """Runs JavaScript or TypeScript that pauses at fetch() and goes on in another process."""


@cli.command()
@_code_options
@click.option("--continue", "continued", metavar="ID", help="Go on with a paused task instead.")
@click.option(
    "--answers",
    type=click.Choice(["value", "response"]),
    default="value",
    help="What fetch() gives: the body's JSON or text (the default), or a Response.",
)
@click.option("--timeout", type=_Duration(), default="30s", show_default=True, help="For each response.")
@click.option(
    "--max-response-bytes",
    type=click.IntRange(min=1),
    default=5 * 1024 * 1024,
    show_default=True,
    help="A longer response rejects the fetch.",
)
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@click.option(
    "--pause-everywhere",
    is_flag=True,
    help="A test: save the program and go on in a fresh machine before every job of its job queue.",
)
def run(
    *,
    file: Any,
    code: str | None,
    language: str | None,
    task_id: str | None,
    name: str | None,
    ttl: timedelta | None,
    retain: timedelta | None,
    storage: str | None,
    continued: str | None,
    answers: Any,
    timeout: timedelta,
    max_response_bytes: int,
    quiet: bool,
    pause_everywhere: bool,
) -> None:
    """Runs a program to its end, performing its fetches, and prints the result.

    Every pause is saved first. After ctrl-C, `sequential run --continue ID` goes on from the last one.
    """
    from sequential_core.fetcher import Fetcher, run_to_end  # httpx takes 60 ms to import

    flow = SequentialFlow(storage, pause_everywhere=pause_everywhere)
    if continued is not None:
        if file is not None or any(given is not None for given in (code, language, task_id, name, ttl, retain)):
            raise click.UsageError("--continue takes no code, --language, --id, --name, --ttl or --retain")
        task = flow.get_task(continued)
    else:
        source, language = _code(file, code), language or _language_of(file)
        task = flow.execute(source, id=task_id, name=name, ttl=ttl, retain=retain, language=language)
    progress = _Progress(quiet=quiet)
    progress.began_task(task)
    try:
        with Fetcher(answers, timeout_seconds=timeout.total_seconds(), response_bytes=max_response_bytes) as fetcher:
            task = run_to_end(flow, task, fetcher, progress)
    except KeyboardInterrupt:
        progress.say(f"paused; to go on: sequential run --continue {task.id}")
        raise
    if task.error_detail is not None:
        progress.failure(task)
        sys.exit(EXIT_TASK_ERROR)
    _print_json(task.result)


@cli.command("exec")
@_code_options
@_vm_state
def execute(
    *,
    file: Any,
    code: str | None,
    language: str | None,
    task_id: str | None,
    name: str | None,
    ttl: timedelta | None,
    retain: timedelta | None,
    storage: str | None,
    vm_state: bool,
) -> None:
    """Starts a program, up to its first pause, and prints the task."""
    source, language = _code(file, code), language or _language_of(file)
    task = SequentialFlow(storage).execute(source, id=task_id, name=name, ttl=ttl, retain=retain, language=language)
    _print_task(task, vm_state)


@cli.command()
@click.argument("task_id", metavar="ID")
@click.option("--fetch-response", type=_Json(), metavar="JSON", help="What fetch() gives, as it is; - for stdin.")
@click.option("--response", type=_Json(), metavar="JSON", help="A Response: {status, headers, body, bodyEncoding}.")
@click.option("--error", metavar="MESSAGE", help="fetch() rejects with this message.")
@click.option("--request-id", type=int, metavar="N", help="Which pending request. Default: the oldest.")
@click.option("--revision", type=int, metavar="N", help="Only if the task is at this revision.")
@_storage
@_vm_state
def resume(
    *,
    task_id: str,
    fetch_response: _Given | None,
    response: _Given | None,
    error: str | None,
    request_id: int | None,
    revision: int | None,
    storage: str | None,
    vm_state: bool,
) -> None:
    """Answers a pending request of a task, runs it to its next pause, and prints the task.

    Without an answer only the timers that are due run.
    """
    request: dict[str, Any] = {"id": task_id}
    optional = {
        "fetchResponse": fetch_response,
        "response": response,
        "error": error,
        "requestId": request_id,
        "revision": revision,
    }
    for name, given in optional.items():
        if given is not None:
            request[name] = given.value if isinstance(given, _Given) else given
    _print_task(SequentialFlow(storage).resume(request), vm_state)


@cli.command()
@click.argument("task_id", metavar="ID")
@_storage
@_vm_state
def get(task_id: str, storage: str | None, vm_state: bool) -> None:
    """Prints a task."""
    _print_json(SequentialFlow(storage).get_task(task_id).to_dict(include_vm_state=vm_state))


@cli.command("ls")
@click.option("--status", type=click.Choice([status.value for status in Status]), help="Only tasks of this status.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="At most so many.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: {tasks, cursor}.")
@click.option("--cursor", help="Go on behind a page; from the JSON of that page.")
@_storage
def list_tasks(status: str | None, limit: int, as_json: bool, cursor: str | None, storage: str | None) -> None:
    """Lists tasks, newest first."""
    page = SequentialFlow(storage).list_tasks(status=status, limit=limit, cursor=cursor)
    if as_json:
        tasks = [task.to_dict(include_vm_state=False) for task in page.tasks]
        _print_json({"tasks": tasks, "cursor": page.cursor})
        return
    for task in page.tasks:
        what = task.error or next((request.label for request in task.pending_requests), "")
        if not what and task.paused_state is not None and task.paused_state.wake_at is not None:
            what = f"a timer, {task.paused_state.wake_at:%Y-%m-%d %H:%M:%S}"
        columns = (task.id, task.status.value, f"{task.created_at:%Y-%m-%d %H:%M:%S}", task.name or "", what)
        click.echo("  ".join(_printable(column).replace("\n", " ") for column in columns).rstrip())
    if page.cursor is not None:
        click.echo(f"there are more: --cursor {page.cursor}", err=True)


@cli.command("rm")
@click.argument("task_ids", metavar="ID...", nargs=-1, required=True)
@_storage
def remove(task_ids: tuple[str, ...], storage: str | None) -> None:
    """Deletes tasks."""
    flow = SequentialFlow(storage)
    for task_id in task_ids:
        flow.delete_task(task_id)


@cli.command()
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Where to listen.")
@click.option("--port", type=click.IntRange(0, 65535), default=8787, show_default=True, help="0: any that is free.")
@click.option(
    "--allow-remote", is_flag=True, help="Listen where other machines can reach it. Nobody is asked who it is."
)
@_storage
def serve(host: str, port: int, allow_remote: bool, storage: str | None) -> None:
    """Serves the HTTP API, until ctrl-C. The URL is told on standard error."""
    try:
        from sequential_core.http.serve import serve as serve_http  # an extra, and 200 ms
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("sequential_core"):
            raise
        raise click.ClickException(
            f"{error.name.partition('.')[0]} is missing: pip install 'sequential-core[http]'"
        ) from None

    def announce(url: str) -> None:
        click.echo(f"serving {url}  (ctrl-C ends it)", err=True)

    serve_http(storage, host, port, announce=announce, allow_remote=allow_remote)


class _Progress:
    """What `run` tells on standard error."""

    def __init__(self, *, quiet: bool) -> None:
        from rich.console import Console  # 30 ms

        self._console: Console = Console(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)
        self._quiet = quiet

    def say(self, text: str, style: str | None = None) -> None:
        self._console.print(_printable(text), style=style)

    def began_task(self, task: Task) -> None:
        self._tell(f"task {task.id}", "bold")
        self.resumed(task)

    def began(self, request: PendingRequest) -> None:
        self._tell(f"{_summary(request)}  line {request.line}", "dim")

    def answered(self, request: PendingRequest, answer: Answer, seconds: float) -> None:
        failed = isinstance(answer, ErrorAnswer)
        how, style = ("failed", "yellow") if failed else ("answered", "green")
        self._tell(f"{_summary(request)}  {how} after {seconds * 1000:.0f} ms", style)

    def resumed(self, task: Task) -> None:
        for entry in task.logs:
            message = entry.message.replace("\n", "\n      ")  # a line of the code's is not one of ours
            self.say(f"{entry.level:>5} {message}", {"error": "red", "warn": "yellow"}.get(entry.level))

    def _tell(self, text: str, style: str) -> None:
        if not self._quiet:
            self.say(text, style)

    def failure(self, task: Task) -> None:
        assert task.error_detail is not None, "the task failed"
        self.say(str(task.error), "red")
        if task.error_detail.stack:
            self.say("\n".join(f"    {line}" for line in task.error_detail.stack.splitlines()))


def _summary(request: PendingRequest) -> str:
    url = request.url if len(request.url) <= _SHOWN_URL_LENGTH else f"{request.url[:_SHOWN_URL_LENGTH]}..."
    return f"{request.id:>4}  {request.method} {url}"


def _printable(text: str) -> str:
    return _UNSHOWN.sub("\N{REPLACEMENT CHARACTER}", _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text))


def _code(file: Any, code: str | None) -> str:
    if (file is None) == (code is None):
        raise click.UsageError("give either a FILE or -e CODE")
    if code is not None:
        return code
    try:
        text: str = file.read().decode()
    except UnicodeDecodeError:
        raise click.UsageError("the file is not text in UTF-8") from None
    return text


def _language_of(file: Any) -> Language | None:
    """What the name of a file says; None: nothing."""
    return Language.TYPESCRIPT if file is not None and file.name.endswith((".ts", ".mts")) else None


def _print_json(value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None)
    # Outside of strings JSON has none of these, so that their escapes mean the same.
    click.echo(_UNSHOWN.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode())


def _print_task(task: Task, vm_state: bool) -> None:
    _print_json(task.to_dict(include_vm_state=vm_state))
    if task.status is Status.ERROR:
        sys.exit(EXIT_TASK_ERROR)


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except CodeError as error:
        click.echo(_printable(str(error)), err=True)
        sys.exit(EXIT_TASK_ERROR)
    except SequentialError as error:
        click.echo(f"error: {_printable(str(error))}", err=True)
        sys.exit(EXIT_USAGE)
    except click.ClickException as error:
        error.show()
        sys.exit(EXIT_USAGE)


def main() -> None:
    """Runs the command line."""
    with _errors():
        cli(standalone_mode=False)


if __name__ == "__main__":
    main()
