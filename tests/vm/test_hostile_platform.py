"""Hostile input to the web platform: the host's bookkeeping is untouched, and the task works or fails alone."""

from __future__ import annotations

import base64
import itertools
import json
import time

import pytest
from support import completed, failed, suspended

from sequential_core.limits import Limits
from sequential_core.model import ErrorKind, LogEntry
from sequential_core.pending import Answer, ErrorAnswer, PendingRequest, ResponseAnswer, ValueAnswer
from sequential_core.testing import After, Reply, run_program
from sequential_core.vm import program as programs

pytestmark = pytest.mark.once  # the guest is the same bytes on every Python

SHORT = Limits(cpu_seconds=1)

# --- Large and broken bodies -----------------------------------------------------------------------

SIZE = 5_000_000
# Characters of one, two and four bytes.
TEXT = "aé😀" * (SIZE // 7)
VALUE = [{"id": number, "name": f"é {number}"} for number in range(150_000)]
NOISE = bytes(range(256)) * (SIZE // 256)


def as_bytes(data: bytes) -> ResponseAnswer:
    return ResponseAnswer(body=base64.b64encode(data).decode(), body_encoding="base64")


LARGE = {
    "text": (ResponseAnswer(body=TEXT), len(TEXT.encode())),
    "text in base64": (as_bytes(TEXT.encode()), len(TEXT.encode())),
    "noise in base64": (as_bytes(NOISE), len(NOISE)),
}

READ = {
    "arrayBuffer": "(await r.arrayBuffer()).byteLength",
    "bytes": "(await r.bytes()).length",
    "blob": "(await r.blob()).size",
    "body": "let n = 0; for await (const chunk of r.body) n += chunk.length; n",
}


def resumed_in(code: str, answer: Answer) -> tuple[object, float]:
    """The result of code in which `r` is the answer, and the CPU time of that hop."""
    paused = suspended(f"const r = await fetch('http://a/x'); {code}")
    began = time.thread_time()
    outcome = programs.resume(paused.state, {1: answer})
    took = time.thread_time() - began
    assert isinstance(outcome, programs.Completed), outcome
    return outcome.result, took


@pytest.mark.parametrize("read", READ)
@pytest.mark.parametrize("body", LARGE)
def test_a_response_of_5_mb_is_read_well_within_the_limits(body, read):
    answer, size = LARGE[body]
    result, took = resumed_in(READ[read], answer)
    assert result == size
    assert took < 2


@pytest.mark.parametrize("answer", [ResponseAnswer(body=TEXT), as_bytes(TEXT.encode())], ids=["text", "base64"])
def test_text_of_5_mb_is_read_well_within_the_limits(answer):
    # The length in UTF-16: three characters of 1, 1 and 2 units.
    result, took = resumed_in("const t = await r.text(); [t.length, t.slice(0, 4), t.slice(-4)]", answer)
    assert result == [len(TEXT) // 3 * 4, "aé😀", "aé😀"]
    assert took < 2


def test_json_of_5_mb_is_read_well_within_the_limits():
    answer = as_bytes(json.dumps(VALUE, ensure_ascii=False).encode())
    result, took = resumed_in("const v = await r.json(); [v.length, v.at(-1).name]", answer)
    assert result == [150_000, "é 149999"]
    assert took < 2


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"a\xffb", "a\ufffdb"),
        (b"\xe2\x82", "\ufffd"),  # cut short
        (b"\xe2\x82a", "\ufffda"),
        (b"\xc0\x80", "\ufffd\ufffd"),  # overlong
        (b"\xed\xa0\x80", "\ufffd\ufffd\ufffd"),  # half a surrogate pair
        (b"\xf4\x90\x80\x80", "\ufffd" * 4),  # beyond Unicode
        (b"\xf0\x9f\x98", "\ufffd"),
        (b"\xef\xbb\xbfa", "a"),  # a byte order mark
        (b"\xef\xbb\xbf\xef\xbb\xbfa", "\ufeffa"),
        (b"\xff\xfea\0", "\ufffd\ufffda\0"),
    ],
)
@pytest.mark.parametrize("before", [0, 5000], ids=["little", "much"])
def test_what_is_no_utf_8_is_replaced_as_the_standard_says(data, text, before):
    if data.startswith(b"\xef\xbb\xbf"):
        data, text = data + b"x" * before, text + "x" * before
    else:
        data, text = b"x" * before + data, "x" * before + text
    assert resumed_in("r.text()", as_bytes(data))[0] == text


