"""Tasks that the deployed driver drives, against a real server that also misbehaves."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from infra.test_deploy import ANSWERS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


class _Handler(BaseHTTPRequestHandler):
    """Answers what the reference program asks for, and numbers with their squares, most of them not at once."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.seen[self.path] += 1
        if self.path in ANSWERS:
            self._send(200, ANSWERS[self.path])
            return
        number, first = int(self.path.rpartition("/")[2]), self.server.seen[self.path] == 1
        match number % 5 if first else 0:
            case 1:
                self._send(503, "busy", retry_after="0")
            case 2:
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(b"half")
                self.close_connection = True
            case 3:
                self.close_connection = True  # not even a status
            case 4:
                time.sleep(0.3)
                self._send(200, number * number)
            case _:
                self._send(200, number * number)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.told.append((dict(self.headers), json.loads(body)))
        self._send(200, None)

    def _send(self, status, value, *, retry_after=None):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if retry_after is not None:
            self.send_header("Retry-After", retry_after)
        self.end_headers()
        self.wfile.write(body)

    def handle(self):
        with contextlib.suppress(ConnectionError):
            super().handle()

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    """Attributes: seen: how often each path was asked for; told: headers and bodies of what was posted."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seen = Counter()
        self.told = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def server():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ended(stack, task_id, seconds=90):
    """A task when it has ended."""
    return when(stack, task_id, lambda task: task["status"] != "paused", seconds)


def when(stack, task_id, condition, seconds=90):
    """A task when something holds of it."""
    deadline = time.monotonic() + seconds
    while not condition(task := stack.invoke("Task", {"action": "get", "id": task_id})):
        assert time.monotonic() < deadline, (task, stack.cloud.log.read_text()[-3000:])
        time.sleep(0.2)
    return task


def counted(stack, queue):
    """How many messages are in a queue: those to be read, in work, and delayed."""
    made = stack.cloud.client("sqs").get_queue_attributes(QueueUrl=stack.outputs[queue], AttributeNames=["All"])
    return tuple(
        int(made["Attributes"][f"ApproximateNumberOfMessages{kind}"]) for kind in ("", "NotVisible", "Delayed")
    )


def sent(stack, body):
    stack.cloud.client("sqs").send_message(QueueUrl=stack.outputs["DriverQueueUrl"], MessageBody=json.dumps(body))


def reference(url):
    return f'const user = await fetch("{url}/user/1"); const posts = await fetch("{url}/posts"); [user, posts]'


# --- From the caller to the end ---


def test_the_reference_program_is_driven_to_its_end(stack, server, task_id):
    made = stack.invoke("Execute", {"code": reference(server.url), "id": task_id, "drive": True})
    assert made["status"] == "paused"
    task = ended(stack, task_id)
    assert (task["status"], task["result"]) == ("completed", list(ANSWERS.values()))
    assert server.seen == dict.fromkeys(ANSWERS, 1)
    assert [(each["status"], each["attempts"]) for each in task["drive"]["history"]] == [(200, 1), (200, 1)]


def test_a_program_that_asks_a_server_which_misbehaves_for_100_numbers_at_once_gets_them_all(stack, server, task_id):
    code = (
        "const numbers = Array.from({length: 100}, (_, number) => number);"
        f"await Promise.all(numbers.map(number => fetch(`{server.url}/squares/${{number}}`)))"
    )
    stack.invoke("Execute", {"code": code, "id": task_id, "drive": {"backoff": 0.1}})
    task = ended(stack, task_id)
    assert task["result"] == [number * number for number in range(100)], task["error"]
    # Once, and once more those whose first answer was none.
    assert server.seen == {f"/squares/{n}": 2 if n % 5 in (1, 2, 3) else 1 for n in range(100)}


def test_40_tasks_are_driven_side_by_side_and_each_request_is_made_once(stack, server, task_id):
    ids = [f"{task_id}-{number}" for number in range(40)]
    code = "let sum = 0; for (const n of [0, 5, 10]) sum += await fetch(`{url}/squares/{id}/${n}`); sum"
    for each in ids:
        written = code.replace("{url}", server.url).replace("{id}", each)
        stack.invoke("Execute", {"code": written, "id": each, "drive": True})
    assert {ended(stack, each)["result"] for each in ids} == {125}
    assert server.seen == {f"/squares/{each}/{n}": 1 for each in ids for n in (0, 5, 10)}
    assert counted(stack, "DriverDeadLettersUrl") == (0, 0, 0)


def test_a_caller_over_http_sends_an_event_and_is_called_back(stack, caller, server, task_id):
    ask = f"await fetch('{server.url}/squares/5')"
    body = {"code": f"{ask} + await waitForEvent('more') + {ask}", "id": task_id, "drive": True}
    body["callbackUrl"] = f"{server.url}/done"
    assert stack.request("POST", "/tasks", body, caller=caller).status_code == 201
    when(stack, task_id, lambda task: task["eventWaits"])
    assert stack.request("POST", f"/tasks/{task_id}/events/more", 7, caller=caller).status_code == 200
    task = when(stack, task_id, lambda task: task["drive"]["callback"]["deliveredAt"])
    assert (task["status"], task["result"]) == ("completed", 57)
    ((headers, told),) = server.told
    assert told["result"] == 57
    assert headers["webhook-signature"].startswith("v1,")


def test_code_gives_somebody_a_url_to_answer_by(stack, server, task_id):
    code = (
        "const url = await callTool('sequential.eventUrl', {name: 'answer', ttl: 60});"
        f"await fetch('{server.url}/', {{method: 'POST', body: JSON.stringify(url)}});"
        "await waitForEvent('answer')"
    )
    stack.invoke("Execute", {"code": code, "id": task_id, "drive": True})
    when(stack, task_id, lambda task: task["eventWaits"])
    ((_, url),) = server.told
    assert url.startswith(stack.outputs["Url"] + "/events/")
    answered = stack.request("POST", url.removeprefix(stack.outputs["Url"]), "yes")
    assert answered.status_code == 202, answered.text
    assert ended(stack, task_id)["result"] == "yes"


def test_a_task_is_handed_to_the_driver_and_another_is_cancelled(stack, caller, server, task_id):
    stack.invoke("Execute", {"code": reference(server.url), "id": task_id})
    assert stack.request("POST", f"/tasks/{task_id}/drive", caller=caller).status_code == 200
    assert ended(stack, task_id)["result"] == list(ANSWERS.values())
    stack.invoke("Execute", {"code": "await sleep(3_600_000)", "id": f"{task_id}-2", "drive": True})
    cancelled = stack.request("POST", f"/tasks/{task_id}-2/cancel", caller=caller)
    assert (cancelled.status_code, cancelled.json()["errorDetail"]["kind"]) == (200, "cancelled")


# --- Waiting ---


def test_a_task_that_sleeps_is_woken(stack, server, task_id):
    ask = f"await fetch('{server.url}/squares/5')"
    code = f"const before = {ask}; await sleep(3000); before + {ask}"
    stack.invoke("Execute", {"code": code, "id": task_id, "drive": True})
    asleep = when(stack, task_id, lambda task: task["timers"])
    assert len(asleep["drive"]["history"]) == 1
    assert ended(stack, task_id)["result"] == 50


def expression_of(scheduler, name):
    """When a schedule fires; None if there is none."""
    try:
        return scheduler.get_schedule(Name=name, GroupName="sequential")["ScheduleExpression"]
    except scheduler.exceptions.ResourceNotFoundException:
        return None


def test_a_long_sleep_is_a_schedule_and_what_comes_early_is_sent_on(stack, task_id):
    scheduler = stack.cloud.client("scheduler")
    stack.invoke("Execute", {"code": "await sleep(86_400_000)", "id": task_id, "drive": True})
    sent(stack, {"id": task_id})  # the watchdog, early
    task = when(stack, task_id, lambda _: scheduler.list_schedules(GroupName="sequential")["Schedules"])
    (made,) = scheduler.list_schedules(GroupName="sequential")["Schedules"]
    schedule = scheduler.get_schedule(Name=made["Name"], GroupName="sequential")
    assert schedule["ActionAfterCompletion"] == "DELETE"
    assert json.loads(schedule["Target"]["Input"]) == {"id": task_id, "due": task["drive"]["dueAt"]}
    assert ":sequential-driver" in schedule["Target"]["Arn"]

    # A day early it fires here, and is gone; its message reaches the driver, which makes it anew.
    fields = ("FlexibleTimeWindow", "ActionAfterCompletion", "Target", "Name", "GroupName")
    soon = {"ScheduleExpression": "at(2026-01-01T00:00:00)", **{name: schedule[name] for name in fields}}
    scheduler.update_schedule(**soon)
    when(stack, task_id, lambda _: expression_of(scheduler, made["Name"]) == schedule["ScheduleExpression"])
    stack.invoke("Task", {"action": "delete", "id": task_id})
    scheduler.delete_schedule(Name=made["Name"], GroupName="sequential")


# --- Again, late, and never ---


def test_messages_that_come_again_or_late_change_nothing(stack, server, task_id):
    made = stack.invoke("Execute", {"code": reference(server.url), "id": task_id, "drive": True})
    turn = {"id": task_id, "token": made["drive"]["claim"]}
    for _ in range(5):
        sent(stack, turn)
        sent(stack, {"id": task_id})
        sent(stack, {"id": task_id, "due": made["drive"]["dueAt"]})
    task = ended(stack, task_id)
    assert task["result"] == list(ANSWERS.values())
    when(stack, task_id, lambda _: counted(stack, "DriverQueueUrl")[:2] == (0, 0))
    assert stack.invoke("Task", {"action": "get", "id": task_id})["revision"] == task["revision"] == 3


def test_a_message_that_fails_as_often_as_may_be_ends_its_task_with_an_error(stack, task_id):
    """SQS gives it up here at the first time, and the driver may make no schedule meanwhile."""
    queues, iam = stack.cloud.client("sqs"), stack.cloud.client("iam")
    queue, role = stack.outputs["DriverQueueUrl"], stack.configuration("Driver")["Role"].rpartition("/")[2]
    given = iam.get_role_policy(RoleName=role, PolicyName="wakes-here")["PolicyDocument"]
    before = queues.get_queue_attributes(QueueUrl=queue, AttributeNames=["RedrivePolicy"])["Attributes"]
    once = json.dumps({**json.loads(before["RedrivePolicy"]), "maxReceiveCount": 1})
    iam.delete_role_policy(RoleName=role, PolicyName="wakes-here")
    queues.set_queue_attributes(QueueUrl=queue, Attributes={"RedrivePolicy": once})
    try:
        made = stack.invoke("Execute", {"code": "await sleep(86_400_000)", "id": task_id, "drive": True})
        sent(stack, {"id": task_id, "due": made["drive"]["dueAt"]})
        task = ended(stack, task_id)
    finally:
        queues.set_queue_attributes(QueueUrl=queue, Attributes=before)
        iam.put_role_policy(RoleName=role, PolicyName="wakes-here", PolicyDocument=json.dumps(given))
    assert (task["status"], task["errorDetail"]["kind"]) == ("error", "driver")
    assert task["error"].startswith("DriverError: the driver failed repeatedly: ")
