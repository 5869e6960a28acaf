"""Messages that come twice, late and in any order, and functions that die at any moment: every task ends once.

SQS and EventBridge Scheduler are played, in time that the test moves from message to message; the functions are the
real ones. When no message is left, nobody will ever look at a task again: by then each must have ended.
"""

from __future__ import annotations

import heapq
import itertools
import json
import os
import random
import threading
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from botocore.exceptions import ClientError

from handlers.queue import Queue, Schedules, SqsDispatcher
from sequential_core import MemoryStorage, create_flow
from sequential_core.drive import Policy
from sequential_core.driver import Driver, Fetcher
from sequential_core.errors import StorageBusyError
from sequential_core.model import Status
from sequential_core.storage import aws
from sequential_core.testing import MovedClock

# As in template.yaml.
VISIBILITY_SECONDS = 720
MOST_RECEIVED = 10

REQUESTS = 8
FANNED_OUT = 4

POLICY = Policy(attempts=20)

# A task leaves its driver for the event, the sleep and after failed attempts; each time there is one message more,
# and some of them die. The rest is what duplicates and watchdogs bring.
_MOST_SENT = 60
_MOST_SENT_ON_AVERAGE = 20


def _code(name):
    return f"""
const given = [];
for (let hop = 1; hop <= {REQUESTS}; hop++) {{
    const url = `https://api.test/{name}/${{hop}}`;
    if (hop === 3) given.push(await waitForEvent("go"));
    if (hop === 5) await sleep(5_000);
    if (hop === 7) await sleep(3_600_000);
    given.push(hop % 2 ? await fetch(url) : await fetch(url, {{ method: "POST", body: given.at(-1) }}));
}}
const all = Array.from({{ length: {FANNED_OUT} }}, (_, each) => fetch(`https://api.test/{name}/all/${{each}}`));
[given, await Promise.all(all)]
"""


class _KilledError(BaseException):
    """The process is no more."""


class _Fuse:
    """Kills the process, or lets what it calls fail, at a random one of its calls."""

    def __init__(self, order):
        self._order = order
        self._left = None

    def light(self, chance):
        self._left = self._order.randint(1, 25) if self._order.random() < chance else None

    def spark(self):
        if self._left is None:
            return
        self._left -= 1
        if self._left == 0:
            raise _KilledError
        if self._order.random() < 0.05:
            raise StorageBusyError


class _Storage(MemoryStorage):
    """What it is asked for may be done though it seems to have failed."""

    def __init__(self, fuse, clock):
        super().__init__(clock=clock)
        self._fuse = fuse
        self.ends = Counter()

    def save(self, task, *, expected_revision=None):
        self._fuse.spark()
        super().save(task, expected_revision=expected_revision)
        before = getattr(self, "_before", {})
        if task.status is not Status.PAUSED and before.get(task.id) is Status.PAUSED:
            self.ends[task.id] += 1
        self._before = {**before, task.id: task.status}
        self._fuse.spark()

    def load(self, task_id):
        self._fuse.spark()
        return super().load(task_id)


class _Aws:
    """SQS and EventBridge Scheduler, as bad as they may be.

    A message may come twice and late, so that the order is any. One that is not deleted comes again.
    """

    def __init__(self, order, fuse, clock):
        self._order, self._fuse, self._clock = order, fuse, clock
        self._numbers = itertools.count()
        self._waiting = []
        self._names = set()
        self._visibility = {}
        self._lock = threading.Lock()
        self.sent = Counter()
        self.given_up = []

    def client(self, service):
        assert service in ("sqs", "scheduler")
        return self

    def send_message(self, *, QueueUrl, MessageBody, DelaySeconds=0):  # noqa: N803  # as boto names them
        assert 0 <= DelaySeconds <= 900
        self._fuse.spark()
        if QueueUrl == "dead":
            self.given_up.append(MessageBody)
        else:
            self._put(timedelta(seconds=DelaySeconds), MessageBody)
        self._fuse.spark()

    def change_message_visibility(self, *, QueueUrl, ReceiptHandle, VisibilityTimeout):  # noqa: N803
        self._fuse.spark()
        self._visibility[ReceiptHandle] = VisibilityTimeout

    def create_schedule(self, *, Name, ScheduleExpression, Target, **_):  # noqa: N803
        self._fuse.spark()
        if Name in self._names:
            raise ClientError({"Error": {"Code": "ConflictException"}}, "CreateSchedule")
        self._names.add(Name)
        at = datetime.strptime(ScheduleExpression, "at(%Y-%m-%dT%H:%M:%S)").replace(tzinfo=UTC)
        self._put(at + timedelta(seconds=self._order.uniform(0, 60)) - self._clock(), Target["Input"])
        self._fuse.spark()

    def _put(self, delay, body):
        with self._lock:
            self.sent[json.loads(body)["id"]] += 1
            message_id = f"message-{next(self._numbers)}"
            for _ in range(2 if self._order.random() < 0.3 else 1):
                late = timedelta(seconds=self._order.choice([0, 0, 0.1, 2, 30]) * self._order.random())
                self.call_at(self._clock() + delay + late, (message_id, body, 1))

    def call_at(self, at, what):
        """Puts a message, or whatever else is to happen, at its time."""
        heapq.heappush(self._waiting, (at, next(self._numbers), what))

    def next(self):
        """What is next, and the time of it; None if nothing will ever come."""
        if not self._waiting:
            return None
        at, _, what = heapq.heappop(self._waiting)
        self._clock.advance(max(at - self._clock(), timedelta(0)))
        return what

    def give_back(self, message_id, body, times):
        """Lets a message come again."""
        assert times < MOST_RECEIVED, "this one will be a dead letter"
        seconds = self._visibility.pop(message_id, VISIBILITY_SECONDS)
        self.call_at(self._clock() + timedelta(seconds=seconds), (message_id, body, times + 1))