def test_bytes_that_are_no_json_are_a_syntax_error():
    code = "let e; try { await r.json() } catch (x) { e = x.name } e"
    assert resumed_in(code, as_bytes(b"\xff"))[0] == "SyntaxError"


@pytest.mark.parametrize("length", [1, 5000])
def test_half_a_surrogate_pair_is_replaced_in_every_body(length):
    half = "'\\ud800'.padStart(" + str(length) + ", 'x')"
    replaced = "x" * (length - 1) + "\ufffd"
    code = f"const half = {half}; const r = new Response(half); const b = await new Response(half).bytes();"
    assert completed(f"{code} [await r.text(), b.length]") == [replaced, length + 2]
    (request,) = suspended(f"await fetch('http://a/\\ud800', {{ method: 'POST', body: {half} }})").requests
    assert (request.url, request.body) == ("http://a/%EF%BF%BD", replaced)


# --- Arguments of the wrong kind ---------------------------------------------------------------------

URL = "'http://a/x'"

REFUSED = [
    "fetch()",
    "fetch(Symbol())",
    "fetch(null)",
    "fetch({})",
    "fetch(5n)",
    "fetch('http://\\ud800/')",
    "fetch('http://[::1')",
    "fetch('blob:x')",
    "fetch('data:')",
    f"fetch({URL}, 5)",
    f"fetch({URL}, Symbol())",
    f"fetch({URL}, {{ method: Symbol() }})",
    f"fetch({URL}, {{ method: 'a\\nb' }})",
    f"fetch({URL}, {{ headers: null }})",
    f"fetch({URL}, {{ headers: 'a: b' }})",
    f"fetch({URL}, {{ headers: [['a']] }})",
    f"fetch({URL}, {{ headers: [1] }})",
    f"fetch({URL}, {{ headers: {{ a: Symbol() }} }})",
    f"fetch({URL}, {{ headers: {{ a: 'x\\ny: z' }} }})",
    f"fetch({URL}, {{ headers: {{ 'a\\r\\nb': 'x' }} }})",
    f"fetch({URL}, {{ headers: {{ a: '\\ud800' }} }})",
    f"fetch({URL}, {{ headers: {{ a: '\\0' }} }})",
    f"fetch({URL}, {{ headers: {{ [Symbol.iterator]: 5 }} }})",
    f"fetch({URL}, {{ headers: new Proxy(new Headers(), {{}}) }})",
    f"fetch({URL}, {{ signal: 5 }})",
    f"fetch({URL}, {{ signal: Object.create(AbortSignal.prototype) }})",
    f"fetch({URL}, {{ signal: new Proxy(new AbortController().signal, {{}}) }})",
    f"fetch({URL}, {{ redirect: 'x' }})",
    f"fetch({URL}, {{ method: 'POST', body: Symbol() }})",
    f"fetch({URL}, {{ method: 'POST', body: Object.create(Blob.prototype) }})",
    f"fetch({URL}, {{ method: 'POST', body: Object.create(URLSearchParams.prototype) }})",
    f"fetch({URL}, {{ method: 'POST', body: new Proxy(new FormData(), {{}}) }})",
    f"fetch({URL}, {{ method: 'POST', body: new Proxy(new Uint8Array(2), {{}}) }})",
    f"fetch({URL}, {{ method: 'POST', duplex: 'half', body: new ReadableStream({{ pull(c) {{ c.enqueue('t') }} }}) }})",
    "fetch(Object.create(Request.prototype))",
    f"fetch(new Request({URL}, {{ method: 'POST', body: 'x' }}), {{ method: 'GET' }})",
    "new Request()",
    "new Response(Symbol())",
    "new Response('x', 5)",
    "new Response('x', { headers: 5 })",
    "new Response('x', { statusText: '\\n' })",
    "Response.json(10n)",
    "Response.prototype.text.call({})",
    "Headers.prototype.get.call({}, 'a')",
    "Response.prototype.status",
    "setTimeout()",
    "setTimeout(() => {}, Symbol())",
    "clearTimeout(Symbol())",
    "sleep(Symbol())",
    "AbortSignal.timeout(-1)",
    "AbortSignal.any([1])",
    "new AbortSignal()",
    "structuredClone()",
    "reportError()",
    "queueMicrotask(5)",
    "new Blob(5)",
    "console.count(Symbol())",
]


