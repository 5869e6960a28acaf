"""Events that a program waits for: how they come, time out and are given up. Time is moved, never slept."""

from __future__ import annotations

import pytest
from support import Clocked, completed, failed, suspended

from sequential_core.limits import Limits
from sequential_core.model import ErrorKind
from sequential_core.pending import PendingEvent, PendingRequest, PendingTool, ValueAnswer
from sequential_core.testing import NEVER, After, Answers, in_turn, run_program
from sequential_core.vm import program as programs

URL = "https://api.test/"


# --- What is pending ---------------------------------------------------------------------------------


def test_a_program_waits_for_an_event_by_its_name():
    (wait,) = suspended("\n  await waitForEvent('order.paid')").requests
    assert wait == PendingEvent(1, "order.paid", line=2, column=9)


@pytest.mark.parametrize("value", [None, True, 0, -1.5, "é\ud800", [], {"a": [{}]}, {"then": 1}])
def test_the_value_of_the_event_is_delivered_as_it_is(value):
    paused = suspended("const got = await waitForEvent('e'); got")
    assert programs.resume(paused.state, {1: ValueAnswer(value)}) == programs.Completed(value, ())


def test_fetches_tools_and_events_are_counted_together():
    paused = suspended(f"waitForEvent('a'); fetch('{URL}'); callTool('b'); waitForEvent('a'); fetch('{URL}')")
    kinds = [PendingEvent, PendingRequest, PendingTool, PendingEvent, PendingRequest]
    assert [type(request) for request in paused.requests] == kinds
    assert [request.id for request in paused.requests] == [1, 2, 3, 4, 5]


def test_several_may_wait_for_the_same_event_and_each_is_settled_by_its_number():
    paused = suspended("await Promise.all([waitForEvent('e'), waitForEvent('e'), waitForEvent('e')])")
    assert [(wait.id, wait.name) for wait in paused.requests] == [(1, "e"), (2, "e"), (3, "e")]
    paused = programs.resume(paused.state, {2: ValueAnswer("second")})
    assert [wait.id for wait in paused.requests] == [1, 3]
    ended = programs.resume(paused.state, {1: ValueAnswer("first"), 3: ValueAnswer("third")})
    assert ended.result == ["first", "second", "third"]


def test_a_pending_event_is_no_deadlock_and_keeps_a_program_whose_value_is_known_from_ending():
    paused = suspended("waitForEvent('e').then((value) => console.log(value)); 'value'")
    ended = programs.resume(paused.state, {1: ValueAnswer("late")})
    assert (ended.result, [entry.message for entry in ended.logs]) == ("value", ["late"])


@pytest.mark.parametrize("name", ["a", "9", "A-Z_a-z.0:9", "-", "x" * 128])
def test_names_that_an_event_may_have(name):
    (wait,) = suspended(f"waitForEvent('{name}')").requests
    assert wait.name == name


@pytest.mark.parametrize(
    "name",
    [
        *("", "''", "'a b'", "'é'", "'a\\n'", "'a/b'", "'a#b'", "'\"'", "'x'.repeat(129)"),
        *("5", "null", "undefined", "['a']", "Symbol('a')", "{ toString: () => 'a' }", "new String('a')"),
    ],
)
def test_names_that_no_event_and_no_tool_may_have_reject_with_a_type_error_and_use_up_no_number(name):
    paused = suspended(
        "const names = [], note = (error) => names.push(error.name);"
        f"for (const ask of [waitForEvent, callTool]) await ask({name}).catch(note); await waitForEvent('fine'); names"
    )
    assert [wait.id for wait in paused.requests] == [1]
    assert programs.resume(paused.state, {1: ValueAnswer(0)}).result == ["TypeError", "TypeError"]


@pytest.mark.parametrize("options", ["undefined", "null", "{}", "{ timeout: undefined, signal: null }", "[]"])
def test_options_that_ask_for_nothing(options):
    paused = suspended(f"waitForEvent('e', {options})")
    assert (len(paused.requests), paused.timers) == (1, None)


