"""AWS's SDK for Lambda durable functions: replays the handler from its beginning.

A fetch is a callback (`create_callback`, `result`), the SDK's own way to wait for an answer without running. A hop:
the handler is called with the history as JSON, in which the last callback is answered, runs through it again to the
next callback, and has recorded that. Then it suspends. It takes the SDK up to 0.1 s more to stop its thread of
checkpoints, until the invocation has ended; `invocation` has that too. The service is played in memory: it answers
each call at once.
"""

from __future__ import annotations

import json
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from aws_durable_execution_sdk_python import DurableContext, durable_execution
from aws_durable_execution_sdk_python.execution import (
    DurableExecutionInvocationInputWithClient,
    InitialExecutionState,
)
from aws_durable_execution_sdk_python.lambda_service import (
    CallbackDetails,
    CheckpointOutput,
    CheckpointUpdatedExecutionState,
    DurableServiceClient,
    ExecutionDetails,
    Operation,
    OperationStatus,
    OperationType,
    OperationUpdate,
    StateOutput,
)
from aws_durable_execution_sdk_python_testing.invoker import create_test_lambda_context

from bench.worker import CannotError, Worker, serve
from bench.workloads import BY_KEY, Pausing, pausing

_ARN = "arn:aws:lambda:us-east-1:123456789012:function:bench:1/durable-execution/bench/1"
_CONTEXT = create_test_lambda_context()
_NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Service(DurableServiceClient):
    """Answers each callback at once while there are answers; the next one stays open."""

    def __init__(self, answers: int, answer: str) -> None:
        self.answers = answers
        self.answer = answer
        self.made: list[Operation] = []
        self.recorded = 0.0

    def checkpoint(
        self,
        durable_execution_arn: str,  # noqa: ARG002
        checkpoint_token: str,
        updates: list[OperationUpdate],
        client_token: str | None,  # noqa: ARG002
    ) -> CheckpointOutput:
        made = [self._operation(update) for update in updates]
        self.made += made
        self.recorded = time.perf_counter()
        return CheckpointOutput(checkpoint_token, CheckpointUpdatedExecutionState(made))

    def get_execution_state(self, *_: object, **__: object) -> StateOutput:
        return StateOutput()

    def _operation(self, update: OperationUpdate) -> Operation:
        answered = len(self.made) < self.answers
        return Operation(
            operation_id=update.operation_id,
            operation_type=update.operation_type,
            status=OperationStatus.SUCCEEDED if answered else OperationStatus.STARTED,
            parent_id=update.parent_id,
            name=update.name,
            start_timestamp=_NOW,
            end_timestamp=_NOW if answered else None,
            sub_type=update.sub_type,
            callback_details=CallbackDetails(
                callback_id=f"callback-{len(self.made)}", result=self.answer if answered else None
            ),
        )


def handler(program: Pausing) -> Callable[[Any, Any], Any]:
    source = f"def run(fetch):\n{textwrap.indent(program.python, '    ')}"
    names: dict[str, Any] = {}
    exec(source, names)  # noqa: S102  # the same text as the other sides run

    @durable_execution
    def handle(_event: Any, context: DurableContext) -> None:
        def fetch(_url: str) -> Any:
            return json.loads(context.create_callback().result())

        names["run"](fetch)

    return handle


def invoke(handle: Callable[[Any, Any], Any], history: list[Operation], service: Service) -> None:
    event = DurableExecutionInvocationInputWithClient(
        durable_execution_arn=_ARN,
        checkpoint_token="token",  # noqa: S106
        initial_execution_state=InitialExecutionState(operations=history, next_marker=""),
        service_client=service,
    )
    done = handle(event, _CONTEXT)
    assert done["Status"] == "PENDING", done
    assert service.made[-1].status is OperationStatus.STARTED, service.made[-1]


def started() -> Operation:
    return Operation(
        operation_id="execution",
        operation_type=OperationType.EXECUTION,
        status=OperationStatus.STARTED,
        start_timestamp=_NOW,
        execution_details=ExecutionDetails(input_payload="{}"),
    )


class DurableFunctions(Worker):
    def __init__(self) -> None:
        self._prepared: dict[str, tuple[Callable[[Any, Any], Any], list[Operation]]] = {}

    def versions(self) -> dict[str, str]:
        return {"aws-durable-execution-sdk-python": version("aws-durable-execution-sdk-python")}

    def prepare(self, workload: str) -> None:
        program = BY_KEY.get(workload)
        if not isinstance(program, Pausing):
            raise CannotError("computes in CPython itself, without a sandbox")
        # All answers at once, so in one invocation; the last one is that of the hop.
        service = Service(program.answered + 1, json.dumps(program.answer))
        handle = handler(program)
        invoke(handle, [started()], service)
        self._prepared[workload] = (handle, [started(), *service.made[: program.answered + 1]])
        for _ in range(2):
            self._hop(workload)

    def measure(self, workload: str, rounds: int, seconds: float) -> dict[str, Any]:
        _, history = self._prepared[workload]
        times: dict[str, list[float]] = {"hop": [], "invocation": []}
        began = time.perf_counter()
        while len(times["hop"]) < rounds and (not times["hop"] or time.perf_counter() - began < seconds):
            hop, invocation = self._hop(workload)
            times["hop"].append(hop)
            times["invocation"].append(invocation)
        return {
            "times": times,
            "sizes": {"state": len(_json([*history[:-1], _unanswered(history[-1])]))},
        }

    def _hop(self, workload: str) -> tuple[float, float]:
        handle, history = self._prepared[workload]
        event = _json(history)
        service = Service(0, "")
        began = time.perf_counter()
        # As the service gives it to the function.
        state = InitialExecutionState.from_json_dict(json.loads(event))
        invoke(handle, state.operations, service)
        ended = time.perf_counter()
        return 1e3 * (service.recorded - began), 1e3 * (ended - began)


def _unanswered(callback: Operation) -> Operation:
    """As it was before the hop."""
    details = callback.callback_details
    assert details is not None
    return replace(
        callback,
        status=OperationStatus.STARTED,
        end_timestamp=None,
        callback_details=CallbackDetails(details.callback_id),
    )


def _json(history: list[Operation]) -> bytes:
    return json.dumps(InitialExecutionState(operations=history, next_marker="").to_json_dict()).encode()


if __name__ == "__main__":
    if sys.argv[1:] == ["first-pause"]:
        invoke(handler(pausing("W1")), [started()], Service(0, ""))
        print("paused")
    else:
        serve(DurableFunctions())
