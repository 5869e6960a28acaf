"""What an attacker's review of the engine found, each kept as a test."""

import tracemalloc

import pytest
from support import answered, completed, failed, suspended

from sequential_core.answers import nested_too_deeply
from sequential_core.limits import Limits
from sequential_core.model import ErrorKind, ResponseAnswer, ValueAnswer
from sequential_core.vm import driver


def test_a_trap_in_a_call_of_the_host_ends_the_program():
    # The stack overflows in console.log, below JSON.stringify; the code must not go on with half a frame.
    code = """
    const mk = () => ({ toJSON() { console.log('x'); return { a: mk() } } });
    let r; try { JSON.stringify(mk()) } catch (e) { r = e }
    await fetch('http://a/x'); String(r)
    """
    outcome = driver.start(code)
    if isinstance(outcome, driver.Suspended):  # the engine's own count came first, in order
        assert driver.resume(outcome.state, {1: ValueAnswer(0)}).result.startswith("RangeError")
    else:
        assert outcome.error.kind in (ErrorKind.STACK_LIMIT, ErrorKind.CPU_LIMIT)


def test_a_fetch_inside_of_a_fetch_has_an_id_of_its_own():
    paused = suspended(
        "var inner; fetch({ toString() { inner = fetch('http://a/inner'); return 'http://a/outer' } }); 1"
    )
    assert [(request.id, request.url) for request in paused.requests] == [(1, "http://a/inner"), (2, "http://a/outer")]
    then = driver.resume(paused.state, {1: ValueAnswer(1), 2: ValueAnswer(2)})
    assert then == driver.Completed(1, ())


@pytest.mark.parametrize("change", ["v.id = 41", "delete v.url", "v.headers = [1]", "throw 1", "v.evil = 1"])
def test_a_setter_of_arrays_does_not_see_the_records_of_the_host(change):
    code = f"Object.defineProperty(Array.prototype, 0, {{ set(v) {{ if (v) {{ {change} }} }}, configurable: true }});"
    (request,) = suspended(f"{code} fetch('http://a/x'); 1").requests
    assert (request.id, request.url, request.headers) == (1, "http://a/x", {})
    assert str(failed(f"{code} throw new Error('mine')").error) == "Error: mine"


def test_call_sites_do_not_hand_out_functions():
    code = """
    Error.prepareStackTrace = (_, sites) => sites.map((site) => [typeof site.getFunction, typeof site.getThis]).flat();
    let found; try { await fetch() } catch (e) { found = e.stack } [...new Set(found)]
    """
    assert completed(code) == ["undefined"]


def test_raw_json_is_not_there():
    assert completed("[typeof JSON.rawJSON, typeof JSON.isRawJSON]") == ["undefined", "undefined"]


def test_a_line_too_long_for_the_memory_ends_the_hop_as_out_of_memory():
    assert failed("console.log('\\xe9'.repeat(25e6))").error.kind is ErrorKind.MEMORY_LIMIT


def test_a_place_that_the_code_makes_up_is_a_number_or_none():
    error = failed("const e = new Error('x'); e.stack = 'at f (task.js:1' + '0'.repeat(5000) + ':1)'; throw e").error
    assert (error.line, str(error)) == (None, "Error: x")


def test_what_an_error_says_is_cut():
    error = failed("const e = new Error('m'.repeat(3e6)); e.stack = 'a\\n'.repeat(6e6); throw e").error
    assert len(error.message) < 5000
    assert len(error.stack) < 20_000


def test_requests_are_bounded_together():
    code = "for (let i = 0; i < 10; i++) fetch('http://a/x', { method: 'POST', body: 'é'.repeat(1e5) }); 1"
    outcome = driver.start(code, Limits(request_bytes=1_000_000))
    assert outcome.error.kind is ErrorKind.REQUEST_LIMIT


def test_depth_is_counted_in_little_memory():
    text = '["' + "[" * 600 + "a" * 4_000_000 + '"]'
    tracemalloc.start()
    try:
        assert not nested_too_deeply(text)
        assert tracemalloc.get_traced_memory()[1] < 2 * len(text)
    finally:
        tracemalloc.stop()
    assert nested_too_deeply("[" * 501 + '"' + "a" * 1000 + '"')


def test_scattered_changes_cost_a_bounded_number_of_runs():
    code = "const t = new Float64Array(1 << 20); for (let i = 0; i < t.length; i += 3) t[i] = i;"
    code += "await fetch('http://a/x'); t[3]"
    paused = suspended(code)
    assert driver.resume(paused.state, {1: ValueAnswer(0)}) == driver.Completed(3, ())


def test_a_status_is_a_number():
    assert completed("new Response(null, { status: '204' }).status") == 204
    assert answered("(await fetch('http://a/x')).status", ResponseAnswer(status=204)).result == 204


@pytest.mark.parametrize("depth", [1000, 1200])
def test_async_functions_nest_a_thousand_deep(depth):
    code = f"async function f(n) {{ return n === 0 ? await fetch('http://a/x') : 1 + await f(n - 1) }} await f({depth})"
    assert answered(code, ValueAnswer(5)) == driver.Completed(depth + 5, ())


def test_a_hashbang_is_a_comment():
    assert completed("#!/usr/bin/env node\n1 + 1") == 2
    assert failed("#!/usr/bin/env node\nnull.x").error.line == 2


def test_columns_of_the_first_line_count_from_one():
    assert suspended('const user = await fetch("http://a/u")').requests[0].column == 20
    assert failed("let x = 1; null.foo").error.column == 12
