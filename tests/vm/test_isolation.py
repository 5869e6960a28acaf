"""What the code cannot see and cannot break."""

from __future__ import annotations

import time

import pytest
from support import answered, completed, failed, run_cut, suspended

from sequential_core.model import LogEntry
from sequential_core.pending import ErrorAnswer, ResponseAnswer, ValueAnswer
from sequential_core.vm import program as programs

# --- Chance and time -----------------------------------------------------------------------------

DRAWS = "Array.from({ length: 4 }, Math.random)"


def resumed(state: bytes) -> object:
    outcome = programs.resume(state, {1: ValueAnswer(None)})
    assert isinstance(outcome, programs.Completed), outcome
    return outcome.result


def test_two_resumptions_of_one_state_share_no_random_numbers():
    paused = suspended(f"{DRAWS}; await fetch('http://a/x'); {DRAWS}")
    drawn = [number for _ in range(20) for number in resumed(paused.state)]
    assert len(set(drawn)) == len(drawn)
    assert all(0 <= number < 1 for number in drawn)


def test_two_starts_share_no_random_numbers():
    drawn = [number for _ in range(20) for number in completed(DRAWS)]
    assert len(set(drawn)) == len(drawn)


def test_numbers_drawn_before_a_pause_are_kept():
    first, again, later = run_cut("const a = Math.random(); await fetch('http://a/x'); [a, a, Math.random()]").result
    assert first == again != later


@pytest.mark.parametrize("clock", ["Date.now()", "new Date().getTime()", "+new Date(new Date().toISOString())"])
def test_the_time_is_that_of_the_hop(clock):
    paused = suspended(f"const then = {clock}; await fetch('http://a/x'); [then, {clock}]")
    before = int(time.time() * 1000)
    then, now = resumed(paused.state)
    after = int(time.time() * 1000)
    assert then <= before <= now <= after


def test_the_time_zone_is_utc():
    assert completed("[new Date(0).getTimezoneOffset(), new Date(2020, 6, 1).toISOString()]") == [
        0,
        "2020-07-01T00:00:00.000Z",
    ]


# --- The host is not to be seen ------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "std",
        "os",
        "process",
        "require",
        "module",
        "__filename",
        "print",
        "scriptArgs",
        "hostLog",
        "gc",
        "Deno",
    ],
)
def test_nothing_of_a_host_is_in_scope(name):
    assert completed(f"[typeof {name}, '{name}' in globalThis]") == ["undefined", False]


@pytest.mark.parametrize(
    "code",
    [
        "fetch()",
        "new Headers(5)",
        "new Response('x', { status: 1 })",
        "const r = new Response('x'); await r.text(); await r.text()",
        "[1].map(() => new Headers(5))",
    ],
)
def test_the_stack_of_an_error_shows_the_posted_code_only(code):
    error = failed(code).error
    assert "task.js" in error.stack
    assert "prelude" not in error.stack
    assert ".py" not in error.stack


@pytest.mark.parametrize(
    "code",
    [
        "let s; try { new Headers(5) } catch (e) { s = e.stack } s",
        "let s; try { await fetch() } catch (e) { s = e.stack } s",
        "let s; try { await fetch('http://a/x') } catch (e) { s = e.stack } s",
    ],
)
def test_the_code_sees_no_frames_of_the_prelude(code):
    outcome = programs.start(code)
    if isinstance(outcome, programs.Suspended):
        outcome = programs.resume(outcome.state, {1: ErrorAnswer("no route")})
    assert isinstance(outcome, programs.Completed)
    assert "prelude" not in outcome.result


def test_a_trace_shows_the_posted_code_only():
    (entry,) = programs.start("console.trace('here')").logs
    assert "prelude" not in entry.message


# --- The code may ruin every prototype -----------------------------------------------------------

# Replaces what can be replaced by a function. `await` itself reads the `constructor` of a promise.
RUIN = """
const { ownKeys, defineProperty } = Reflect;
const ruined = () => { throw 'ruined' };
const ruin = (target) => {
  const keys = ownKeys(target);
  for (let i = 0; i < keys.length; i++) {
    if (keys[i] !== 'constructor' && keys[i] !== 'prototype' && keys[i] !== 'length')
      defineProperty(target, keys[i], { value: ruined, writable: true, configurable: true });
  }
};
"""

