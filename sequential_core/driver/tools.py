"""Host tools: what `callTool(name, args)` calls.

Tools are Python callables. They are given the arguments of the code, and what they return, a JSON value, is what the
promise gives. They are registered with `@flow.tool`, or by an installed package in the entry points "sequential.tools".
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

from sequential_core.answers import check_answer
from sequential_core.driver.event_urls import make_event_url
from sequential_core.errors import CallerError, InvalidAnswerError
from sequential_core.flow import SequentialFlow
from sequential_core.limits import Limits
from sequential_core.pending import Answer, ErrorAnswer, PendingTool, ValueAnswer

ENTRY_POINTS = "sequential.tools"

#: The tool that every installation with a signing key and a public URL has.
EVENT_URL_TOOL = "sequential.eventUrl"

_logger = logging.getLogger("sequential.driver")


class ToolError(Exception):
    """Raised by a tool: its message is what the promise rejects with. Of other exceptions the code learns nothing."""


@dataclass(frozen=True, slots=True)
class ToolContext:
    """What a tool may know of its call. A tool that needs a second argument gets it.

    Attributes:
        task_id: the task that calls.
        idempotency_key: the same whenever this call is repeated, as after a crash; another for every other call.
    """

    task_id: str
    idempotency_key: str


Tool = Callable[..., Any]


class Tools:
    """Answers the pending calls of tools.

    Args:
        functions: by their names; one that is added to the mapping later is found too.
        installed: whether tools of installed packages are there too, unless `functions` has one of that name.
    """

    def __init__(self, functions: Mapping[str, Tool] | None = None, *, installed: bool = True) -> None:
        self._functions = {} if functions is None else functions
        self._entries = {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)} if installed else {}

    def call(self, pending: PendingTool, context: ToolContext) -> Answer:
        """Runs a tool. Whatever it raises is an answer."""
        try:
            tool = self._functions.get(pending.name)
            if tool is None:
                if pending.name not in self._entries:
                    return ErrorAnswer(f"there is no tool {pending.name!r}")
                tool = self._entries[pending.name].load()
            value = tool(pending.args, context) if _takes_context(tool) else tool(pending.args)
            if inspect.iscoroutine(value):
                value = asyncio.run(value)
            answer = ValueAnswer(value)
            check_answer(answer, Limits().answer_bytes)
        except ToolError as error:
            return ErrorAnswer(str(error))
        except InvalidAnswerError as error:
            return ErrorAnswer(f"what the tool {pending.name!r} gave cannot be taken: {error.problem}")
        except Exception:
            _logger.exception("tool %s failed", pending.name)
            return ErrorAnswer(f"the tool {pending.name!r} failed")
        return answer


def _takes_context(tool: Tool) -> bool:
    try:
        parameters = inspect.signature(tool).parameters.values()
    except (TypeError, ValueError):  # some built-in functions tell nothing
        return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [each for each in parameters if each.kind in positional and each.default is inspect.Parameter.empty]
    return len(needed) >= 2  # arguments and context


def event_url_tool(flow: SequentialFlow, *, key: bytes, public_url: str) -> Callable[[Any, ToolContext], str]:
    """The tool that gives code a URL for an event of its own task: `callTool("sequential.eventUrl", {name, ttl})`."""

    def event_url(args: Any, context: ToolContext) -> str:
        if not isinstance(args, Mapping) or not {"name"} <= args.keys() <= {"name", "ttl"}:
            raise ToolError(f"{EVENT_URL_TOOL} takes {{name, ttl}}, where ttl is in seconds and may be left out")
        try:
            made = make_event_url(
                flow, context.task_id, args["name"], key=key, public_url=public_url, ttl=args.get("ttl")
            )
        except CallerError as error:
            raise ToolError(f"{EVENT_URL_TOOL}: {error}") from None
        return made.url

    return event_url
