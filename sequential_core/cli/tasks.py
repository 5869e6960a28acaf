"""The commands that start, read and change stored tasks."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

import sequential_core  # see _flow
from sequential_core.cli import options
from sequential_core.cli.options import Given
from sequential_core.cli.output import print_json, print_task, printable, waits_for
from sequential_core.drive import Policy
from sequential_core.driver.event_urls import check_public_url, make_event_url
from sequential_core.model import Status

if TYPE_CHECKING:
    from sequential_core import SequentialFlow

# Where `sequential serve` listens unless it is told otherwise.
_LOCAL_URL = "http://127.0.0.1:8787"

_id = click.argument("task_id", metavar="ID")


@click.command("exec")
@options.code
@options.policy
@click.option("--drive", is_flag=True, help="Let a `sequential serve` on this storage perform the requests.")
@click.option("--callback-url", metavar="URL", help="Of a driven task: gets the outcome, as a signed POST.")
@options.vm_state
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
    drive: bool,
    callback_url: str | None,
    vm_state: bool,
    **policy: Any,
) -> None:
    """Starts a program, up to its first pause, and prints the task."""
    given = {field: value for field, value in policy.items() if value is not None}
    if not drive and (given or callback_url is not None):
        raise click.UsageError(
            "--answers, --attempts, --timeout, --max-response-bytes and --callback-url are for a driven task: --drive"
        )
    source, language = options.read_code(file, code), language or options.language_of(file)
    task = _flow(storage).execute(
        source,
        id=task_id,
        name=name,
        ttl=ttl,
        retain=retain,
        language=language,
        drive=Policy(**given) if drive else None,
        callback_url=callback_url,
    )
    print_task(task, vm_state)


def _flow(storage: str | None) -> SequentialFlow:
    return sequential_core.SequentialFlow(
        storage
    )  # loaded, with the engine, when it is first asked for: not for --help


@click.command()
@_id
@click.option("--fetch-response", type=options.Json(), metavar="JSON", help="What fetch() gives; - for stdin.")
@click.option("--response", type=options.Json(), metavar="JSON", help="A Response: {status, headers, body, ...}.")
@click.option("--error", metavar="MESSAGE", help="fetch() rejects with this message.")
@click.option("--request-id", type=int, metavar="N", help="Which pending request. Default: the oldest.")
@click.option("--revision", type=int, metavar="N", help="Only if the task is at this revision.")
@options.storage
@options.vm_state
def resume(
    *,
    task_id: str,
    fetch_response: Given | None,
    response: Given | None,
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
            request[name] = given.value if isinstance(given, Given) else given
    print_task(_flow(storage).resume(request), vm_state)


@click.command()
@_id
@click.argument("name")
@click.argument("value", required=False, type=options.Json(), metavar="[JSON]")
@click.option("--idempotency-key", metavar="KEY", help="With the same key the event counts once.")
@options.storage
@options.vm_state
def event(
    *,
    task_id: str,
    name: str,
    value: Given | None,
    idempotency_key: str | None,
    storage: str | None,
    vm_state: bool,
) -> None:
    """Sends an event to a task, with a JSON value (- for stdin) or null, and prints the task."""
    sent = None if value is None else value.value
    print_task(
        _flow(storage).send_event(task_id, name, sent, idempotency_key=idempotency_key),
        vm_state,
    )


@click.command("event-url")
@_id
@click.argument("name")
@click.option("--ttl", type=options.Duration(), help="How long it may be used. Default: 1d; at most 30d.")
@options.public_url
@options.storage
def event_url(task_id: str, name: str, ttl: timedelta | None, public_url: str | None, storage: str | None) -> None:
    """Prints a URL that lets its holder send an event to a task, once, and nothing else.

    A `sequential serve` takes it; without --public-url it is one that listens at its usual address.
    """
    from sequential_core.driver.keys import signing_key

    url = check_public_url(public_url or _LOCAL_URL)
    made = make_event_url(_flow(storage), task_id, name, key=signing_key(), public_url=url, ttl=ttl)
    print_json(made.to_dict())


@click.command()
@_id
@options.storage
def cancel(task_id: str, storage: str | None) -> None:
    """Ends a paused task, and prints it."""
    print_json(_flow(storage).cancel_task(task_id).to_dict(include_vm_state=False))


@click.command()
@_id
@options.storage
@options.vm_state
def get(task_id: str, storage: str | None, vm_state: bool) -> None:
    """Prints a task."""
    print_json(_flow(storage).get_task(task_id).to_dict(include_vm_state=vm_state))


@click.command("ls")
@click.option("--status", type=click.Choice([status.value for status in Status]), help="Only tasks of this status.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="At most so many.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: {tasks, cursor}.")
@click.option("--cursor", help="Go on behind a page; from the JSON of that page.")
@options.storage
def list_tasks(status: str | None, limit: int, as_json: bool, cursor: str | None, storage: str | None) -> None:
    """Lists tasks, newest first."""
    page = _flow(storage).list_tasks(status=status, limit=limit, cursor=cursor)
    if as_json:
        tasks = [task.to_dict(include_vm_state=False) for task in page.tasks]
        print_json({"tasks": tasks, "cursor": page.cursor})
        return
    for task in page.tasks:
        made = f"{task.created_at:%Y-%m-%d %H:%M:%S}"
        columns = (task.id, task.status.value, made, task.name or "", waits_for(task))
        click.echo("  ".join(printable(column).replace("\n", " ") for column in columns).rstrip())
    if page.cursor is not None:
        click.echo(f"there are more: --cursor {page.cursor}", err=True)


@click.command("rm")
@click.argument("task_ids", metavar="ID...", nargs=-1, required=True)
@options.storage
def remove(task_ids: tuple[str, ...], storage: str | None) -> None:
    """Deletes tasks."""
    flow = _flow(storage)
    for task_id in task_ids:
        flow.delete_task(task_id)
