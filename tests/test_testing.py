"""What `sequential_core.testing` promises to those who test their own programs with it."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from sequential_core.errors import InvalidAnswerError, InvalidRequestError, SequentialError
from sequential_core.testing import (
    NEVER,
    NOW,
    After,
    Answers,
    EndlessProgramError,
    ErrorAnswer,
    MovedClock,
    ProgramFailedError,
    UnexpectedRequestError,
    ValueAnswer,
    in_turn,
    response,
    run_program,
)

URL = "https://api.test/"


def test_a_table_answers_by_url_and_remembers_the_requests():
    answers = Answers(
        {
            f"{URL}value": {"a": [1]},
            f"{URL}null": None,
            f"POST {URL}value": "posted",
            f"{URL}users/*": lambda request: request.url[-1],
            f"{URL}users/1*": response("one", status=201),
            f"{URL}down": ConnectionError("no route"),
        }
    )
    code = f"""
        const ask = (path, init) => fetch('{URL}' + path, init);
        [await ask('value'), await ask('null'), await ask('value', {{ method: 'POST', body: 'x' }}),
         await ask('users/7'), (await ask('users/1')).status, await ask('down').catch(String)]
    """
    run = run_program(code, answers)
    assert run.result == [{"a": [1]}, None, "posted", "7", 201, "TypeError: no route"]
    assert [request.url for request in answers.requests] == list(run.urls)
    assert run.requests[2].body == "x"
    assert run.pauses == 6


def test_a_request_that_the_table_has_not_fails_the_test_and_says_which():
    with pytest.raises(UnexpectedRequestError, match=r"DELETE https://api\.test/x") as caught:
        run_program(f"await fetch('{URL}x', {{ method: 'DELETE' }})", {})
    assert caught.value.request.method == "DELETE"
    assert isinstance(caught.value, AssertionError)
    assert isinstance(caught.value, SequentialError)


def test_answers_in_turn():
    table = {URL: in_turn(response(status=503), lambda request: response(request.method), ValueAnswer(3))}
    code = f"const ask = () => fetch('{URL}'); [(await ask()).status, await (await ask()).text(), await ask()]"
    assert run_program(code, table).result == [503, "GET", 3]
    with pytest.raises(UnexpectedRequestError):
        run_program(f"for (;;) await fetch('{URL}')", {URL: in_turn(1, 2)})


def test_tools_and_events_have_tables_of_their_own_and_are_remembered():
    answers = Answers(
        tools={
            "add": lambda args: args["a"] + args["b"],
            "fixed": ["value"],
            "down": ConnectionError("no route"),
            "slow": After(60, "at last"),
            "slow.down": After(60, TimeoutError("gave up")),
            "turns": in_turn(1, lambda args: args, ErrorAnswer("third")),
        },
        events={"paid": in_turn({"cents": 5}, After(3600, None)), "wait": lambda wait: wait.id},
    )
    code = """
        const call = (name, args) => callTool(name, args).catch(String);
        const tools = [await call('add', { a: 1, b: 2 }), await call('fixed'), await call('down'), await call('slow'),
          await call('slow.down'), await call('turns'), await call('turns', 'args'), await call('turns')];
        [tools, await waitForEvent('paid'), await waitForEvent('paid'), await waitForEvent('wait')]
    """
    run = run_program(code, answers)
    tools = [3, ["value"], "Error: no route", "at last", "Error: gave up", 1, "args", "Error: third"]
    assert run.result == [tools, {"cents": 5}, None, 11]
    assert run.elapsed == timedelta(seconds=60 + 60 + 3600)
    assert [call.name for call in run.tool_calls] == ["add", "fixed", "down", "slow", "slow.down", *["turns"] * 3]
    assert [wait.name for wait in run.event_waits] == ["paid", "paid", "wait"]
    assert (answers.tool_calls, answers.event_waits) == (list(run.tool_calls), list(run.event_waits))
    assert (run.requests, run.urls, answers.requests) == ((), (), [])


@pytest.mark.parametrize(
    ("code", "label"),
    [("await callTool('unknown', 1)", "tool unknown"), ("await waitForEvent('unknown')", "event unknown")],
)
def test_a_tool_or_an_event_that_the_tables_have_not_fails_the_test_and_says_which(code, label):
    with pytest.raises(UnexpectedRequestError, match=f"there is no answer for {label}"):
        run_program(code, Answers(tools={"known": 1}, events={"known": in_turn()}))
    with pytest.raises(EndlessProgramError, match=f"still waits for {label}"):
        run_program(code, Answers(tools={"unknown": NEVER}, events={"unknown": NEVER}))


def test_an_event_is_never_answered_by_an_error_nor_a_tool_by_a_response():
    with pytest.raises(InvalidAnswerError, match="an event has a value and never an error"):
        run_program("await waitForEvent('e')", Answers(events={"e": ValueError("no")}))
    with pytest.raises(InvalidAnswerError, match="only fetch takes a response"):
        run_program("await callTool('t')", Answers(tools={"t": response("text")}))


def test_what_the_function_of_a_tool_raises_fails_the_test():
    def broken(_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_program("await callTool('t').catch(() => {})", Answers(tools={"t": broken}))


def test_a_function_may_answer_requests_of_every_kind():
    code = f"[await fetch('{URL}'), await callTool('t'), await waitForEvent('e')]"
    assert run_program(code, lambda request: ValueAnswer(request.kind)).result == ["fetch", "tool", "event"]


def test_an_event_that_never_comes_times_out():
    code = "await waitForEvent('e', { timeout: 3600e3 }).catch((error) => error.name)"
    run = run_program(code, Answers(events={"e": NEVER}))
    assert (run.result, run.elapsed) == ("TimeoutError", timedelta(hours=1))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (response("text"), ["text", None]),
        (response({"a": 1}), ['{"a": 1}', "application/json"]),
        (response({"a": 1}, headers={"Content-Type": "text/x"}), ['{"a": 1}', "text/x"]),
        (response(b"\xff\x00"), ["\ufffd\0", None]),
        (response(None, status=204), ["", None]),
    ],
)
def test_responses(given, expected):
    code = f"const r = await fetch('{URL}'); [await r.text(), r.headers.get('content-type')]"
    assert run_program(code, {URL: given}).result == expected


def test_time_moves_to_what_comes_next_and_never_by_itself():
    clock = MovedClock(datetime(2031, 5, 6, tzinfo=timezone(timedelta(hours=2))))
    code = f"const a = Date.now(); await sleep(86400e3 * 30); await fetch('{URL}'); [a, Date.now()]"
    run = run_program(code, {URL: After(1.5, ValueAnswer(0))}, clock=clock)
    assert run.elapsed == timedelta(days=30, seconds=1.5)
    assert run.result == [clock.now.timestamp() * 1000 - 2592001500, clock.now.timestamp() * 1000]
    assert run_program("Date.now()", {}).result == NOW.timestamp() * 1000


def test_a_request_that_is_never_answered():
    assert (
        run_program(
            f"await fetch('{URL}', {{ signal: AbortSignal.timeout(50) }}).catch((error) => error.name)", {URL: NEVER}
        ).result
        == "TimeoutError"
    )
    with pytest.raises(EndlessProgramError, match=r"after 1 pauses the program still waits for GET https://api\.test/"):
        run_program(f"await fetch('{URL}')", {URL: NEVER})


def test_a_program_without_end_is_given_up():
    with pytest.raises(EndlessProgramError, match="after 21 pauses the program still waits for timers"):
        run_program("setInterval(() => {}, 10)", {}, most_pauses=20)


def test_a_program_that_fails_has_an_error_and_no_result():
    run = run_program("console.log('x'); throw new RangeError('bad')", {})
    assert str(run.error) == "RangeError: bad"
    assert [entry.message for entry in run.logs] == ["x"]
    with pytest.raises(ProgramFailedError, match="the program ended with RangeError: bad"):
        _ = run.result


def test_the_seed_orders_the_answers():
    code = f"""
        const seen = []; await Promise.all([1, 2, 3, 4].map((n) => fetch('{URL}' + n).then((x) => seen.push(x)))); seen
    """
    orders = {tuple(run_program(code, {f"{URL}*": lambda r: r.id}, seed=seed).result) for seed in (None, 1, 2, 3, 4)}
    assert (1, 2, 3, 4) in orders
    assert len(orders) > 2


def test_an_answer_that_a_task_could_not_take_is_refused():
    with pytest.raises(InvalidAnswerError):
        run_program(f"await fetch('{URL}')", lambda _: ValueAnswer(float("nan")))


def test_a_function_may_answer():
    assert (
        run_program(f"await fetch('{URL}').catch(String)", lambda r: ErrorAnswer(r.url)).result == f"TypeError: {URL}"
    )


def test_a_program_in_typescript_runs_too():
    code = "const n: number = await fetch('http://a/n'); n as unknown"
    assert run_program(code, {"http://a/n": 7}, language="typescript").result == 7
    with pytest.raises(InvalidRequestError, match="language"):
        run_program(code, {}, language="elm")
