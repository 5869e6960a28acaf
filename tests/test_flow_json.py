"""The JSON form of what a flow returns."""

from __future__ import annotations

import base64
import hashlib
import json

import pytest

from sequential_core import SequentialFlow
from sequential_core.storage import MemoryStorage
from sequential_core.testing import MovedClock

TWO = 'const a = await fetch("https://a.test/");\nconst b = await fetch("https://b.test/" + a);\n[a, b]'

FIELDS = {
    *("id", "name", "status", "result", "error", "errorDetail", "fetchRequest", "fetchRequests"),
    *("toolCalls", "eventWaits", "timers"),
    *("vmState", "pausedState", "logs", "revision", "createdAt", "updatedAt", "expiresAt"),
    *("ttl", "retain", "language", "codeSha256", "taken", "keptEvents", "drive"),
}


@pytest.fixture
def flow():
    clock = MovedClock()
    return SequentialFlow(MemoryStorage(clock=clock), clock=clock)


def test_json_form_of_a_paused_task(flow):
    code = 'console.log("hi", 1);\nawait fetch("https://a.test/", {method: "POST", headers: {"X-A": "1"}, body: "b"})'
    task = flow.execute(code, id="task-1", name="label")
    request = {
        "id": 1,
        "kind": "fetch",
        "url": "https://a.test/",
        "method": "POST",
        "body": "b",
        "bodyEncoding": None,
        "redirect": "follow",
    }
    form = task.to_dict()
    assert form.keys() == FIELDS
    assert base64.b64decode(form.pop("vmState")) == task.vm_state
    assert form["fetchRequest"].pop("headers")["x-a"] == "1"
    assert form["fetchRequests"][0].pop("headers", {"x-a": "1"})["x-a"] == "1"
    paused = form.pop("pausedState")
    assert form == {
        "id": "task-1",
        "name": "label",
        "status": "paused",
        "result": None,
        "error": None,
        "errorDetail": None,
        "fetchRequest": request,
        "fetchRequests": [request],
        "toolCalls": [],
        "eventWaits": [],
        "timers": [],
        "logs": [{"level": "log", "message": "hi 1"}],
        "revision": 1,
        "createdAt": "2030-01-01T00:00:00.000000Z",
        "updatedAt": "2030-01-01T00:00:00.000000Z",
        "expiresAt": "2030-01-01T02:00:00.000000Z",
        "ttl": 7200,
        "retain": None,
        "language": "javascript",
        "codeSha256": hashlib.sha256(code.encode()).hexdigest(),
        "taken": [],
        "keptEvents": [],
        "drive": None,
    }
    assert paused == {
        "line": 2,
        "column": 7,
        "hops": 1,
        "requests": 1,
        "pending": [1],
        "stateBytes": len(task.vm_state),
        "timers": 0,
        "wakeAt": None,
    }


def test_json_form_of_a_completed_task(flow):
    flow.execute(TWO, id="task-1")
    flow.resume("task-1", fetch_response=1)
    form = flow.resume("task-1", fetch_response=2).to_dict()
    assert form.keys() == FIELDS
    assert form["status"] == "completed"
    assert form["result"] == [1, 2]
    for name in ("error", "errorDetail", "fetchRequest", "vmState", "pausedState", "expiresAt"):
        assert form[name] is None
    assert form["fetchRequests"] == form["timers"] == []
    assert [taken[:2] for taken in form["taken"]] == [[1, 1], [2, 2]]


def test_json_form_of_a_failed_task(flow):
    flow.execute('await fetch("http://a/u");\nthrow new RangeError("bad")', id="task-1")
    form = flow.resume("task-1", fetch_response=1).to_dict()
    assert form.keys() == FIELDS
    assert form["status"] == "error"
    assert form["error"] == "RangeError: bad"
    detail = form["errorDetail"]
    assert {name: detail[name] for name in ("kind", "name", "message", "line")} == {
        "kind": "exception",
        "name": "RangeError",
        "message": "bad",
        "line": 2,
    }
    assert detail.keys() == {"kind", "name", "message", "line", "column", "stack"}
    for name in ("result", "fetchRequest", "vmState", "pausedState", "expiresAt"):
        assert form[name] is None


def test_json_form_without_the_state(flow):
    task = flow.execute(TWO)
    assert task.to_dict(include_vm_state=False).keys() == FIELDS - {"vmState"}
    assert json.loads(json.dumps(task.to_dict())) == task.to_dict()


def test_task_reads_as_a_mapping_of_its_json_form(flow):
    task = flow.execute(TWO)
    assert dict(task) == task.to_dict()
    assert task["fetchRequest"]["url"] == task.fetch_request.url == "https://a.test/"
    assert set(task) == task.keys() == task.to_dict().keys()
    assert (len(task), task.get("nothing")) == (len(task.to_dict()), None)
    assert "vmState" in task
    with pytest.raises(KeyError):
        task["fetch_request"]


def test_stored_task_is_the_returned_one(flow):
    task = flow.execute('Promise.all([fetch("http://a/a"), fetch("http://a/b")])', id="task-1", name="n", retain=5)
    assert flow.get_task("task-1").to_dict() == task.to_dict()
    task = flow.resume("task-1", fetch_response={"z": 1, "a": [None, 1.5]})
    assert flow.get_task("task-1").to_dict() == task.to_dict()
    task = flow.resume("task-1", fetch_response=2)
    assert flow.get_task("task-1").to_dict() == task.to_dict()


def test_keys_that_are_no_strings_become_strings_as_json_has_it(flow):
    task = flow.execute("await fetch('http://a/a')")
    assert flow.resume(task.id, fetch_response={1: "a", "b": None}).result == {"1": "a", "b": None}
