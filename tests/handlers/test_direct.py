from __future__ import annotations

import json
from pathlib import Path

import pytest

from sequential_core.errors import StorageError

TWO = 'const a = await fetch("https://api.test/a"); const b = await fetch("https://api.test/b"); [a, b]'


def failed(call, name, event):
    """Type and message of the error that a call fails with."""
    with pytest.raises(Exception) as caught:  # the runtime's class tells nothing
        call(name, event)
    assert caught.value.trace is None  # the runtime would give it to the caller
    return caught.value.exception_type, caught.value.msg


def test_reference_program_through_the_functions(call):
    task = call("execute", {"code": TWO, "name": "two"})
    assert task["fetchRequest"]["url"] == "https://api.test/a"
    assert "vmState" not in task
    task = call("resume", {"id": task["id"], "fetchResponse": 1})
    assert call("task", {"action": "get", "id": task["id"]})["revision"] == 2
    task = call("resume", {"id": task["id"], "response": {"status": 200, "body": "x"}, "requestId": 2, "revision": 2})
    assert task["status"] == "completed"
    assert failed(call, "task", {"action": "get", "id": task["id"]})[0] == "TaskNotFoundError"


def test_state_is_given_when_it_is_asked_for(call):
    task = call("execute", {"code": TWO})
    assert call("task", {"action": "get", "id": task["id"], "include": "vmState"})["vmState"]


def test_the_events_of_a_program_that_sleeps(call):
    events = Path(__file__).parents[2] / "events"
    task = call("execute", json.loads((events / "execute-typescript.json").read_text()))
    assert (task["language"], task["fetchRequest"], task["pausedState"]["timers"]) == ("typescript", None, 1)
    assert call("resume", json.loads((events / "resume-timers.json").read_text()))["id"] == task["id"]


def test_a_program_in_typescript(call):
    event = {"code": "const n: number = await fetch('http://a/u'); n! + 1", "language": "typescript"}
    task = call("execute", event)
    assert call("resume", {"id": task["id"], "fetchResponse": 1})["result"] == 2
    assert failed(call, "execute", {**event, "code": "enum A {}"})[0] == "CodeSyntaxError"
    assert failed(call, "execute", {**event, "code": "(" * 99_999})[0] == "CodeTooComplexError"
    kind, message = failed(call, "execute", {**event, "language": "elm"})
    assert (kind, message) == ("InvalidRequestError", "language: it must be one of javascript, typescript")


def test_list_and_delete(call):
    tasks = [call("execute", {"code": TWO})["id"] for _ in range(3)]
    page = call("task", {"action": "list", "limit": 2})
    rest = call("task", {"action": "list", "cursor": page["cursor"], "status": "paused"})
    assert sorted(task["id"] for task in page["tasks"] + rest["tasks"]) == sorted(tasks)
    assert rest["cursor"] is None
    assert failed(call, "task", {"action": "delete", "id": tasks[0], "revision": 2})[0] == "TaskConflictError"
    assert call("task", {"action": "delete", "id": tasks[0]}) == {"id": tasks[0], "deleted": True}
    assert failed(call, "task", {"action": "delete", "id": tasks[0]})[0] == "TaskNotFoundError"


def test_event_that_comes_twice_counts_once(call):
    event = {"code": TWO, "idempotencyKey": "order-7"}
    task = call("execute", event)
    assert call("execute", event)["id"] == task["id"]
    for revision, answer in enumerate(("a", "b"), start=2):
        event = {"id": task["id"], "fetchResponse": answer, "idempotencyKey": f"answer-{answer}"}
        assert call("resume", event)["revision"] == call("resume", event)["revision"] == revision
    assert call("resume", event)["result"] == ["a", "b"]


def test_defaults_of_the_environment(call):
    task = call("execute", {"code": TWO}, SEQUENTIAL_TTL_SECONDS="60", SEQUENTIAL_RETAIN_SECONDS="30")
    assert (task["ttl"], task["retain"]) == (60, 30)


@pytest.mark.parametrize(
    ("name", "event", "kind"),
    [
        ("execute", None, "InvalidRequestError"),
        ("execute", [], "InvalidRequestError"),
        ("execute", "code", "InvalidRequestError"),
        ("execute", {}, "InvalidRequestError"),
        ("execute", {"code": "1", "storage": "memory:"}, "InvalidRequestError"),
        ("execute", {"code": 1}, "InvalidCodeError"),
        ("execute", {"code": "1 +"}, "CodeSyntaxError"),
        ("execute", {"code": " " * 300_000}, "CodeTooLargeError"),
        ("resume", {"id": "none", "fetchResponse": 1}, "TaskNotFoundError"),
        ("resume", {"id": "", "fetchResponse": 1}, "InvalidTaskIdError"),
        ("resume", {"id": "a"}, "TaskNotFoundError"),
        ("resume", {"fetchResponse": 1}, "InvalidRequestError"),
        ("task", {}, "InvalidRequestError"),
        ("task", {"action": "drop"}, "InvalidRequestError"),
        ("task", {"action": ["get"]}, "InvalidRequestError"),
        ("task", {"action": "get"}, "InvalidRequestError"),
        ("task", {"action": "get", "id": None}, "InvalidTaskIdError"),
        ("task", {"action": "get", "id": "a", "include": "code"}, "InvalidRequestError"),
        ("task", {"action": "get", "id": "a", "status": "paused"}, "InvalidRequestError"),
        ("task", {"action": "list", "status": "lost"}, "InvalidRequestError"),
        ("task", {"action": "list", "limit": "many"}, "InvalidRequestError"),
        ("task", {"action": "list", "cursor": "x"}, "InvalidRequestError"),
    ],
)
def test_bad_event_fails_with_the_name_of_its_error(call, name, event, kind):
    assert failed(call, name, event)[0] == kind


def test_what_is_the_operators_is_not_told(call, start, monkeypatch, capsys):
    def broken(**_):
        raise StorageError("the table secret-table refused it")

    monkeypatch.setattr(start("environment").flow, "get_task", broken)
    kind, message = failed(call, "task", {"action": "get", "id": "a"})
    assert kind == "StorageError"
    assert "secret-table" not in message
    assert "secret-table" in capsys.readouterr().out


def test_what_nobody_expected_is_not_told(call, start, monkeypatch, capsys):
    def broken(**_):
        raise RuntimeError("/var/task/secret")

    monkeypatch.setattr(start("environment").flow, "get_task", broken)
    kind, message = failed(call, "task", {"action": "get", "id": "a"})
    assert kind == "InternalError"
    assert "/var/task" not in message
    assert "RuntimeError" in capsys.readouterr().out


@pytest.mark.parametrize("result", ["\ud800", "😀", "\ud83d\ude00", "a\ud800b"])
def test_answer_can_be_encoded_whatever_strings_are_in_it(call, result):
    answer = call("execute", {"code": json.dumps(result)})
    told = json.dumps(answer, ensure_ascii=False).encode()  # as the runtime does it
    assert json.loads(told)["result"] == result.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