TARGETS = [
    "Object",
    "Promise",
    "Map",
    "Set",
    "JSON",
    "Function",
    "RegExp",
    "Error",
    "TypeError",
    "Reflect",
    "Symbol",
    "Number",
    "Date",
    "ArrayBuffer",
    "Array",
    "Headers",
    "Response",
]

BROKEN_STRING = "String"
BROKEN_ARRAY = "Array"

# Numbers, so that the result needs nothing that was ruined.
USES_FETCH = """
const v = await fetch('http://a/a', { method: 'post', body: 'b' });
const w = await fetch('http://a/b');
v + w
"""


def ruin(target: str) -> str:
    prototype = "" if target in ("JSON", "Reflect") else f"ruin({target}.prototype);"
    # The prototype of a class first: a ruined class may have lost the property.
    return f"{RUIN} {prototype} ruin({target});"


@pytest.mark.parametrize("target", [*TARGETS, BROKEN_STRING])
def test_requests_and_answers_survive_a_ruined(target):
    paused = suspended(ruin(target) + USES_FETCH)
    (first,) = paused.requests
    assert (first.id, first.url, first.method, first.body) == (1, "http://a/a", "POST", "b")
    assert first.headers == {"content-type": "text/plain;charset=UTF-8"}
    second = programs.resume(paused.state, {1: ValueAnswer(1)})
    assert isinstance(second, programs.Suspended), second
    assert [(request.id, request.url) for request in second.requests] == [(2, "http://a/b")]
    assert programs.resume(second.state, {2: ValueAnswer(2)}) == programs.Completed(3, ())


@pytest.mark.parametrize("target", [*TARGETS, BROKEN_STRING])
def test_a_pause_survives_what_is_ruined_after_it(target):
    code = f"const x = await fetch('http://a/x'); {ruin(target)} {USES_FETCH.replace('v + w', 'x + v + w')}"
    run = run_cut(code, lambda request: ValueAnswer(request.id))
    assert (run.result, run.paths) == (6, ("x", "a", "b"))


@pytest.mark.parametrize("target", [*TARGETS[:-3], BROKEN_STRING, BROKEN_ARRAY])
def test_responses_arrive_over_a_ruined(target):
    code = f"{ruin(target)} (await fetch('http://a/x')).status"
    assert answered(code, ResponseAnswer(status=404, body="b", headers={})) == programs.Completed(404, ())


@pytest.mark.parametrize("target", ["Object", "Array", "JSON", "Function", "RegExp", "Map", "Set", BROKEN_STRING])
def test_errors_are_described_over_a_ruined(target):
    error = failed(f"{ruin(target)} null.x").error
    assert (error.name, error.line) == ("TypeError", ruin(target).count("\n") + 1)


@pytest.mark.parametrize(
    "pollution",
    [
        "Object.prototype.toJSON = () => 'evil'; String.prototype.toJSON = () => 'evil'",
        "Object.defineProperty(Object.prototype, 'id', { get() { throw 1 }, set() { throw 2 } })",
        "Object.defineProperty(Object.prototype, 'url', { get: () => 'evil', set() {} })",
        "Object.defineProperty(Object.prototype, 'accept', { get: () => 1, set() {} })",
        "Object.prototype.get = () => 3; Object.prototype.writable = true",
    ],
)
def test_inherited_properties_do_not_reach_a_request(pollution):
    paused = suspended(f"{pollution}; (await fetch('http://a/a')) + 1")
    assert [(request.id, request.url, request.headers) for request in paused.requests] == [(1, "http://a/a", {})]
    assert programs.resume(paused.state, {1: ValueAnswer(1)}) == programs.Completed(2, ())


def test_headers_are_taken_over_a_ruined_array():
    code = f"{ruin('Array')} fetch('http://a/a', {{ headers: {{ a: '1' }} }})"
    assert suspended(code).requests[0].headers == {"a": "1"}


@pytest.mark.parametrize("text", ["nope", "[1]"])
def test_the_list_of_requests_cannot_be_forged(text):
    assert completed(f"String.prototype.concat = () => '{text}'; 5") == 5


def test_replacing_fetch_is_the_codes_own_business():
    assert completed("globalThis.fetch = () => 5; await fetch('http://a/x')") == 5


def test_code_that_runs_while_an_error_is_described_cannot_hide_it():
    code = """
    class E extends Error { get name() { console.log('read'); fetch('http://a/late'); return 'E' } }
    throw new E('m')
    """
    outcome = failed(code)
    assert str(outcome.error) == "E: m"
    assert outcome.logs == (LogEntry("log", "read"),)
