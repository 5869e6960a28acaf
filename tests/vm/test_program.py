"""How a program ends: its result, its errors, and the code that never runs."""

from __future__ import annotations

import pytest
from support import answered, completed, failed, suspended

from sequential_core.errors import CodeSyntaxError, CodeTooLargeError, InvalidCodeError
from sequential_core.limits import Limits
from sequential_core.model import ErrorDetail, ErrorKind
from sequential_core.pending import ValueAnswer
from sequential_core.vm import machines, native
from sequential_core.vm import program as programs

# --- Code that is refused ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "line", "column"),
    [
        ("1 +", 1, 4),
        ("let a = 1;\nlet b = ];", 2, 9),
        ("const ok = 1;\n\n  return ok", 3, 3),
        ("export const a = 1", 1, 1),
        ("import x from 'y'", 1, 1),
        ("'half", 1, 1),
    ],
)
def test_code_that_does_not_parse_is_refused_with_its_place(code, line, column):
    with pytest.raises(CodeSyntaxError) as caught:
        programs.start(code)
    assert (caught.value.line, caught.value.column) == (line, column)
    assert caught.value.message
    assert str(caught.value) == f"SyntaxError: {caught.value.message} (line {line}, column {column})"


@pytest.mark.parametrize("code", [None, b"1", 1, ["1"]], ids=repr)
def test_code_that_is_no_string_is_refused(code):
    with pytest.raises(InvalidCodeError, match=type(code).__name__):
        programs.start(code)


def test_code_with_half_a_surrogate_pair_is_refused():
    with pytest.raises(InvalidCodeError, match="offset 1"):
        programs.start("'\ud800'")


def test_the_size_of_the_code_counts_in_utf_8():
    limits = Limits(code_bytes=4)
    assert completed("'é'", limits) == "é"
    with pytest.raises(CodeTooLargeError) as caught:
        programs.start("'éa'", limits)
    assert (caught.value.size_bytes, caught.value.limit_bytes) == (5, 4)


def test_nul_in_the_code_is_a_character_like_others():
    assert completed("'a\0b'.length") == 3


# --- Results -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "result"),
    [
        ("", None),
        ("// nothing", None),
        ("undefined", None),
        ("() => 1", None),
        ("Symbol('s')", None),
        ("NaN", None),
        ("let a = 1", None),
        ("1; 2;", 2),
        ("if (true) 'branch'", "branch"),
        ("let n = 0; for (; n < 3; ) n++", 2),
        ("[undefined, () => 1, Symbol('s')]", [None, None, None]),
        ("({ a: undefined, f() {}, b: 1 })", {"b": 1}),
        ("({ toJSON() { return 7 } })", 7),
        ("new Date(0)", "1970-01-01T00:00:00.000Z"),
        ("new Map([[1, 2]])", {}),
        ("[0, -0, 1e21, 0.5]", [0, 0, 1e21, 0.5]),
        ("'\\ud83d\\ude00'", "😀"),
        ("Promise.resolve(Promise.resolve(1))", 1),
    ],
)
def test_the_result_is_what_json_stringify_makes_of_the_last_value(code, result):
    assert completed(code) == result


@pytest.mark.parametrize(
    ("code", "name", "says"),
    [
        ("const o = {}; o.o = o; o", "TypeError", "circular"),
        ("[10n]", "TypeError", "BigInt"),
        ("({ toJSON() { throw new RangeError('mine') } })", "RangeError", "mine"),
        ("({ get a() { throw 5 } })", "Error", "uncaught 5"),
    ],
)
def test_a_result_that_json_cannot_hold_is_an_error_that_says_so(code, name, says):
    error = failed(code).error
    assert (error.kind, error.name) == (ErrorKind.RESULT_NOT_JSON, name)
    assert error.message.startswith("the result cannot be written as JSON: ")
    assert says in error.message


def test_a_result_nested_too_deeply_is_an_error_that_says_so():
    error = failed("let a = []; for (let i = 0; i < 3000; i++) a = [a]; a").error
    assert error.kind is ErrorKind.RESULT_NOT_JSON
    assert "nested" in error.message


def test_a_result_nested_200_deep_is_fine():
    value = completed("let a = []; for (let i = 0; i < 200; i++) a = [a]; a")
    depth = 0
    while value:
        (value,) = value
        depth += 1
    assert depth == 200


