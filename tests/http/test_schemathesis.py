"""The API against its own description: schemathesis, with all of its checks, in all of its phases."""

from __future__ import annotations

import base64
import re
import zlib
from collections import Counter

import pytest
import schemathesis
from hypothesis import strategies as st
from schemathesis.engine import Status, events, from_schema

from sequential_core.drive import check_callback_url
from sequential_core.driver.rules import check_pattern
from sequential_core.errors import InvalidRequestError
from sequential_core.storage.document import encode_cursor

# A program cannot be described by a JSON schema, and random text is hardly ever one. The last one does not parse.
PROGRAMS = (
    "1",
    "await fetch('https://api.example.com')",
    "await Promise.all([fetch('http://a/a', { method: 'POST', body: 'b', headers: { c: 'd' } }), fetch('http://a/e')])",
    "console.log('x'); throw new RangeError('bad')",
    "for (let turn = 0; turn < 3; turn++) await fetch(`http://a/turn/${turn}`)",
    "new Promise(() => {})",
    "await Promise.all([waitForEvent('order.paid'), callTool('charge', 5)])",
    "let a =",
)

# What a request that keeps to the schema may meet besides success: no such task (404, 410), another caller (409), a
# revision that has passed (304, 412), what a schema cannot say (422), and a task that keeps enough events (429).
MET = ["2xx", "304", "404", "409", "410", "412", "422", "429"]

schemathesis.openapi.format(
    "sequential-cursor", st.builds(encode_cursor, st.integers(0, 2**60), st.text(st.characters(codec="utf-8")))
)
schemathesis.openapi.format(
    "sequential-host-pattern",
    st.sampled_from(["*", "*.example.com", "api.example.com:8443", "192.0.2.0/24", "[2001:db8::1]:443"]),
)
schemathesis.openapi.format(
    "sequential-callback-url", st.sampled_from(["https://example.com", "http://[2001:db8::1]:8080/outcomes?a=b"])
)


def with_program(_context, body):
    if isinstance(body, dict) and isinstance(body.get("code"), str):
        return {**body, "code": PROGRAMS[zlib.crc32(repr(body).encode()) % len(PROGRAMS)]}
    return body


def with_base64(_context, body):
    """A body said to be base64 is, which depends on another field than its own."""
    given = body.get("response") if isinstance(body, dict) else None
    if isinstance(given, dict) and given.get("bodyEncoding") == "base64":
        encoded = base64.b64encode(repr(given.get("body")).encode(errors="replace")).decode()
        return {**body, "response": {**given, "body": encoded}}
    return body


def without_contradiction(_context, case):
    """If-Match and the body's revision must agree, which OpenAPI cannot say."""
    wanted = (case.headers or {}).get("If-Match", "*")
    revision = case.body.get("revision") if isinstance(case.body, dict) else None
    return wanted == "*" or revision is None or str(revision) in re.findall(r'(?<!W/)"(\d+)"', wanted)


def with_an_answer(_context, case):
    """Without one a task must have timers, which OpenAPI cannot say."""
    answers = {"fetchResponse", "response", "error"}
    return not case.path.endswith("/resume") or not isinstance(case.body, dict) or not answers.isdisjoint(case.body)


def of_its_format(_context, case):
    """What has a format of ours is drawn from it, and now and then from all strings that schemathesis knows."""
    body = case.body if isinstance(case.body, dict) else {}
    url, drive = body.get("callbackUrl"), body.get("drive", case.path.endswith("/drive"))
    try:
        if isinstance(url, str):
            check_callback_url(url)
        for name in ("allow", "deny"):
            for pattern in drive.get(name) or () if isinstance(drive, dict) else ():
                check_pattern(pattern)
    except (InvalidRequestError, TypeError, AttributeError):
        return False
    # Only a driven task calls back, which a schema could say in a way that nobody reads.
    return url is None or drive not in (None, False)


