"""`sequential run`: the driver of `sequential serve`, for one task, until it ends."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

import sequential_core  # its flow is loaded when it is first asked for: not for --help
from sequential_core.cli import options
from sequential_core.cli.output import EXIT_TASK_ERROR, print_json
from sequential_core.cli.progress import Progress
from sequential_core.drive import Claim, Drive, Policy, check_policy
from sequential_core.errors import TaskConflictError, TaskNotFoundError
from sequential_core.model import Status, Task

if TYPE_CHECKING:
    from sequential_core.driver import Driver
    from sequential_core.flow import SequentialFlow

# How long an outcome is kept that is only to be printed: an event that another process sends may bring it. By the
# millisecond it is known from what somebody asked for.
_OUTCOME = timedelta(minutes=10, milliseconds=1)


@click.command()
@options.code
@click.option("--continue", "continued", metavar="ID", help="Go on with a paused task instead.")
@options.policy
@options.rules
@options.public_url
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
    allow_loopback: bool,
    allow: tuple[str, ...],
    deny: tuple[str, ...],
    public_url: str | None,
    quiet: bool,
    pause_everywhere: bool,
    **policy: Any,
) -> None:
    """Runs a program to its end, performing its requests, and prints the result.

    Every pause is saved first. After ctrl-C, `sequential run --continue ID` goes on from the last one; so does a
    `sequential serve` on the same storage.
    """
    from sequential_core.driver import Driver, Fetcher, Rules, run_to_end  # httpx takes 60 ms to import

    given = {field: value for field, value in policy.items() if value is not None}
    check_policy(Policy(**given))
    progress = Progress(quiet=quiet)
    driven = sequential_core.SequentialFlow(storage, pause_everywhere=pause_everywhere)
    driver = Driver(driven, fetcher=Fetcher(Rules(allow, deny, loopback=allow_loopback)), listener=progress)
    own = _OwnClaim(driver.new_token(), driver.lease(Drive(policy=Policy(**given))), driven)
    flow = sequential_core.SequentialFlow(storage, pause_everywhere=pause_everywhere, dispatcher=own)
    if continued is not None:
        if file is not None or any(each is not None for each in (code, language, task_id, name, ttl, retain)):
            raise click.UsageError("--continue takes no code, --language, --id, --name, --ttl or --retain")
        task = flow.get_task(continued)
        is_kept = task.retain not in (None, _OUTCOME)
        task = _handed_over(flow, task, given)
        token = None if task.drive is None else task.drive.claim
    else:
        source, language = options.read_code(file, code), language or options.language_of(file)
        task = flow.execute(
            source,
            id=task_id,
            name=name,
            ttl=ttl,
            retain=_OUTCOME if retain is None else retain,
            language=language,
            drive=Policy(**given),
        )
        is_kept = retain is not None
        if task.drive is None:
            task = _handed_over(flow, task, given)  # it was there already
        token = own.token
    progress.began_task(task)
    _prepare(driver, task, public_url)
    if task.drive is not None and task.drive.is_claimed(driven.now()) and task.drive.claim != token:
        progress.claimed(task.drive.due_at)
    try:
        task = run_to_end(driver, task, token=token)
    except KeyboardInterrupt:
        progress.say(f"paused; to go on: sequential run --continue {task.id}")
        raise
    if not is_kept:
        with contextlib.suppress(TaskNotFoundError, TaskConflictError):
            flow.delete_task(task.id, revision=task.revision)
    if task.error_detail is not None:
        progress.failure(task)
        sys.exit(EXIT_TASK_ERROR)
    print_json(task.result)


class _OwnClaim:
    """Claims a task from its first save on, so that no other driver begins it before this process does."""

    def __init__(self, token: str, lease: timedelta, flow: SequentialFlow) -> None:
        self.token = token
        self._lease = lease
        self._flow = flow

    def prepare(self, task_id: str) -> Claim:  # noqa: ARG002  # the interface
        return Claim(self.token, self._flow.now() + self._lease)

    def dispatch(self, task: Task) -> None:
        """Nothing: this process goes on."""


def _handed_over(flow: SequentialFlow, task: Task, given: dict[str, Any]) -> Task:
    """The task, driven, with what was said of its policy."""
    if task.status is not Status.PAUSED:
        return task
    if task.drive is None:
        return flow.drive_task(task.id, Policy(**given), retain=_OUTCOME if task.retain is None else None)
    return flow.drive_task(task.id, replace(task.drive.policy, **given)) if given else task


def _prepare(driver: Driver, task: Task, public_url: str | None) -> None:
    """Gives the driver what needs the signing key, if it is needed."""
    calls_back = task.drive is not None and task.drive.callback is not None
    if not calls_back and public_url is None:
        return
    from sequential_core.driver.event_urls import check_public_url
    from sequential_core.driver.keys import signing_key
    from sequential_core.driver.tools import EVENT_URL_TOOL, event_url_tool

    driver.signing_key = key = signing_key()
    if public_url is not None:
        tool = event_url_tool(driver.flow, key=key, public_url=check_public_url(public_url))
        driver.flow.tools.setdefault(EVENT_URL_TOOL, tool)