@pytest.mark.parametrize(
    "options",
    [
        *("5", "'x'", "true"),
        *(f"{{ timeout: {each} }}" for each in ("-1", "-Infinity", "NaN", "'5'", "null", "5n", "{}", "new Number(5)")),
        *(f"{{ signal: {each} }}" for each in ("{}", "5", "new EventTarget()", "new AbortController()")),
    ],
)
def test_options_of_another_type_reject_with_a_type_error(options):
    assert completed(f"await waitForEvent('e', {options}).catch((error) => error.name)") == "TypeError"


def test_what_a_getter_of_the_options_throws_is_the_rejection():
    assert completed("await waitForEvent('e', { get timeout() { throw 'mine' } }).catch((error) => error)") == "mine"


def test_a_wait_while_the_outcome_is_written_is_refused():
    code = "({ toJSON() { waitForEvent('e').catch(() => {}); callTool('t').catch(() => {}); return 1 } })"
    assert completed(code) == 1


def test_the_functions_are_globals_like_those_of_the_platform():
    found = completed(
        "['fetch', 'waitForEvent', 'callTool'].map((name) => {"
        "  const { value, ...rest } = Object.getOwnPropertyDescriptor(globalThis, name);"
        "  return [value.name, value.length, rest];"
        "})"
    )
    rest = {"writable": True, "enumerable": False, "configurable": True}
    assert found == [["fetch", 1, rest], ["waitForEvent", 1, rest], ["callTool", 1, rest]]


# --- Timeouts ----------------------------------------------------------------------------------------

CAUGHT = "catch (error) { [error instanceof DOMException, error.name, error.message] }"
LATE = [True, "TimeoutError", "The event order.paid did not come within 1000 ms"]
PATIENT = f"try {{ await waitForEvent('order.paid', {{ timeout: 1000 }}) }} {CAUGHT}"


def test_a_timeout_is_a_timer_that_rejects_and_takes_the_request_back():
    program = Clocked(PATIENT)
    assert [wait.name for wait in program.outcome.requests] == ["order.paid"]
    assert (program.outcome.timers.count, program.outcome.timers.keeping, program.wakes_after) == (1, 1, 1000)
    program.resume(after=999)
    assert program.wakes_after == 1000, "it is not due yet"


@pytest.mark.parametrize("after", [1000, 1001, 86_400_000])
def test_a_wait_that_times_out_rejects_with_an_error_that_names_the_event(after):
    program = Clocked(PATIENT)
    program.resume(after=after)
    assert program.result == LATE


def test_a_request_that_timed_out_is_no_longer_pending():
    program = Clocked(f"await waitForEvent('e', {{ timeout: 5 }}).catch(() => {{}}); await fetch('{URL}')")
    program.resume(after=5)
    assert [(request.id, type(request)) for request in program.outcome.requests] == [(2, PendingRequest)]
    assert program.outcome.timers is None


def test_an_event_in_time_takes_the_timer_with_it():
    program = Clocked(PATIENT)
    program.resume({1: ValueAnswer("paid")}, after=999)
    assert program.result == "paid", "and the task does not wait for the timer"


def test_an_event_at_the_very_instant_of_the_timeout_is_too_late():
    program = Clocked(PATIENT)
    program.resume({1: ValueAnswer("paid")}, after=1000)
    assert program.result == LATE


def test_an_event_that_was_too_late_for_one_wait_is_not_given_to_another():
    program = Clocked(
        "const one = waitForEvent('e', { timeout: 10 }).catch((error) => error.name), two = waitForEvent('e');"
        "await Promise.all([one, two])"
    )
    program.resume({1: ValueAnswer("late")}, after=10)
    assert [wait.id for wait in program.outcome.requests] == [2]
    program.resume({2: ValueAnswer("next")})
    assert program.result == ["TimeoutError", "next"]


def test_a_timeout_of_nothing_needs_no_pause():
    assert completed("await waitForEvent('e', { timeout: 0 }).catch((error) => error.name)") == "TimeoutError"


