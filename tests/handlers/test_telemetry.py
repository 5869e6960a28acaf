from __future__ import annotations

import json

import pytest

from sequential_core.errors import SequentialError, StorageError

CODE = 'console.log("logged-secret"); const a = await fetch("https://secret.test/", {headers: {x: "header-secret"}}); a'


@pytest.fixture
def lines(capsys):
    def lines():
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return lines


def metrics(lines):
    return [line for line in lines if "_aws" in line]


def logs(lines):
    return [line for line in lines if "level" in line]


def test_hops_are_logged_with_task_and_revision(call, lines):
    task = call("execute", {"code": CODE})
    call("resume", {"id": task["id"], "fetchResponse": "answer-secret"})
    first, second = (line for line in logs(lines()) if line["message"] == "hop")
    assert (first["task_id"], first["revision"], first["status"]) == (task["id"], 1, "paused")
    assert first["state_bytes"] == task["pausedState"]["stateBytes"]
    assert first["hop_milliseconds"] > 0
    assert (second["revision"], second["status"]) == (2, "completed")
    assert first["function_request_id"] == "8f3c8f0e-7a52-4a3e-9b0e-0d5f4c0c0f5e"


@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
def test_no_code_body_state_or_log_of_the_program_is_logged(call, capsys, level):
    quiet = {"POWERTOOLS_LOG_LEVEL": level, "POWERTOOLS_LOGGER_LOG_EVENT": "true"}
    task = call("execute", {"code": CODE, "name": "name-secret"}, **quiet)
    state = call("task", {"action": "get", "id": task["id"], "include": "vmState"}, **quiet)["vmState"]
    call("resume", {"id": task["id"], "fetchResponse": "answer-secret"}, **quiet)
    call("execute", {"code": "throw new Error('message-secret')"}, **quiet)
    for event in ({"code": "'syntax-secret' +"}, {"code": "1", "field-secret": 1}):
        with pytest.raises(Exception):  # noqa: B017  # what is logged of it is the matter
            call("execute", event, **quiet)
    told = capsys.readouterr().out
    assert "secret" not in told
    assert state not in told


@pytest.mark.parametrize("service", ["sequential", "staging"])
def test_service_has_its_name_in_logs_and_metrics(call, start, monkeypatch, lines, service):
    def broken(**_):
        raise StorageError("refused")

    monkeypatch.setattr(start("environment", POWERTOOLS_SERVICE_NAME=service).flow, "get_task", broken)
    call("execute", {"code": "1"}, POWERTOOLS_SERVICE_NAME=service)
    with pytest.raises(Exception):  # noqa: B017  # what is logged of it is the matter
        call("task", {"action": "get", "id": "a"}, POWERTOOLS_SERVICE_NAME=service)
    told = lines()
    assert {line["service"] for line in told} == {service}
    assert [line["level"] for line in logs(told)] == ["INFO", "ERROR"]  # each once


def test_metrics_of_a_pause(call, lines):
    task = call("execute", {"code": CODE})
    (found,) = metrics(lines())
    assert found["service"] == "sequential"
    (directive,) = found["_aws"]["CloudWatchMetrics"]
    assert (directive["Namespace"], directive["Dimensions"]) == ("Sequential", [["service"]])
    assert {metric["Name"]: metric["Unit"] for metric in directive["Metrics"]} == {
        "ColdStart": "Count",
        "Hops": "Count",
        "Paused": "Count",
        "HopMilliseconds": "Milliseconds",
        "StateBytes": "Bytes",
    }
    assert found["StateBytes"] == [task["pausedState"]["stateBytes"]]


@pytest.mark.parametrize(
    ("code", "outcome"), [("1", "Completed"), ("null.x", "Failed"), ("await fetch('http://a/u')", "Paused")]
)
def test_metric_of_each_outcome(call, lines, code, outcome):
    call("execute", {"code": code})
    (found,) = metrics(lines())
    assert [found.get(name) for name in ("Hops", outcome)] == [[1.0], [1.0]]
    assert len({"Completed", "Failed", "Paused"} & found.keys()) == 1


def test_cold_start_is_counted_once(call, lines):
    for _ in range(2):
        call("execute", {"code": "1"})
    assert ["ColdStart" in found for found in metrics(lines())] == [True, False]


def test_conflicts_are_counted(call, lines):
    task = call("execute", {"code": CODE})
    with pytest.raises(Exception) as caught:
        call("resume", {"id": task["id"], "fetchResponse": 1, "revision": 7})
    assert caught.value.exception_type == "TaskConflictError"
    told = lines()
    assert metrics(told)[-1]["Conflicts"] == [1.0]
    assert logs(told)[-1]["task_id"] == task["id"]


def test_call_without_a_hop_has_no_metrics(call, lines):
    call("execute", {"code": "1"})
    lines()
    assert call("task", {"action": "list"}) == {"tasks": [], "cursor": None}
    assert metrics(lines()) == []


def test_repeated_answer_is_no_hop(start):
    flow = start("environment").flow
    seen = []
    flow.hops._observer = type("Seen", (), {"hop_ended": lambda _, task, __: seen.append(task.revision)})()
    task = flow.execute(CODE)
    for _ in range(2):
        flow.resume(task.id, fetch_response=1, idempotency_key="k")
    assert seen == [1, 2]


def test_error_before_a_hop_is_none(start):
    flow = start("environment").flow
    flow.hops._observer = None
    with pytest.raises(SequentialError):
        flow.resume("none", fetch_response=1)