@pytest.mark.parametrize("code", REFUSED)
def test_arguments_of_the_wrong_kind_are_a_type_error_of_the_code_s_own(code):
    error = failed(f"await {code}").error
    assert (error.kind, error.name) == (ErrorKind.EXCEPTION, "TypeError")


# `t` throws.
THROWING = [
    "fetch({ toString: t })",
    "fetch(new Proxy({}, { get: t }))",
    *(f"fetch({URL}, {{ get {name}() {{ t() }} }})" for name in ("method", "headers", "body", "signal", "redirect")),
    f"fetch({URL}, new Proxy({{}}, {{ get: t }}))",
    f"fetch({URL}, {{ method: {{ toString: t }} }})",
    f"fetch({URL}, {{ headers: {{ get a() {{ t() }} }} }})",
    f"fetch({URL}, {{ headers: {{ a: {{ toString: t }} }} }})",
    f"fetch({URL}, {{ headers: {{ *[Symbol.iterator]() {{ t() }} }} }})",
    f"fetch({URL}, {{ headers: new Proxy({{ a: '1' }}, {{ ownKeys: t }}) }})",
    f"fetch({URL}, {{ method: 'POST', body: {{ toString: t }} }})",
    f"fetch({URL}, {{ method: 'POST', duplex: 'half', body: new ReadableStream({{ pull: t }}) }})",
    "new Response('x', { get status() { t() } })",
    "Response.json({ toJSON: t })",
    "setTimeout(() => {}, { valueOf: t })",
    "structuredClone(new Proxy({}, { ownKeys: t }))",
    "dispatchEvent(new Event('x', { get bubbles() { t() } }))",
]


@pytest.mark.parametrize("code", THROWING)
def test_what_the_code_throws_in_a_conversion_reaches_it_unchanged(code):
    head = "class Mine extends Error {} const t = () => { throw new Mine('m') };"
    assert completed(f"{head} let e; try {{ await {code} }} catch (x) {{ e = x }} e instanceof Mine") is True


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (f"fetch({URL}, {{ headers: {{ *[Symbol.iterator]() {{ for (;;) yield ['a', 'b'] }} }} }})", "cpu_limit"),
        (f"fetch({URL}, {{ headers: new Proxy({{}}, {{ ownKeys() {{ for (;;); }} }}) }})", "cpu_limit"),
        ("onunhandledrejection = () => { Promise.reject(2) }; Promise.reject(1); 5", "cpu_limit"),
        ("const next = () => setTimeout(next, 0, next()); next()", "exception"),
        (f"await fetch({URL}, {{ method: 'POST', duplex: 'half', body: new ReadableStream() }})", "deadlock"),
        (
            (
                f"await fetch({URL}, {{ method: 'POST', duplex: 'half', body: new ReadableStream({{ pull(c) {{"
                "c.enqueue(new Uint8Array(1e6)) } }) })"
            ),
            "memory_limit",
        ),
    ],
)
def test_what_has_no_end_fails_the_task(code, kind):
    assert failed(code, SHORT).error.kind == kind


# --- Prototypes and globals that the code has changed ------------------------------------------------