@pytest.mark.parametrize(("timeout", "wakes_after"), [("1.9", 1), ("2 ** 40", 2**40), ("1e300", 36525 * 86_400_000)])
def test_timeouts_are_whole_milliseconds_and_a_hundred_years_at_most(timeout, wakes_after):
    assert Clocked(f"await waitForEvent('e', {{ timeout: {timeout} }})").wakes_after == wakes_after


def test_an_infinite_timeout_is_none():
    assert Clocked("await waitForEvent('e', { timeout: Infinity })").outcome.timers is None


def test_timeouts_run_in_the_order_in_which_they_are_due():
    program = Clocked(
        "const seen = [], wait = (name, timeout) => waitForEvent(name, { timeout }).catch(() => seen.push(name));"
        "await Promise.all([wait('c', 30), wait('a', 10), wait('d', 30), wait('b', 20)]); seen"
    )
    program.resume(after=20)
    assert [wait.name for wait in program.outcome.requests] == ["c", "d"]
    program.resume(after=10)
    assert program.result == ["a", "b", "c", "d"]


# --- Signals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("timeout", ["", "timeout: 5000,"])
def test_an_aborted_wait_leaves_the_pending_requests_with_its_timer_and_rejects_with_the_reason(timeout):
    code = f"""
        const control = new AbortController();
        const wait = waitForEvent('e', {{ {timeout} signal: control.signal }}).catch((reason) => reason);
        await fetch('{URL}'); control.abort('enough'); await wait
    """
    program = Clocked(code)
    assert [request.id for request in program.outcome.requests] == [1, 2]
    program.resume({2: ValueAnswer(0)})
    assert program.result == "enough"


def test_a_signal_that_is_aborted_already_makes_no_request():
    assert completed("await waitForEvent('e', { signal: AbortSignal.abort('no') }).catch((reason) => reason)") == "no"


def test_a_signal_that_times_out_ends_the_wait_by_its_own_reason():
    program = Clocked("await waitForEvent('e', { signal: AbortSignal.timeout(50) }).catch((error) => error.message)")
    program.resume(after=50)
    assert program.result == "The operation timed out."


def test_a_signal_that_is_aborted_after_the_event_changes_nothing():
    program = Clocked(
        "const control = new AbortController();"
        "const got = await waitForEvent('e', { signal: control.signal, timeout: 100 }); control.abort(); got"
    )
    program.resume({1: ValueAnswer("came")})
    assert program.result == "came"


# --- Together with fetches ---------------------------------------------------------------------------

RACE = f"const won = await Promise.race([waitForEvent('stop'), fetch('{URL}')]); await callTool('tell', won); won"


@pytest.mark.parametrize(("first", "second"), [(1, 2), (2, 1)])
def test_a_race_of_an_event_and_a_fetch_is_won_by_whichever_comes_first(first, second):
    program = Clocked(RACE)
    program.resume({first: ValueAnswer(first)})
    assert [request.id for request in program.outcome.requests] == [second, 3], "the other one is still to be answered"
    assert program.outcome.requests[1].args == first
    program.resume({3: ValueAnswer(None)})
    program.resume({second: ValueAnswer(second)})
    assert program.result == first


def test_a_race_of_an_event_and_time():
    program = Clocked("await Promise.race([waitForEvent('e', { timeout: 500 }), sleep(100).then(() => 'slept')])")
    program.resume(after=100)
    assert [wait.id for wait in program.outcome.requests] == [1]
    assert program.wakes_after == 500
    program.resume(after=400)
    assert program.result == "slept", "what rejects after a race was lost is handled"
    assert program.outcome.logs == ()


# --- Limits ------------------------------------------------------------------------------------------


def test_events_and_tools_count_for_the_number_of_pending_requests():
    code = f"fetch('{URL}'); waitForEvent('e'); callTool('t'); 1"
    assert len(suspended(code, Limits(pending_requests=3)).requests) == 3
    assert failed(code, Limits(pending_requests=2)).error.kind is ErrorKind.PENDING_REQUESTS_LIMIT


