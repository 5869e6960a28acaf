"""What commands print."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

import click

from sequential_core.model import Status, Task

EXIT_TASK_ERROR = 1

# Code and servers choose what is printed, and must not steer the terminal.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# What a terminal obeys without showing it (C1 and bidirectional controls), and halves of surrogate pairs.
_UNSHOWN = re.compile(r"[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """The text, without what steers a terminal."""
    return _UNSHOWN.sub("\N{REPLACEMENT CHARACTER}", _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text))


def print_json(value: Any) -> None:
    """Prints a result."""
    text = json.dumps(value, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None)
    # Outside of strings JSON has none of these, so that their escapes mean the same.
    click.echo(_UNSHOWN.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode())


def print_task(task: Task, vm_state: bool = False) -> None:
    """Prints a task; one that ended with an error ends the command with its exit code."""
    print_json(task.to_dict(include_vm_state=vm_state))
    if task.status is Status.ERROR:
        sys.exit(EXIT_TASK_ERROR)


def waits_for(task: Task) -> str:
    """What a task waits for, or why it failed, in a line for people."""
    if task.error is not None:
        return task.error
    paused = task.paused_state
    if paused is None:
        return ""
    what = next((request.label for request in task.pending_requests), "")
    if not what and paused.wake_at is not None:
        what = f"a timer, {paused.wake_at:%Y-%m-%d %H:%M:%S}"
    if task.drive is None:
        return what
    retry = min(task.drive.retries, key=lambda retry: retry.next_at, default=None)
    again = "" if retry is None else f", attempt {retry.attempts + 1} at {retry.next_at:%Y-%m-%d %H:%M:%S}"
    return f"{what}  driven, hop {paused.hops}{again}"