def test_a_call_of_fetch_while_the_result_is_written_makes_no_request():
    assert completed("({ get a() { fetch('http://a/x').catch(() => {}); return 1 } })") == {"a": 1}


# --- Errors --------------------------------------------------------------------------------------


def test_an_uncaught_exception_has_name_message_place_and_stack():
    code = "const x = 1;\nfunction inner() {\n  null.y;\n}\n\nfunction outer() { inner() }\n outer();"
    error = failed(code).error
    assert error.kind is ErrorKind.EXCEPTION
    assert (error.name, error.line, error.column) == ("TypeError", 3, 3)
    assert "null" in error.message
    places = [line.split("(")[1] for line in error.stack.splitlines()]
    assert places == ["task.js:3:3)", "task.js:6:20)", "task.js:7:2)"]
    assert str(error) == f"TypeError: {error.message}"


def test_an_exception_after_a_pause_has_its_place_too():
    outcome = answered("const v = await fetch('http://a/x');\n\n  v.a.b.c;", ValueAnswer({"a": 1}))
    assert isinstance(outcome, programs.Failed)
    assert (outcome.error.name, outcome.error.line, outcome.error.column) == ("TypeError", 3, 3)


@pytest.mark.parametrize(
    ("thrown", "message"),
    [
        ("1", "uncaught 1"),
        ("null", "uncaught null"),
        ("undefined", "uncaught undefined"),
        ("1n", "uncaught 1n"),
        ("Symbol('s')", "uncaught Symbol(s)"),
        ("({ a: 1 })", "uncaught {a: 1}"),
        ("({ message: 'says' })", "says"),
    ],
)
def test_whatever_is_thrown_is_described(thrown, message):
    error = failed(f"throw {thrown}").error
    assert error == ErrorDetail(ErrorKind.EXCEPTION, "Error", message)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("class Mine extends Error { name = 'Mine' } throw new Mine('m')", "Mine: m"),
        ("throw Object.assign(new Error('m'), { name: '' })", "Error: m"),
        ("throw new TypeError()", "TypeError"),
        ("throw new Error('é😀\\ud800\\0')", "Error: é😀\ufffd\0"),
        ("throw new AggregateError([1], 'several')", "AggregateError: several"),
        (
            "throw { message: { toString() { throw 1 } } }",
            "Error: uncaught {message: {toString: [Function: toString]}}",
        ),
        ("Promise.reject(new RangeError('r'))", "RangeError: r"),
        ("await (async () => { throw new URIError('u') })()", "URIError: u"),
        ("queueMicrotask(() => { throw new Error('in a microtask') }); 5", "Error: in a microtask"),
    ],
)
def test_an_error_reads_as_in_javascript(code, text):
    error = failed(code).error
    assert (error.kind, str(error)) == (ErrorKind.EXCEPTION, text)


@pytest.mark.parametrize(
    "trap",
    ["{ has() { throw 1 } }", "{ getPrototypeOf() { throw 1 } }"],
)
def test_a_thrown_proxy_whose_traps_throw_is_an_exception(trap):
    assert failed(f"throw new Proxy({{}}, {trap})").error.kind is ErrorKind.EXCEPTION


def test_an_error_is_described_where_the_code_changed_instanceof():
    error = failed(
        "Object.defineProperty(Error, Symbol.hasInstance, { value() { throw 1 } }); throw new Error('e')"
    ).error
    assert str(error) == "Error: e"


@pytest.mark.parametrize("code", ["JSON.parse('{')", "eval('1 +')", "new Function('1 +')", "new RegExp('(')"])
def test_a_syntax_error_at_run_time_is_a_failure_of_the_program(code):
    error = failed(f"\n  {code}").error
    assert (error.kind, error.name, error.line) == (ErrorKind.EXCEPTION, "SyntaxError", 2)


@pytest.mark.parametrize(
    "code",
    ["await new Promise(() => {})", "new Promise(() => {})", "(async () => { await new Promise(() => {}) })()"],
)
def test_waiting_for_what_nothing_can_settle_is_a_deadlock(code):
    error = failed(code).error
    assert (error.kind, error.name) == (ErrorKind.DEADLOCK, "DeadlockError")