def run(app, max_examples, only=None):
    """What schemathesis finds, how often it met each status in each operation, and the phases that it went through.

    Args:
        only: the one operation to call, such as "POST /tasks", and not again once something is found; None calls all of
            them, to the end.
    """
    config = schemathesis.Config.from_dict(
        {
            "continue-on-failure": True,
            "cache": {"enabled": False},
            "generation": {"max-examples": max_examples, "database": "none"},
            "checks": {"positive_data_acceptance": {"expected-statuses": MET}},
        }
    )
    schema = schemathesis.openapi.from_asgi("/openapi.json", app, config=config)
    schema.hooks.hook("map_body")(with_program)
    schema.hooks.hook("map_body")(with_base64)
    schema.hooks.hook("filter_case")(without_contradiction)
    schema.hooks.hook("filter_case")(with_an_answer)
    schema.hooks.hook("filter_case")(of_its_format)
    found, met, phases = [], Counter(), set()
    stream = from_schema(schema if only is None else schema.include(name=only)).execute()
    for event in stream:
        if found and only is not None:
            stream.stop()
        if isinstance(event, events.PhaseFinished) and event.phase.is_enabled:
            phases.add(event.phase.name.name)
        if isinstance(event, events.NonFatalError):
            found.append(f"{event.label}: {event.value!r}")
        if isinstance(event, events.FatalError):
            found.append(repr(event.exception))
        if not isinstance(event, events.ScenarioFinished):
            continue
        for case_id, interaction in event.recorder.interactions.items():
            case = event.recorder.cases[case_id].value
            met[case.operation.label, interaction.response.status_code] += 1
        for checks in event.recorder.checks.values():
            for check in checks:
                if check.status is not Status.SUCCESS:
                    failure = check.failure_info
                    found.append(f"{check.name}: {failure.failure.message}\n{failure.code_sample}")
    return found, met, phases


# A run must have come past the door, or it has tested nothing.
PAST_THE_DOOR = (
    ("POST /tasks", 201),
    ("POST /tasks", 400),
    ("GET /tasks", 200),
    ("GET /tasks/{id}", 200),
    ("POST /tasks/{id}/events/{name}/url", 201),
    ("POST /events/{token}", 404),
    ("GET /health", 200),
)
FURTHER_IN = (
    ("POST /tasks/{id}/resume", 200),
    ("POST /tasks/{id}/resume", 409),
    ("POST /tasks/{id}/events/{name}", 200),
    ("POST /events/{token}", 202),
    ("POST /tasks/{id}/cancel", 200),
    ("POST /tasks/{id}/drive", 200),
    ("DELETE /tasks/{id}/drive", 200),
    ("DELETE /tasks/{id}", 204),
)


def check_run(app, max_examples, expected):
    found, met, phases = run(app, max_examples)
    assert found == []
    assert {"EXAMPLES", "COVERAGE", "FUZZING", "STATEFUL_TESTING"} <= phases
    assert [each for each in expected if not met[each]] == [], met


def test_the_description_is_true(app):
    check_run(app, 8, PAST_THE_DOOR)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_description_is_true_in_many_examples(app):
    check_run(app, 200, PAST_THE_DOOR + FURTHER_IN)


@pytest.mark.parametrize(
    ("path", "wrong", "max_examples"),
    [
        (("components", "schemas", "Task", "properties", "revision"), {"type": "string"}, 3),
        (("paths", "/tasks", "post", "responses"), {"200": {"description": "?"}}, 3),
        # Not every body that is made has a field that nobody knows.
        (("components", "schemas", "ExecuteBody", "additionalProperties"), True, 15),
    ],
)
def test_a_description_that_is_wrong_is_found(app, monkeypatch, path, wrong, max_examples):
    from sequential_core.http import openapi, operations

    described = openapi.document()
    part = described
    for name in path[:-1]:
        part = part[name]
    part[path[-1]] = wrong
    monkeypatch.setattr(operations, "_description", lambda: operations.to_json(described))
    found, _, _ = run(app, max_examples, only="POST /tasks")
    assert found