USES = {
    "fetch": (
        "const v = await fetch('http://a.test/1');"
        "const w = await fetch('http://a.test/2', { method: 'POST', body: 'b', headers: { a: '1' } });"
        "v === 1 && w === 2"
    ),
    "timers": (
        "clearTimeout(setTimeout(() => {}, 5)); await new Promise((go) => setTimeout(go, 1)); await sleep(1);"
        "(await fetch('http://a.test/1')) === 1"
    ),
    "signals": (
        "const c = new AbortController(), p = fetch('http://a.test/1', { signal: c.signal }); let n = 0;"
        "const q = fetch('http://a.test/2', { signal: AbortSignal.any([c.signal]) }); q.catch(() => n++);"
        "await p; c.abort(); await null; true"
    ),
    "requests": (
        "const q = new Request('http://a.test/1', { method: 'POST', headers: new Headers({ a: '1' }), body: 'x' });"
        "(await fetch(q)) === 1"
    ),
    "responses": (
        "const r = await fetch('http://a.test/r');"
        "r.status === 201 && (await r.text()) === 'é' && r.headers.get('a') === '1'"
    ),
    "tools": (
        "const v = await callTool('a', { b: 1 }), w = await callTool('c'); let n = 0;"
        "try { await callTool('fails', [2]) } catch (e) { n = e.message === 'no' } v === 1 && w === 1 && n"
    ),
    "events": (
        "const v = await waitForEvent('a'), w = await waitForEvent('b', { timeout: 5000 }); let n = 0;"
        "try { await waitForEvent('late', { timeout: 5 }) } catch (e) { n = e.name === 'TimeoutError' }"
        "v === 1 && w === 1 && n"
    ),
}

_NAMES = (
    "['id', 'url', 'accept', 'refuse', 'text', 'due', 'order', 'at', 'callback', 'status', 'headers', 'body',"
    "'Failure', 'timer', 'aborted', 'timeout', 'signal', 'kind', 'name', 'args']"
)
_THROW = "() => { throw 'polluted' }"

POLLUTIONS = {
    "accessors of Object.prototype": (
        f"for (const k of {_NAMES})"
        "Object.defineProperty(Object.prototype, k, { get() { throw k }, set() { throw k }, configurable: true })"
    ),
    "descriptors": "Object.prototype.get = Object.prototype.set = () => 3; Object.prototype.writable = true",
    "values of Object.prototype": f"for (const k of {_NAMES}) Object.prototype[k] = 'evil'",
    "thenables": "Object.prototype.then = (f) => f('evil')",
    "conversions": f"Object.prototype[Symbol.toPrimitive] = Object.prototype.toString = {_THROW}",
    "Promise then": f"Promise.prototype.then = {_THROW}",
    "Promise then that hangs": "Promise.prototype.then = () => new Promise(() => {})",
    "Promise resolve": f"Promise.resolve = Promise.reject = {_THROW}",
    "Promise constructor": (
        "Object.defineProperty(Promise.prototype, 'constructor', { get: () => function (f) { f(() => {}, () => {}) } })"
    ),
    "Promise itself": "globalThis.Promise = class { constructor() { throw 1 } }",
    "species": (
        "for (const C of [Promise, Array, Map, Set, RegExp, ArrayBuffer])"
        f"Object.defineProperty(C, Symbol.species, {{ get: {_THROW} }})"
    ),
    "Array iterator": "Array.prototype[Symbol.iterator] = function* () { yield 666 }",
    "Array iterator next": (
        "let left = 9; Object.getPrototypeOf([].values()).next = () => ({ done: left-- === 0, value: 'evil' })"
    ),
    "Array index": "Object.defineProperty(Array.prototype, 0, { set() { throw 1 }, get: () => 'evil' })",
    "Array methods": f"Array.prototype.join = () => '[]'; Array.prototype.push = Array.prototype.map = {_THROW}",
    "Map": f"for (const k of ['get', 'set', 'has', 'delete', 'forEach']) Map.prototype[k] = {_THROW}",
    "Set": f"for (const k of ['add', 'has', 'delete', 'forEach']) Set.prototype[k] = {_THROW}",
    "JSON": f"JSON.stringify = () => '[[{{}}],null]'; JSON.parse = {_THROW}",
    "Function": f"for (const k of ['call', 'apply', 'bind']) Function.prototype[k] = {_THROW}",
    "Reflect": f"Reflect.apply = Reflect.ownKeys = Reflect.construct = {_THROW}",
    "RegExp exec": f"RegExp.prototype.exec = RegExp.prototype[Symbol.replace] = {_THROW}",
    "RegExp that always finds": "RegExp.prototype.exec = () => ['x']; RegExp.prototype.test = () => true",
    "String": f"for (const k of ['concat', 'slice', 'indexOf', 'toLowerCase', 'split']) String.prototype[k] = {_THROW}",
    "instanceof": (
        "for (const C of [Object, Error, Response, Request, Headers, ReadableStream, Blob])"
        "Object.defineProperty(C, Symbol.hasInstance, { value: () => true })"
    ),
    "time": "Date.now = () => NaN; Date.prototype.getTime = () => -1; performance.now = () => Infinity",
    "prepareStackTrace": "Error.prepareStackTrace = () => { throw 1 }; Error.stackTraceLimit = Infinity",
    "globalThis": "globalThis = 5",
    "console": "console.log = console.error = 5; delete globalThis.console",
    "events": f"EventTarget.prototype.dispatchEvent = {_THROW}; globalThis.Event = class {{ static {{}} }}",
    "all is frozen": (
        "for (const k of Reflect.ownKeys(globalThis)) { const v = globalThis[k];"
        "if (typeof v === 'function') { Object.freeze(v); if (v.prototype) Object.freeze(v.prototype) } }"
    ),
}