def test_a_deadlock_is_seen_after_a_pause_too():
    outcome = answered("await fetch('http://a/x'); await new Promise(() => {})", ValueAnswer(1))
    assert isinstance(outcome, programs.Failed)
    assert outcome.error.kind is ErrorKind.DEADLOCK


def test_a_promise_that_nobody_awaits_is_no_deadlock():
    assert completed("new Promise(() => {}); 5") == 5


def test_a_rejection_that_nobody_awaits_is_ignored():
    assert completed("Promise.reject(new Error('lost')); 5") == 5


# --- Answers -------------------------------------------------------------------------------------


def test_a_state_can_be_resumed_again_and_again():
    paused = suspended("let n = 0; n += await fetch('http://a/x'); n")
    for value in (1, 2, 1):
        assert programs.resume(paused.state, {1: ValueAnswer(value)}) == programs.Completed(value, ())


def test_several_answers_are_delivered_in_the_order_given():
    paused = suspended("const log = []; for (const u of 'abc') fetch('http://a/' + u).then((v) => log.push(v)); log")
    answers = {number: ValueAnswer(number) for number in (3, 1, 2)}
    assert programs.resume(paused.state, answers) == programs.Completed([3, 1, 2], ())


def test_some_of_several_answers_leave_the_others_pending():
    paused = suspended("await Promise.all([fetch('http://a/a'), fetch('http://a/b'), fetch('http://a/c')])")
    after = programs.resume(paused.state, {2: ValueAnswer("B")})
    assert isinstance(after, programs.Suspended)
    assert [(request.id, request.url) for request in after.requests] == [(1, "http://a/a"), (3, "http://a/c")]


def test_ids_go_on_counting_across_pauses():
    paused = suspended("await fetch('http://a/a'); fetch('http://a/b'); await fetch('http://a/c')")
    after = programs.resume(paused.state, {1: ValueAnswer(0)})
    assert isinstance(after, programs.Suspended)
    assert [request.id for request in after.requests] == [2, 3]


@pytest.mark.parametrize("request_id", [0, 2, -1, 10**30])
def test_an_unknown_request_is_a_key_error_and_the_state_still_good(request_id):
    paused = suspended("await fetch('http://a/x')")
    with pytest.raises(KeyError):
        programs.resume(paused.state, {request_id: ValueAnswer(1)})
    assert programs.resume(paused.state, {1: ValueAnswer(1)}) == programs.Completed(1, ())


def test_a_request_cannot_be_answered_twice():
    paused = suspended("fetch('http://a/a'); await fetch('http://a/b')")
    after = programs.resume(paused.state, {1: ValueAnswer(1)})
    assert isinstance(after, programs.Suspended)
    with pytest.raises(KeyError):
        programs.resume(after.state, {1: ValueAnswer(1)})


def test_cyclic_garbage_is_collected_where_it_may_be_worth_it(monkeypatch):
    """At the first pause with many changes, then at every eighth, or when they have grown by half."""
    collected = []
    call = native.Exports.call

    def watched(exports, name, *arguments):
        if name == "qjs_run_gc":
            collected.append(pause)
        return call(exports, name, *arguments)

    machines._idle.clear()  # theirs would not be watched
    monkeypatch.setattr(native.Exports, "call", watched)
    code = (
        "const kept = Array.from({ length: 2000 }, (_, i) => ({ i })); let more = null;"
        "for (let n = 1; ; n++) { const o = {}; o.o = o; if (await fetch('http://a/')) more = kept.map((o) => [o]) }"
    )
    pause = 1
    outcome = programs.start(code)
    for pause in range(2, 21):
        assert isinstance(outcome, programs.Suspended)
        outcome = programs.resume(outcome.state, {outcome.requests[0].id: ValueAnswer(pause == 12)})
    assert collected == [1, 9, 12, 20]


def test_cyclic_garbage_of_a_loop_does_not_add_up():
    code = (
        "for (;;) { const o = { text: 'x'.repeat(100) }; o.list = Array.from({ length: 200 }, () => ({ o }));"
        " await fetch('http://a/') }"
    )
    outcome, sizes = programs.start(code), []
    for _ in range(40):
        assert isinstance(outcome, programs.Suspended)
        sizes.append(len(outcome.state))
        outcome = programs.resume(outcome.state, {outcome.requests[0].id: ValueAnswer(1)})
    assert max(sizes[20:]) <= 1.2 * max(sizes[:20])
