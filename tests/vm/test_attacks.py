"""What an attacker's review of the engine found, each kept as a test."""

import json
import tracemalloc
from dataclasses import replace

import pytest
from support import answered, completed, failed, suspended

from sequential_core import state as codec
from sequential_core.answers import nested_too_deeply
from sequential_core.errors import InvalidRequestError
from sequential_core.limits import Limits
from sequential_core.model import ErrorKind
from sequential_core.pending import ResponseAnswer, ValueAnswer
from sequential_core.vm import guest as guests
from sequential_core.vm import machines, waits
from sequential_core.vm import program as programs


def test_a_trap_in_a_call_of_the_host_ends_the_program():
    # The stack overflows in console.log, below JSON.stringify; the code must not go on with half a frame. That is
    # 15,000 calls deep, and logging takes a while: the first ones do without.
    code = """
    let depth = 0;
    const mk = () => ({ toJSON() { if (++depth > 12_000) console.log('x'); return { a: mk() } } });
    let r; try { JSON.stringify(mk()) } catch (e) { r = e }
    await fetch('http://a/x'); String(r)
    """
    outcome = programs.start(code)
    assert outcome.logs
    if isinstance(outcome, programs.Suspended):  # the engine's own count came first, in order
        assert programs.resume(outcome.state, {1: ValueAnswer(0)}).result.startswith("RangeError")
    else:
        assert outcome.error.kind in (ErrorKind.STACK_LIMIT, ErrorKind.CPU_LIMIT)


def test_a_fetch_inside_of_a_fetch_has_an_id_of_its_own():
    paused = suspended(
        "var inner; fetch({ toString() { inner = fetch('http://a/inner'); return 'http://a/outer' } }); 1"
    )
    assert [(request.id, request.url) for request in paused.requests] == [(1, "http://a/inner"), (2, "http://a/outer")]
    then = programs.resume(paused.state, {1: ValueAnswer(1), 2: ValueAnswer(2)})
    assert then == programs.Completed(1, ())


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
    outcome = programs.start(code, Limits(request_bytes=1_000_000))
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
    assert programs.resume(paused.state, {1: ValueAnswer(0)}) == programs.Completed(3, ())


def test_a_status_is_a_number():
    assert completed("new Response(null, { status: '204' }).status") == 204
    assert answered("(await fetch('http://a/x')).status", ResponseAnswer(status=204)).result == 204


@pytest.mark.parametrize("depth", [1000, 1200])
def test_async_functions_nest_a_thousand_deep(depth):
    code = f"async function f(n) {{ return n === 0 ? await fetch('http://a/x') : 1 + await f(n - 1) }} await f({depth})"
    assert answered(code, ValueAnswer(5)) == programs.Completed(depth + 5, ())


def test_a_hashbang_is_a_comment():
    assert completed("#!/usr/bin/env node\n1 + 1") == 2
    assert failed("#!/usr/bin/env node\nnull.x").error.line == 2


def test_columns_of_the_first_line_count_from_one():
    assert suspended('const user = await fetch("http://a/u")').requests[0].column == 20
    assert failed("let x = 1; null.foo").error.column == 12


# What a review found: each made the hop raise what is no SequentialError, or a header that ends its line.


# Keeps every map that a method of Map.prototype is called on, and can put an entry into all of them.
LEAK = """
    const leaked = [], { apply } = Reflect, methods = {};
    for (const name of ['keys', 'entries', 'forEach', 'set', 'get']) {
        const method = methods[name] = Map.prototype[name];
        Map.prototype[name] = function (...given) { leaked[leaked.length] = this; return apply(method, this, given) };
    }
    const put = (key, value) => { for (const map of leaked) apply(methods.set, map, [key, value]) };
"""

BROKEN = [
    "Error.prepareStackTrace = () => 'task.js:007:01'; await fetch('http://a/')",
    LEAK + "const h = new Headers({ a: '1' }); [...h]; put(5, 'v'); await fetch('http://a/', { headers: h })",
    """
    const { toWellFormed } = String.prototype;
    String.prototype.toWellFormed = function () { return `${this}` === 'é.com' ? 5 : toWellFormed.call(this) };
    new URL('http://é.com/'); 1
    """,
    """
    const N = Number; globalThis.Number = (x) => (typeof x === 'bigint' ? 1e300 : N(x));
    Temporal.Instant.from('2020-01-01T00:00Z').toZonedDateTimeISO('Europe/Berlin').offset
    """,
    """
    ArrayBuffer.prototype.slice = () => 'x';
    Object.defineProperty(Object.getPrototypeOf(Uint8Array.prototype), 'byteLength', { get: () => 5000 });
    await new Response(new Uint8Array(6000)).text()
    """,
    """
    Object.defineProperty(URLSearchParams, Symbol.hasInstance, { value: () => true });
    await new Response({ toString: () => '\\ud800'.repeat(5000) }).bytes()
    """,
]


@pytest.mark.parametrize("code", BROKEN)
def test_a_broken_platform_ends_no_more_than_the_task(code):
    outcome = programs.start(code)
    assert isinstance(outcome, programs.Completed | programs.Suspended | programs.Failed)
    if isinstance(outcome, programs.Failed):
        assert "Error" in outcome.error.name
        assert "argument" not in outcome.error.message, "no word of Python's"