PLACES = {
    "before": "{pollution}; {use}",
    "after a fetch": "await fetch('http://a.test/1'); {pollution}; {use}",
    "in a timer": "await new Promise((go) => setTimeout(() => {{ {pollution}; go() }}, 1)); {use}",
    "in a listener": (
        "const first = new AbortController(); first.signal.onabort = () => {{ {pollution} }};"
        "fetch('http://a.test/1', {{ signal: first.signal }}).catch(() => {{}}); first.abort(); {use}"
    ),
}

# These break the code's own awaits, or what the platform is written in, and fail the task alone.
MAY_FAIL = {
    *itertools.product(("accessors of Object.prototype", "values of Object.prototype", "thenables"), USES),
    *((each, "signals") for each in ("Array iterator", "Array iterator next", "Array index", "Array methods")),
    *((each, "signals") for each in ("Promise then", "species", "Set", "Map", "conversions", "descriptors")),
    *((each, "responses") for each in ("Promise then", "Promise then that hangs", "species")),
    ("Promise itself", "timers"),
    ("Map", "requests"),
    # The engine's own JSON.stringify calls that setter.
    ("Array index", "tools"),
}


def answer_of(request) -> Reply:
    if not isinstance(request, PendingRequest):
        answer = ErrorAnswer("no") if request.name == "fails" else ValueAnswer(1)
        return After(1, answer) if request.name == "late" else answer
    if request.url.endswith("/r"):
        return ResponseAnswer(201, "", {"A": "1"}, "é")
    return ValueAnswer(int(request.url[-1]))


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("pollution", POLLUTIONS)
def test_the_bookkeeping_survives_whatever_the_code_changes(pollution, use):
    for place in PLACES.values():
        run = run_program(
            place.format(pollution=POLLUTIONS[pollution], use=USES[use]), answer_of, limits=SHORT, most_pauses=12
        )
        # Whatever the task makes of it, the requests are those that it made.
        assert set(run.urls) <= {"http://a.test/1", "http://a.test/2", "http://a.test/r"}
        assert {call.name for call in run.tool_calls} <= {"a", "c", "fails"}
        assert {wait.name for wait in run.event_waits} <= {"a", "b", "late"}
        numbers = [request.id for request in (*run.requests, *run.tool_calls, *run.event_waits)]
        assert sorted(numbers) == sorted(set(numbers))
        if (pollution, use) not in MAY_FAIL:
            assert run.result is True, place


# --- What nobody catches -------------------------------------------------------------------------------


