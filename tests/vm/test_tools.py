"""Calls of tools: what they ask for, and how answers arrive."""

from __future__ import annotations

import json

import pytest
from support import completed, failed, suspended

from sequential_core.answers import MAX_JSON_DEPTH
from sequential_core.limits import Limits
from sequential_core.model import ErrorKind
from sequential_core.pending import ErrorAnswer, PendingTool, ValueAnswer
from sequential_core.vm import program as programs
from sequential_core.vm import waits


def call_of(code: str) -> PendingTool:
    (call,) = suspended(code).requests
    return call


def test_a_call_has_a_name_and_arguments():
    call = call_of("\nawait callTool('search:web', { query: 'é', most: 5 })")
    assert call == PendingTool(1, "search:web", {"query": "é", "most": 5}, line=2, column=7)


@pytest.mark.parametrize(
    ("args", "sent"),
    [
        ("", None),
        (", undefined", None),
        (", null", None),
        (", false", False),
        (", 0.5", 0.5),
        (", -0", 0),
        (", NaN", None),
        (", 'text'", "text"),
        (", '\\ud800'", "\ud800"),
        (", '\"}],null]'", '"}],null]'),
        (", [1, undefined, () => {}]", [1, None, None]),
        (", { a: undefined, b: new Date(0), c: new Map([[1, 2]]) }", {"b": "1970-01-01T00:00:00.000Z", "c": {}}),
        (", { toJSON: () => ({ own: 1 }) }", {"own": 1}),
        (", { ['__proto__']: 1, id: 7, kind: 'event' }", {"__proto__": 1, "id": 7, "kind": "event"}),
    ],
)
def test_arguments_are_what_json_makes_of_them(args, sent):
    assert call_of(f"callTool('t'{args})").args == sent


def test_arguments_are_those_of_the_moment_of_the_call():
    assert call_of("const args = { a: [1] }; callTool('t', args); args.a.push(2); delete args.a").args == {"a": [1]}


@pytest.mark.parametrize(
    "args", ["1n", "{ a: [2n] }", "(() => { const a = {}; a.a = a; return a })()", "Symbol()", "() => {}"]
)
def test_what_json_cannot_hold_rejects_with_a_type_error_and_uses_up_no_number(args):
    code = f"const name = await callTool('t', {args}).catch((error) => error.name); await callTool(name)"
    (call,) = suspended(code).requests
    assert (call.id, call.name) == (1, "TypeError")


def test_what_a_conversion_throws_is_the_rejection():
    assert completed("await callTool('t', { toJSON() { throw 'mine' } }).catch((error) => error)") == "mine"


def test_a_call_inside_of_the_conversion_of_another_one_comes_first():
    paused = suspended("callTool('outer', { toJSON() { callTool('inner'); return 1 } }); 1")
    assert [(call.id, call.name) for call in paused.requests] == [(1, "inner"), (2, "outer")]


@pytest.mark.parametrize("value", [None, 0, "text", [1, {"a": None}]])
def test_what_the_tool_gives_is_delivered_as_it_is(value):
    paused = suspended("const got = await callTool('t'); got")
    assert programs.resume(paused.state, {1: ValueAnswer(value)}) == programs.Completed(value, ())


def test_an_error_rejects_with_a_plain_error_of_that_message():
    paused = suspended("await callTool('t').catch((e) => [e.constructor === Error, e.name, e.message])")
    assert programs.resume(paused.state, {1: ErrorAnswer("no such city")}).result == [True, "Error", "no such city"]


def test_an_error_that_nobody_catches_fails_the_task_with_its_message():
    paused = suspended("await callTool('t')")
    assert str(programs.resume(paused.state, {1: ErrorAnswer("no such city")}).error) == "Error: no such city"


def test_calls_are_answered_in_any_order():
    paused = suspended("await Promise.all(['a', 'b', 'c'].map((name) => callTool(name)))")
    ended = programs.resume(paused.state, {number: ValueAnswer(number) for number in (3, 1, 2)})
    assert ended.result == [1, 2, 3]


def nested(depth: int) -> str:
    return f"let args = 1; for (let i = 0; i < {depth}; i++) args = i % 2 ? [args] : {{ args }}; callTool('t', args); 1"


def test_arguments_may_be_nested_as_deeply_as_answers():
    args, depth = call_of(nested(MAX_JSON_DEPTH)).args, 0
    while args != 1:
        args, depth = args[0] if isinstance(args, list) else args["args"], depth + 1
    assert depth == MAX_JSON_DEPTH


def test_arguments_that_are_nested_deeper_fail_the_task():
    error = failed(nested(MAX_JSON_DEPTH + 1)).error
    assert error.kind is ErrorKind.REQUEST_LIMIT
    assert error.message == "the arguments of a tool are nested deeper than 500"


def test_arguments_count_for_the_bytes_of_the_requests():
    limits = Limits(request_bytes=10_000)
    assert len(suspended("callTool('t', 'x'.repeat(9000)); 1", limits).requests) == 1
    assert failed("callTool('t', 'x'.repeat(12_000)); 1", limits).error.kind is ErrorKind.REQUEST_LIMIT


# --- What the host makes of the prelude's text -------------------------------------------------------

TOOL = {"id": 1, "kind": "tool", "name": "t", "args": {"a": 1}, "line": 1, "column": 7}
EVENT = {"id": 1, "kind": "event", "name": "e", "line": None, "column": None}


def parse(*requests: object) -> object:
    return waits.parse(json.dumps([requests, None]).encode())[0]


def without(request: dict[str, object], name: str) -> dict[str, object]:
    return {key: value for key, value in request.items() if key != name}


def test_tools_and_events_are_read():
    assert [type(request).__name__ for request in parse(TOOL, EVENT)] == ["PendingTool", "PendingEvent"]


@pytest.mark.parametrize(
    "request_",
    [
        *(
            {**each, "name": name}
            for each in (TOOL, EVENT)
            for name in ("", "a b", "a\n", "é", "x" * 129, 5, None, ["a"])
        ),
        *({**each, "id": number} for each in (TOOL, EVENT) for number in ("1", None, True, 1.5, [])),
        *({**each, "line": place} for each in (TOOL, EVENT) for place in ("1", True, 1.5, [1])),
        *({**each, "kind": kind} for each in (TOOL, EVENT) for kind in ("timer", "Tool", "", 5, ["tool"])),
        *({**each, "evil": 1} for each in (TOOL, EVENT)),
        *({**TOOL, "url": "http://a/"}, {**EVENT, "args": 1}, without(TOOL, "args"), without(TOOL, "kind")),
        *(without(EVENT, "name"), without(EVENT, "id"), {**EVENT, "kind": "fetch", "url": "http://a/"}),
    ],
)
def test_a_tool_or_an_event_that_none_may_be_is_refused(request_):
    with pytest.raises(ValueError):
        parse(request_)


def test_text_that_is_nested_too_deeply_is_not_even_parsed():
    with pytest.raises(waits.NestedTooDeeplyError):
        waits.parse(b'[[{"args":' + b"[" * 100_000 + b"]" * 100_000 + b"}],null]")
