"""Direct invocations: from boto3, from Step Functions, from another function.

An event is the JSON of a request, an answer the JSON of a task. What goes wrong is an error of the function, whose
`errorType` is the name of a class of `sequential_core.errors`, or "InternalError"; so a state machine can
catch it by name.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from typing import Any

from handlers.environment import telemetry
from handlers.telemetry import Handler
from sequential_core.errors import InvalidRequestError, SequentialError
from sequential_core.http import problems

try:
    from awslambdaric.lambda_runtime_exception import FaultException  # type: ignore[import-untyped]
except ImportError:  # some emulators have a runtime of their own
    FaultException = None


def _invocation_error(kind: str, message: str) -> Exception:
    """What fails an invocation with that `errorType`.

    The runtime's own FaultException is the one whose answer has no stack trace; others are known by their class.
    """
    if FaultException is not None:
        fault: Exception = FaultException(kind, message)
        return fault
    return type(kind, (Exception,), {})(message)  # type: ignore[no-any-return]


def direct(function: Callable[[Mapping[str, Any]], dict[str, Any]]) -> Handler:
    """A handler that gives the event to a function, and its errors to the caller."""

    @functools.wraps(function)
    def handler(event: Any, context: Any) -> Any:  # noqa: ARG001  # the runtime's interface
        try:
            return _encodable(function(_checked(event)))
        except Exception as error:  # noqa: BLE001  # the runtime would give the caller its stack trace
            # Known errors and unknown ones alike: what is for the operator alone goes to the log.
            detail = problems.report(error, function.__module__)["detail"]
            kind = type(error).__name__ if isinstance(error, SequentialError) else "InternalError"
            raise _invocation_error(kind, detail) from None

    return telemetry.observed(handler)


def _checked(event: object) -> Mapping[str, Any]:
    if not isinstance(event, Mapping):
        raise InvalidRequestError("event", f"it must be an object, not {type(event).__name__}")
    return event


def _encodable(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer as the runtime can encode it, which it cannot if a string of the code's has half a surrogate pair."""
    text = json.dumps(answer, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        whole: dict[str, Any] = json.loads(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
        return whole
    return answer
