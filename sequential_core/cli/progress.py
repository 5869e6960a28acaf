"""What `sequential run` tells on standard error."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sequential_core.cli.output import printable
from sequential_core.model import Task
from sequential_core.pending import Answer, ErrorAnswer, PendingRequest, PendingTool, RequestKind, ValueAnswer

if TYPE_CHECKING:
    from rich.console import Console

_SHOWN_LENGTH = 100

# How the errors read that a driver gives for hosts that its rules refuse.
_REFUSED = "may not be called", "has no address that may be called"

# How the engine says that a value has no such method, as a body's JSON has no json().
_NO_METHOD = "not a function"


class Progress:
    """A `Listener` of the driver.

    Args:
        quiet: only what the code writes is told, and why it failed.
    """

    def __init__(self, *, quiet: bool) -> None:
        from rich.console import Console  # 30 ms

        self._console: Console = Console(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)
        self._quiet = quiet
        self._refused = False
        self._gave_value = False

    def say(self, text: str, style: str | None = None) -> None:
        """Tells something, however quiet it is to be."""
        self._console.print(printable(text), style=style)

    def began_task(self, task: Task) -> None:
        """A task was executed, or is to go on."""
        self._tell(f"task {task.id}", "bold")
        self.resumed(task)

    def claimed(self, until: datetime | None) -> None:
        """Another driver is at the task."""
        when = "" if until is None else f", until {until:%H:%M:%S} UTC at least"
        self._tell(f"another driver is at it{when}; sequential run --continue takes over", "yellow")

    def began(self, request: PendingRequest | PendingTool) -> None:
        self._tell(f"{_summary(request)}  line {request.line}", "dim")

    def answered(self, request: PendingRequest | PendingTool, answer: Answer, seconds: float) -> None:
        failed = isinstance(answer, ErrorAnswer)
        if isinstance(answer, ErrorAnswer) and any(refused in answer.message for refused in _REFUSED):
            self._refused = True
        self._gave_value |= isinstance(answer, ValueAnswer) and request.kind is RequestKind.FETCH
        how, style = ("failed", "yellow") if failed else ("answered", "green")
        why = f": {_cause(request, answer.message)}" if isinstance(answer, ErrorAnswer) else ""
        self._tell(f"{_summary(request)}  {how} after {seconds * 1000:.0f} ms{why}", style)

    def failed(self, request: PendingRequest | PendingTool, problem: str, next_at: datetime) -> None:
        wait = max((next_at - datetime.now(UTC)).total_seconds(), 0)
        self._tell(f"{_summary(request)}  {_cause(request, problem)}; again in {wait:.1f} s", "yellow")

    def resumed(self, task: Task) -> None:
        for entry in task.logs:
            message = entry.message.replace("\n", "\n      ")  # a line of the code's is not one of ours
            self.say(f"{entry.level:>5} {message}", {"error": "red", "warn": "yellow"}.get(entry.level))
        if task.paused_state is None or task.performable:
            return
        for wait in task.event_waits:
            self._tell(f"      waiting: sequential event {task.id} {wait.name} JSON", "dim")
        if not task.event_waits and task.paused_state.wake_at is not None:
            self._tell(f"      waiting for a timer, {task.paused_state.wake_at:%Y-%m-%d %H:%M:%S} UTC", "dim")

    def failure(self, task: Task) -> None:
        """The task has ended with an error."""
        assert task.error_detail is not None, "the task failed"
        self.say(str(task.error), "red")
        if task.error_detail.stack:
            self.say("\n".join(f"    {line}" for line in task.error_detail.stack.splitlines()))
        if self._refused:
            self.say(
                "only public hosts are called, at the ports 80 and 443, unless told otherwise:"
                " --allow-loopback for this machine, --allow ADDRESS for a private one, --allow HOST:PORT"
            )
        if self._gave_value and task.error_detail.message == _NO_METHOD:
            self.say("fetch() gave the body's JSON or text; for code that calls r.json(): --answers response")

    def _tell(self, text: str, style: str) -> None:
        if not self._quiet:
            self.say(text, style)


def _cause(request: PendingRequest | PendingTool, message: str) -> str:
    """The first line of why it failed, without the request, which stands on the line already."""
    line = message.split("\n", 1)[0].removeprefix(f"{request.label}: ")
    return line if len(line) <= _SHOWN_LENGTH else f"{line[:_SHOWN_LENGTH]}..."


def _summary(request: PendingRequest | PendingTool) -> str:
    label = request.label if len(request.label) <= _SHOWN_LENGTH else f"{request.label[:_SHOWN_LENGTH]}..."
    return f"{request.id:>4}  {label}"
