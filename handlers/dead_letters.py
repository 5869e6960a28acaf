"""Ends tasks that could not be driven: SQS calls it with the messages that the driver's queue has given up.

Those that the driver itself has given up say why. A message whose driver died each time says nothing.
"""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from handlers.environment import DRIVER_QUEUE, flow, settings, telemetry
from handlers.messages import MalformedMessageError, Message, Step, last_step
from sequential_core.errors import ConfigurationError, TaskEndedError, TaskNotFoundError
from sequential_core.http import problems
from sequential_core.model import ErrorDetail, ErrorKind, Task

_NO_REASON = "it ended each time without saying why, as for want of time or memory"

if settings.queue is None:
    raise ConfigurationError(DRIVER_QUEUE, "it must be the URL of the driver's queue")
_queue = settings.queue

_processor = BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False)


class StillClaimedError(Exception):
    """The claim that the message was for has not ended. The message comes again."""


@telemetry.observed
def handler(event: Any, context: Any) -> Any:
    return process_partial_response(event, _give_up, _processor, context)


def _give_up(record: SQSRecord) -> None:
    try:
        message = Message.read(record.body)
    except MalformedMessageError as error:
        telemetry.dead_letter("", f"it is none of ours: {error}")
        return
    try:
        telemetry.dead_letter(message.task_id, give_up(message))
    except StillClaimedError:
        raise
    except Exception as error:
        problems.report(error, __name__)  # tells the log
        raise


def give_up(message: Message) -> str:
    """Does what is to be done about a message that nobody could deal with; what became of its task.

    Raises:
        StillClaimedError: it is too early.
        TaskConflictError: somebody has just changed the task.
        StorageError, RetryableError: the task is as it was.
    """
    task = flow.revisioned().load(message.task_id)
    match last_step(message, task, flow.now()):
        case Step.FAIL:
            assert task is not None, "it is due"
            return _fail(task, message.reason)
        case Step.WAKE:
            assert task is not None, "it is due some time"
            _queue.wake(task)
            return "it is looked at again when it is due"
        case Step.LATER:
            raise StillClaimedError
        case _:
            return "it had ended, or goes on without this message"


def _fail(task: Task, reason: str | None) -> str:
    text = f"the driver failed repeatedly: {reason or _NO_REASON}"
    try:
        flow.fail_task(task.id, ErrorDetail(ErrorKind.DRIVER, "DriverError", text), revision=task.revision)
    except (TaskEndedError, TaskNotFoundError):
        return "it had ended"
    return "it has ended with an error"