def test_events_count_for_the_bytes_of_the_requests():
    limits = Limits(request_bytes=10_000)
    code = "for (let i = 0; i < count; i++) waitForEvent('x'.repeat(128)); 1"
    assert len(suspended(f"const count = 20; {code}", limits).requests) == 20
    assert failed(f"const count = 100; {code}", limits).error.kind is ErrorKind.REQUEST_LIMIT


# --- Cut anywhere ------------------------------------------------------------------------------------

EVERYTHING = f"""
    const seen = [], note = (label) => (value) => {{ seen.push([label, value]); return value; }};
    const failed = (label) => (error) => note(label)(error.name + ': ' + error.message);
    const control = new AbortController();
    const waits = [
      waitForEvent('order.paid', {{ timeout: 60_000 }}).then(note('paid'), failed('paid')),
      waitForEvent('order.paid').then(note('again')),
      waitForEvent('order.sent', {{ timeout: 1_500 }}).then(note('sent'), failed('sent')),
      waitForEvent('order.lost', {{ signal: control.signal }}).catch(note('lost')),
      callTool('charge', {{ cents: [1, 2n > 1n, 'é'] }}).then(note('charge')),
      callTool('charge', null).catch(failed('declined')),
      fetch('{URL}').then(note('fetch')),
      sleep(30_000).then(() => control.abort('gone')),
    ];
    await Promise.all(waits);
    async function* more() {{ for (;;) yield await waitForEvent('more', {{ timeout: 10 }}); }}
    for await (const value of more()) if (note('more')(value) === 3) break;
    seen.sort((a, b) => (a[0] < b[0] ? -1 : 1))
"""
EXPECTED = [
    ["again", 2],
    ["charge", "ok"],
    ["declined", "Error: no money"],
    ["fetch", {"a": 1}],
    ["lost", "gone"],
    ["more", 1],
    ["more", 2],
    ["more", 3],
    ["paid", 1],
    ["sent", "TimeoutError: The event order.sent did not come within 1500 ms"],
]


def answers():
    return Answers(
        {URL: After(2, {"a": 1})},
        tools={"charge": lambda args: "ok" if args else ValueError("no money")},
        events={
            "order.paid": in_turn(After(20, 1), After(40, 2)),
            "order.sent": After(1.5, "at the very instant"),
            "order.lost": NEVER,
            "more": in_turn(1, After(0.001, 2), After(0.009, 3)),
        },
    )


@pytest.mark.parametrize("seed", [None, 1, 2, 3])
def test_a_program_with_events_and_tools_means_the_same_wherever_it_is_cut(seed):
    uncut = run_program(EVERYTHING, answers(), seed=seed, one_machine=True)
    assert uncut.result == EXPECTED
    assert run_program(EVERYTHING, answers(), seed=seed).meaning == uncut.meaning
    assert run_program(EVERYTHING, answers(), seed=seed, pause_everywhere=True).meaning == uncut.meaning
    assert [call.args for call in uncut.tool_calls] == [{"cents": [1, True, "é"]}, None]
    assert [wait.name for wait in uncut.event_waits][:4] == ["order.paid", "order.paid", "order.sent", "order.lost"]


def test_many_waits_with_timeouts_each_end_as_they_should():
    code = """
        const all = [];
        for (let i = 0; i < 60; i++)
          all.push(waitForEvent('n' + i % 3, { timeout: 100 + i }).then((value) => value, () => 'late ' + i));
        await Promise.all(all)
    """
    program = Clocked(code)
    waits = program.outcome.requests
    assert len(waits) == program.outcome.timers.count == 60
    program.resume({wait.id: ValueAnswer(wait.name) for wait in waits[:20]}, after=50)
    assert program.outcome.timers.count == 40
    program.resume(after=89)  # those of 100 to 139 ms are due
    assert [wait.id for wait in program.outcome.requests] == list(range(41, 61))
    program.resume({wait.id: ValueAnswer("in time") for wait in program.outcome.requests})
    assert program.result == [f"n{i % 3}" for i in range(20)] + [f"late {i}" for i in range(20, 40)] + ["in time"] * 20
