"""Drives tasks: SQS calls it with messages of the driver's queue (`handlers/messages.py`), several at once.

Each message is dealt with on a thread of its own, and deleted when its task has been driven as far as it gets and the
next message is sent. One that fails comes again, a little later each time, and the others of its batch do not.
The last time, it goes to the dead letters with the reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

from aws_lambda_powertools.utilities.batch import AsyncBatchProcessor, EventType, async_process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from handlers.environment import DEAD_LETTERS, DRIVER_QUEUE, make_flow, settings, telemetry
from handlers.messages import MalformedMessageError, Message, Step, next_step
from sequential_core.driver import Driver, Waiting, Yielded
from sequential_core.driver.fetcher import Fetcher
from sequential_core.driver.rules import Rules
from sequential_core.driver.tools import EVENT_URL_TOOL, event_url_tool
from sequential_core.errors import ConfigurationError, OperatorError, RetryableError
from sequential_core.http import problems

#: So often a message is received before it is given up: the queue's maxReceiveCount in template.yaml.
MOST_TIMES = 10

# Messages of one batch, at most: the event source's BatchSize.
_AT_ONCE = 10

# Left at the end for what was begun: to save, and to send what comes next.
_MARGIN = timedelta(seconds=15)

# Half of the function's timeout, so that a request can be begun for as long.
_MOST_TIMEOUT = timedelta(seconds=60)

if settings.queue is None:
    raise ConfigurationError(DRIVER_QUEUE, "it must be the URL of the driver's queue")
if not settings.queue.has_dead_letters:
    raise ConfigurationError(DEAD_LETTERS, "it must be the URL of the queue of dead letters")
_queue = settings.queue

# Without a dispatcher, since a driver knows itself what comes next.
_flow = make_flow()
driver = Driver(_flow, fetcher=Fetcher(Rules(loopback=settings.loopback)), most_timeout=_MOST_TIMEOUT)

_processor = AsyncBatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False)
_threads = ThreadPoolExecutor(_AT_ONCE, "sequential-driver")


@functools.cache
def _equip() -> None:
    """Gives the driver what it needs the signing key for, when it first has a message."""
    key = settings.signing_key()
    driver.signing_key = key
    if key is not None and settings.public_url is not None:
        _flow.tools[EVENT_URL_TOOL] = event_url_tool(_flow, key=key, public_url=settings.public_url)


@telemetry.observed
def handler(event: Any, context: Any) -> Any:
    return async_process_partial_response(event, _on_a_thread, _processor, context)


async def _on_a_thread(record: SQSRecord, lambda_context: Any) -> None:
    seconds = lambda_context.get_remaining_time_in_millis() / 1000 - _MARGIN.total_seconds()
    await asyncio.get_running_loop().run_in_executor(_threads, _take, record, seconds)


def _take(record: SQSRecord, seconds: float) -> None:
    try:
        message = Message.read(record.body)
    except MalformedMessageError as error:
        # It will never be better, and there is no task to end.
        telemetry.logger.error("a message that is none of ours was dropped", extra={"error": str(error)})
        return
    if message.token is None:
        # Its own in each delivery: one that comes again before its claim is over goes on with what it has claimed.
        message = replace(message, token=record.message_id)
    times = int(record.attributes.approximate_receive_count)
    if times == 1:
        sent = int(record.attributes.sent_timestamp) / 1000
        telemetry.drive_began(max(time.time() - sent - message.delay_seconds, 0))
    try:
        _equip()
        take(message, seconds, came_before=times > 1)
    except Exception as error:
        told = problems.report(error, __name__)
        telemetry.drive_failed(message.task_id, type(error).__name__, times)
        if times >= MOST_TIMES:
            _queue.bury(message, f"{type(error).__name__}: {told['detail']}")
            return
        with contextlib.suppress(OperatorError, RetryableError):  # then it comes when the visibility timeout is over
            _queue.postpone(record.receipt_handle, times)
        raise


def take(message: Message, seconds: float, *, came_before: bool = False) -> None:
    """Does what is to be done about a message, and sends what has to come after.

    Args:
        message: the message.
        seconds: how long it may take.
        came_before: whether it was received before, and not deleted.

    Raises:
        StateError, StorageError, RetryableError: it could not be done; it can be tried again.
    """
    task = _flow.revisioned().load(message.task_id)
    match next_step(message, task, _flow.now(), came_before=came_before):
        case Step.DRIVE:
            standing = driver.drive(message.task_id, token=message.token, seconds=seconds, task=task)
            match standing:
                case Waiting(task) if task.drive is not None and task.drive.due_at is not None:
                    _queue.wake(task)
                case Yielded(task, token):
                    _queue.send(Message(task.id, token=token))
                case _:
                    pass  # it has ended, waits for somebody, or is another's
        case Step.WAKE:
            assert task is not None, "it is due some time"
            _queue.wake(task)
        case _:
            pass