HEADERS = [
    "class B extends Blob { get type() { return 'x\\r\\nHost: evil' } }; init.body = new B(['x'])",
    LEAK + "init.headers = new Headers({ a: '1' }); [...init.headers]; put('x\\r\\ny: z', 'v')",
    LEAK + "input = new Request(input, { headers: { a: '1' } }); input = new Request(input); put('x\\r\\ny: z', 'v')",
    LEAK + "input = new Request(input, { headers: { a: '1' } }).clone(); put('x\\r\\n', 'v')",
]


@pytest.mark.parametrize("code", HEADERS)
def test_no_header_of_a_request_ends_its_line(code):
    outcome = programs.start(f"let input = 'http://a/', init = {{ method: 'POST' }}; {code}; await fetch(input, init)")
    if isinstance(outcome, programs.Suspended):
        (request,) = outcome.requests
        assert not any(mark in text for pair in request.headers.items() for text in pair for mark in "\r\n")
    else:
        assert isinstance(outcome, programs.Failed)


@pytest.mark.parametrize(
    "text",
    [
        [],
        [[{"id": 1, "url": "http://a/", "x": 1}], None],
        [[{"id": 1}], None],
        5,
        [5, None],
        [[{"id": 1, "url": "http://a/", "headers": "x"}], None],
        [[1], None],
    ],
)
def test_a_text_that_the_prelude_does_not_write_is_refused(text):
    with pytest.raises(ValueError):
        waits.parse(json.dumps(text).encode())


@pytest.mark.parametrize(
    "field",
    [
        {"url": "http://a/\r\n"},
        {"url": "file:///etc/passwd"},
        {"url": "http://a/é"},
        {"method": "GET /"},
        {"headers": {"a:": "1"}},
        {"headers": {"a": "1\n"}},
        {"headers": {"a": "\u0100"}},
        {"body": "\ud800"},
        {"body_encoding": "gzip"},
        {"redirect": "x"},
    ],
)
def test_a_request_that_none_may_be_is_refused(field):
    request = {"id": 1, "url": "http://a/", "method": "GET", "headers": {}, "body": None, "line": 1, "column": 1}
    assert waits.parse(json.dumps([[request], None]).encode())[0][0].id == 1
    with pytest.raises(ValueError):
        waits.parse(json.dumps([[{**request, **field}], None]).encode())


def test_a_header_full_of_spaces_costs_no_more_than_its_length():
    outcome = programs.start("(await fetch('http://a/')).headers.get('x').length")
    assert isinstance(outcome, programs.Suspended)
    answer = ResponseAnswer(headers={"x": "a" + " " * 100_000 + "b"})
    done = programs.resume(outcome.state, {1: answer}, Limits(cpu_seconds=2))
    assert isinstance(done, programs.Completed)
    assert done.result == 100_002


def test_half_a_surrogate_pair_in_a_long_answer_is_replaced():
    outcome = programs.start("[...(await (await fetch('http://a/')).bytes()).slice(0, 3)]")
    assert isinstance(outcome, programs.Suspended)
    done = programs.resume(outcome.state, {1: ResponseAnswer(body="\ud800" * 5000)})
    assert isinstance(done, programs.Completed)
    assert done.result == [0xEF, 0xBF, 0xBD]


def test_a_forged_number_of_pauses_is_no_error():
    """`Machine.age`: it is in the state, and so whatever its writer wants."""
    guest = guests.current()
    paused = suspended(
        "const b = []; for (let i = 0; i < 3000; i++) b.push({ i }); (await fetch('http://a/x')) + b.length"
    )
    at = guest.manifest.scratch + 16 - guest.manifest.stack_end
    state = codec.decode(paused.state, guests.dictionary)
    runs = sorted([*((start, data) for start, data in state.runs if start != at), (at, b"\xff" * 4 + bytes(4))])
    forged = codec.encode(replace(state, runs=tuple(runs)), guest.dictionary)
    assert programs.resume(forged, {1: ValueAnswer(1)}) == programs.Completed(3001, ())


def test_a_program_in_the_largest_memory_goes_on_and_leaves_nothing():
    limits = Limits(memory_bytes=2 << 30)
    guest = guests.current()
    state = codec.decode(
        suspended("const s = 'sesame'.repeat(20); let n = 0; for (;;) n += await fetch('http://a/' + n)").state,
        guests.dictionary,
    )
    # As if it had grown; the last words are the program's too.
    last = (limits.memory_bytes - guest.manifest.stack_end - 8, b"\x77" * 8)
    large = replace(state, memory_pages=limits.memory_bytes >> 16, runs=(*state.runs, last))
    machines._idle.clear()
    first = programs.resume(codec.encode(large, guest.dictionary), {1: ValueAnswer(1)}, limits)
    assert isinstance(first, programs.Suspended)
    assert codec.decode(first.state, guests.dictionary).runs[-1] == last
    for machine in machines._idle:
        assert machine.read(guest.manifest.stack_end, guest.manifest.stack_end + len(guest.base)) == guest.base
        assert machine.read(machine.memory_bytes - 8, machine.memory_bytes) == bytes(8)
    second = programs.resume(first.state, {2: ValueAnswer(1)}, limits)
    assert isinstance(second, programs.Suspended)
    assert [request.url for request in second.requests] == ["http://a/2"]


def test_a_memory_of_which_the_host_could_not_tell_the_addresses_is_refused():
    with pytest.raises(InvalidRequestError, match="2 GiB"):
        Limits(memory_bytes=(2 << 30) + 1)