class _Server:
    """Answers, or fails; each request takes its time."""

    def __init__(self, order, clock):
        self._order, self._clock = order, clock
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self.effects = {}
        self.keys = defaultdict(set)
        self.bodies = defaultdict(set)

    def __call__(self, request):
        with self._lock:
            path, key = request.url.path, request.headers.get("idempotency-key")
            self._clock.advance(timedelta(seconds=self._order.uniform(0, 10)))
            if request.method == "POST":
                self.keys[path].add(key)
                self.bodies[path].add(request.content)
                answer = self.effects.setdefault(key, f"{path} {next(self._numbers)}")
            else:
                answer = f"{path} {next(self._numbers)}"
            match self._order.randrange(20):
                case 0:
                    return self._response(500, "failed")
                case 1:
                    return self._response(429, "not now", {"retry-after": "120"})
                case 2:
                    raise httpx.ReadTimeout("too slow")
        return self._response(200, answer)

    def _response(self, status, text, headers=None):
        return httpx.Response(status, stream=httpx.ByteStream(text.encode()), headers=headers)


@pytest.mark.parametrize("tasks", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_every_task_ends_once_however_messages_come_and_functions_die(start, context, monkeypatch, capsys, tasks):
    seed = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(10**6))
    order = random.Random(seed)
    clock = MovedClock()
    fuse = _Fuse(order)
    queues = _Aws(order, fuse, clock)
    server = _Server(order, clock)
    module = start("driver", SEQUENTIAL_DRIVER_QUEUE="driver", SEQUENTIAL_DRIVER_DEAD_LETTERS="dead")
    monkeypatch.setattr(aws, "client", queues.client)
    storage = _Storage(fuse, clock)
    queue = Queue("driver", schedules=Schedules("group", "role", "arn"), dead_letters="dead", clock=clock)
    flow = create_flow(storage, clock=clock)
    fetcher = Fetcher(network=httpx.MockTransport(server), clock=clock)
    # Nothing comes of waiting in a time that does not pass.
    driver = Driver(flow, fetcher=fetcher, most_timeout=POLICY.timeout, patience=timedelta(0), chance=order)
    for name, value in (("_queue", queue), ("_flow", flow), ("driver", driver)):
        monkeypatch.setattr(module, name, value)
    callers = create_flow(storage, clock=clock, dispatcher=SqsDispatcher(queue, clock=clock))

    def call(function):
        """As a caller that is told that it failed, or nothing at all, and tries again."""
        while True:
            fuse.light(0.5)
            try:
                return function()
            except (_KilledError, StorageBusyError):
                clock.advance(timedelta(seconds=1))
            finally:
                fuse.light(0)

    def receive(message_id, body, times):
        attributes = {"ApproximateReceiveCount": str(times), "SentTimestamp": "0"}
        record = {
            "messageId": message_id,
            "receiptHandle": message_id,
            "body": body,
            "attributes": attributes,
            "eventSource": "aws:sqs",
        }
        # Some functions have time for one more request, or for none.
        context.remaining_milliseconds = order.choice([120_000, 120_000, 120_000, 50_000, 20_000])
        fuse.light(0.5)
        try:
            failed = module.handler({"Records": [record]}, context)["batchItemFailures"]
        except _KilledError:
            failed = ["all"]
        finally:
            fuse.light(0)
        if failed:
            queues.give_back(message_id, body, times)

    names = [f"task-{number}" for number in range(tasks)]
    for name in names:
        call(lambda name=name: callers.execute(_code(name), id=name, drive=POLICY))
        queues.call_at(clock() + timedelta(seconds=order.choice([0, 60, 7200]) * order.random()), name)
    received = 0
    while (what := queues.next()) is not None:
        if isinstance(what, str):
            call(lambda name=what: callers.send_event(name, "go", f"{name} may go", idempotency_key="once"))
        else:
            received += 1
            assert received < tasks * _MOST_SENT * 3, "it does not end"
            receive(*what)
    with capsys.disabled():
        print(
            f"\nseed {seed}: {tasks} tasks, {sum(queues.sent.values()) / tasks:.1f} messages were sent for each,",
            end=" ",
        )
        print(f"{max(queues.sent.values())} at most; {received / tasks:.1f} were received")

    stalled = [name for name in names if flow.get_task(name).status is Status.PAUSED]
    assert stalled == []
    assert queues.given_up == []
    for name in names:
        _check_task(flow.get_task(name), server)
    assert storage.ends == Counter(names)
    assert max(queues.sent.values()) < _MOST_SENT
    assert sum(queues.sent.values()) < tasks * _MOST_SENT_ON_AVERAGE


def _check_task(task, server):
    assert task.status is Status.COMPLETED, task.error_detail
    given, fanned_out = task.result
    assert given[2] == f"{task.id} may go"
    answers = given[:2] + given[3:]
    paths = [f"/{task.id}/{hop}" for hop in range(1, REQUESTS + 1)]
    assert [answer.split()[0] for answer in answers] == paths
    assert [answer.split()[0] for answer in fanned_out] == [f"/{task.id}/all/{each}" for each in range(FANNED_OUT)]
    assert len({*answers, *fanned_out}) == REQUESTS + FANNED_OUT
    for hop in range(2, REQUESTS + 1, 2):
        path = paths[hop - 1]
        (key,), (body,) = server.keys[path], server.bodies[path]
        assert body.decode() == answers[hop - 2]
        assert server.effects[key] == answers[hop - 1]
    assert len({exchange.url for exchange in task.drive.history}) == len(task.drive.history) == REQUESTS + FANNED_OUT