def logged(code: str) -> tuple[object, list[str]]:
    run = run_program(code, {})
    return run.result, [f"{entry.level}: {entry.message.splitlines()[0]}" for entry in run.logs]


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("Promise.reject(new Error('lost')); 5", ["error: Uncaught (in promise) Error: lost"]),
        ("Promise.reject(1).catch(() => {}); 5", []),
        ("const p = Promise.reject(1); await null; p.catch(() => {}); 5", []),
        (
            (
                "onunhandledrejection = (e) => { e.preventDefault(); console.log(e.reason, e.promise === p) };"
                "const p = Promise.reject(1); 5"
            ),
            ["log: 1 true"],
        ),
        (
            (
                "onrejectionhandled = (e) => console.log('handled', e.reason);"
                "const p = Promise.reject(1); await sleep(1); p.catch(() => {}); await sleep(1); 5"
            ),
            ["error: Uncaught (in promise) 1", "log: handled 1"],
        ),
        (
            "onunhandledrejection = () => { throw new Error('in the listener') }; Promise.reject(1); 5",
            ["error: Uncaught Error: in the listener", "error: Uncaught (in promise) 1"],
        ),
        ("setTimeout(() => { throw new Error('t') }, 1); await sleep(2); 5", ["error: Uncaught Error: t"]),
        (
            (
                "addEventListener('error', (e) => { e.preventDefault(); console.log(e.error.message) });"
                "setTimeout(() => { throw new Error('t') }, 1); await sleep(2); 5"
            ),
            ["log: t"],
        ),
        ("reportError(new TypeError('r')); 5", ["error: Uncaught TypeError: r"]),
        (
            "onerror = () => { throw new Error('again') }; reportError(new Error('first')); 5",
            ["error: Uncaught Error: again", "error: Uncaught Error: first"],
        ),
        ("onerror = () => reportError(2); reportError(1); 5", ["error: Uncaught 2", "error: Uncaught 1"]),
        (
            "addEventListener('x', () => { throw new Error('l') }); dispatchEvent(new Event('x')); 5",
            ["error: Uncaught Error: l"],
        ),
        (
            "const c = new AbortController(); c.signal.onabort = () => { throw new Error('a') }; c.abort(); 5",
            ["error: Uncaught Error: a"],
        ),
        ("reportError({ get message() { throw 1 } }); 5", ["error: Uncaught [object]"]),
        ("reportError(new Proxy({}, { get() { throw 1 }, has() { throw 2 } })); 5", ["error: Uncaught [object]"]),
        ("reportError(Symbol('s')); 5", ["error: Uncaught Symbol(s)"]),
        ("Array.prototype.map = () => { throw 1 }; Promise.reject(2); 5", ["error: Uncaught (in promise) [object]"]),
        ("delete globalThis.console; Promise.reject(2); 5", ["error: Uncaught (in promise) 2"]),
    ],
)
def test_what_nobody_catches_is_an_event_or_else_logged_and_the_task_goes_on(code, lines):
    assert logged(code) == (5, lines)


@pytest.mark.parametrize(
    "code", ["throw new Error('m')", "Promise.reject(new Error('m'))", "(async () => { throw new Error('m') })()"]
)
def test_what_fails_the_task_is_not_reported_besides(code):
    outcome = failed(f"onunhandledrejection = () => console.log('twice'); {code}")
    assert (str(outcome.error), outcome.logs) == ("Error: m", ())


def test_a_rejection_is_reported_while_others_are_waited_for():
    assert suspended("fetch('http://a/x'); Promise.reject(1); 5").logs == (
        LogEntry("error", "Uncaught (in promise) 1"),
    )


# --- The console ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ("new Proxy({}, { get() { throw 1 }, ownKeys() { throw 2 }, getPrototypeOf() { throw 3 } })", "[object]"),
        ("{ get constructor() { throw 1 } }", "[object]"),
        ("Object.create(null), Symbol()", "{} Symbol()"),
        ("new (class extends Map { get size() { throw 1 } })()", "[object]"),
        ("'%s', { toString() { throw 1 } }", "{toString: [Function: toString]}"),
        ("'%d %i', Symbol(), 10n", "NaN 10"),
        ("'%d', { toString() { throw 1 } }", "{toString: [Function: toString]}"),
        ("'%j', 10n", "10n"),
        ("'%j', (() => { const a = {}; a.a = a; return a })()", "{a: [Circular]}"),
        ("'%o %z %'", "%o %z %"),
    ],
)
def test_the_console_takes_any_value(values, text):
    outcome = programs.start(f"console.log({values}); 5")
    assert outcome == programs.Completed(5, (LogEntry("log", text),))


@pytest.mark.parametrize(
    "code",
    [
        "const deep = {}; let d = deep; for (let i = 0; i < 1e5; i++) d = d.d = {}; console.log(deep); 5",
        "console.log(new Array(1e9)); 5",
        "console.log({ length: 1e9, splice() {} }); 5",
        "console.log('x'.repeat(1e6)); 5",
        "const o = {}; for (let i = 0; i < 1e5; i++) o['k' + i] = o; console.log(o); 5",
    ],
)
def test_the_console_is_bounded(code):
    assert completed(code, SHORT) == 5
