"""Timers in a program: what is due, in which order, and what else waits. Time is moved, never slept."""

from __future__ import annotations

from datetime import timedelta

import pytest
from support import Clocked, completed

from sequential_core.pending import ErrorAnswer, ValueAnswer
from sequential_core.testing import NOW
from sequential_core.vm import program as programs

URL = "https://api.test/"


def test_a_program_that_waits_for_a_timer_is_suspended_until_it_is_due():
    program = Clocked("await new Promise(resolve => setTimeout(resolve, 1500)); 'done'")
    assert program.outcome.requests == ()
    assert (program.outcome.timers.count, program.outcome.timers.keeping) == (1, 1)
    assert program.wakes_after == 1500
    program.resume(after=1499)
    assert program.wakes_after == 1500, "it is not due yet"
    program.resume(after=1)
    assert program.result == "done"


def test_sleep_is_a_promise_for_later():
    program = Clocked("const from = Date.now(); await sleep(250); Date.now() - from")
    assert program.wakes_after == 250
    program.resume(after=400)
    assert program.result == 400


def test_timers_run_in_the_order_in_which_they_are_due_and_those_of_one_instant_in_the_order_of_their_making():
    program = Clocked(
        "for (const [name, delay] of [['d', 30], ['b', 10], ['a', 5], ['c', 10], ['e', 30]])"
        "  setTimeout(() => console.log(name), delay);"
        "await sleep(40)"
    )
    assert program.resume(after=20) == ["a", "b", "c"]
    assert program.resume(after=20) == ["d", "e"]
    assert isinstance(program.outcome, programs.Completed)


def test_microtasks_run_between_two_timers():
    program = Clocked(
        "setTimeout(() => { console.log('one'); Promise.resolve().then(() => console.log('between')) }, 5);"
        "setTimeout(() => console.log('two'), 5); 0"
    )
    assert program.resume(after=5) == ["one", "between", "two"]


def test_what_is_due_at_once_needs_no_pause():
    assert completed("let n = 0; while (n < 5) { await new Promise(resolve => setTimeout(resolve)); n++ } n") == 5


@pytest.mark.parametrize("delay", ["0", "-5", "NaN", "'x'", "undefined", "null", "Infinity", "-Infinity", "{}", "0.9"])
def test_a_delay_that_is_no_positive_number_is_none(delay):
    assert completed(f"await new Promise(resolve => setTimeout(resolve, {delay})); 1") == 1


def test_a_delay_may_be_longer_than_the_standard_has_it_and_is_a_hundred_years_at_most():
    year = 365 * 86_400_000
    assert Clocked(f"await sleep({year})").wakes_after == year
    for wait in ("sleep(1e300)", "fetch('http://a/', { signal: AbortSignal.timeout(2 ** 53 - 1) })"):
        assert Clocked(f"await {wait}").wakes_after == 36525 * 86_400_000


def test_nested_timers_are_slowed_down_as_in_a_browser_and_so_end_a_hop():
    program = Clocked("let n = 0; const again = () => { n++; setTimeout(again, 0) }; again(); await sleep(1e6)")
    assert program.outcome.timers.count == 2, "the sixth level waits for 4 ms"
    assert program.wakes_after == 4


def test_a_callback_gets_its_arguments_and_the_global_object():
    program = Clocked(
        "setTimeout(function (...given) { console.log(given, this === globalThis) }, 1, 'a', { b: 2 }); 0"
    )
    assert program.resume(after=1) == ['["a", {b: 2}] true']


def test_an_interval_goes_on_until_it_is_cleared():
    program = Clocked("let n = 0; const id = setInterval(() => { if (++n === 3) clearInterval(id) }, 100); 'main'")
    for _ in range(2):
        program.resume(after=100)
        assert isinstance(program.outcome, programs.Suspended)
    program.resume(after=100)
    assert program.result == "main"


def test_an_interval_that_was_missed_runs_once_and_then_after_its_period():
    program = Clocked("let n = 0; setInterval(() => console.log(++n), 100); await sleep(10_000)")
    assert program.resume(after=950) == ["1"]
    assert program.wakes_after == 1050


@pytest.mark.parametrize("clear", ["clearTimeout(id)", "clearInterval(id)", "clearTimeout(String(id))"])
def test_a_cleared_timer_is_forgotten(clear):
    assert completed(f"const id = setTimeout(() => console.log('no'), 10); {clear}; 'over'") == "over"


@pytest.mark.parametrize("given", ["undefined", "null", "12345", "-1", "{}", "'x'", "NaN", ""])
def test_clearing_what_is_no_timer_does_nothing(given):
    assert completed(f"clearTimeout({given}); clearInterval({given}); 1") == 1


@pytest.mark.parametrize("handler", ["undefined", "null", "'alert(1)'", "{}", "1"])
def test_a_handler_is_a_function(handler):
    assert completed(f"try {{ setTimeout({handler}, 1) }} catch (error) {{ error.name }}") == "TypeError"


def test_an_error_in_a_callback_is_reported_and_the_program_goes_on():
    program = Clocked("setTimeout(() => { throw new RangeError('broken') }, 1); await sleep(2); 'whole'")
    (line,) = program.resume(after=2)
    assert line.startswith("Uncaught RangeError: broken")
    assert program.result == "whole"


def test_a_timer_keeps_a_program_whose_value_is_known_from_ending():
    program = Clocked("setTimeout(() => console.log('late'), 50); 'value'")
    assert isinstance(program.outcome, programs.Suspended)
    assert program.resume(after=50) == ["late"]
    assert program.result == "value"


def test_the_timer_of_a_timeout_signal_does_not():
    assert completed("AbortSignal.timeout(1000); 'value'") == "value"


def test_but_a_program_may_wait_for_it():
    program = Clocked(
        "await new Promise((_, reject) => {"
        "  const signal = AbortSignal.timeout(1000);"
        "  signal.addEventListener('abort', () => reject(signal.reason));"
        "})"
    )
    assert program.outcome.timers.keeping == 0
    program.resume(after=1000)
    assert program.outcome.error.name == "TimeoutError"


def test_so_does_one_whose_final_expression_is_a_promise():
    program = Clocked("new Promise(resolve => AbortSignal.timeout(5).addEventListener('abort', () => resolve('gone')))")
    program.resume(after=5)
    assert program.result == "gone"


def test_a_timer_that_came_due_during_a_pause_runs_before_the_answer():
    code = f"""
        const order = [];
        setTimeout(() => order.push('timer'), 1000);
        const answer = await fetch('{URL}').then((value) => (order.push(value), value));
        await sleep(2000);
        order
    """
    early = Clocked(code)
    early.resume({1: ValueAnswer("answer")}, after=999)
    early.resume(after=5000)
    assert early.result == ["answer", "timer"]
    late = Clocked(code)
    late.resume({1: ValueAnswer("answer")}, after=1000)
    late.resume(after=5000)
    assert late.result == ["timer", "answer"]


def test_a_fetch_that_timed_out_during_the_pause_is_aborted_and_its_answer_comes_to_nothing():
    code = f"try {{ await fetch('{URL}', {{ signal: AbortSignal.timeout(1000) }}) }} catch (error) {{ error.name }}"
    for answer in (ValueAnswer(1), ErrorAnswer("no")):
        program = Clocked(code)
        program.resume({1: answer}, after=1000)
        assert program.result == "TimeoutError"


def test_a_fetch_that_is_answered_in_time_leaves_its_timeout_behind():
    program = Clocked(f"await fetch('{URL}', {{ signal: AbortSignal.timeout(1000) }})")
    program.resume({1: ValueAnswer("in time")}, after=999)
    assert program.result == "in time"


def test_an_answer_for_a_request_that_never_was_is_refused_though_timers_are_due():
    program = Clocked(f"setTimeout(() => {{}}, 1); await fetch('{URL}')")
    with pytest.raises(KeyError):
        program.resume({7: ValueAnswer(1)}, after=5)


def test_a_race_with_a_timer_is_lost_when_the_answer_is_late():
    code = f"await Promise.race([fetch('{URL}'), sleep(100).then(() => 'too slow')])"
    program = Clocked(code)
    program.resume({1: ValueAnswer("answer")}, after=100)
    assert program.result == "too slow"


def test_the_soonest_timers_are_told_in_their_order():
    program = Clocked("for (let i = 0; i < 40; i++) setTimeout(() => {}, 1000 + (i * 7919) % 97); await sleep(9000)")
    timers = program.outcome.timers
    delays = sorted(1000 + (i * 7919) % 97 for i in range(40))[:16]
    assert timers.count == 41
    assert [(timer.due_at - NOW) / timedelta(milliseconds=1) for timer in timers.soonest] == delays


def test_ten_thousand_timers_run_in_their_order():
    program = Clocked(
        "let last = -1, sorted = true, ran = 0;"
        "for (let i = 0; i < 10_000; i++) {"
        "  const due = 10 + (i * 7919) % 10_007;"
        "  setTimeout(() => { ran++; sorted &&= due >= last; last = due }, due);"
        "}"
        "await sleep(20_000); [ran, sorted]"
    )
    assert program.outcome.timers.count == 10_001
    program.resume(after=20_000)
    assert program.result == [10_000, True]


def test_a_clock_that_goes_back_only_delays():
    program = Clocked("const from = performance.now(); await sleep(100); performance.now() - from >= 0")
    program.resume(after=-5000)
    assert program.wakes_after == 100
    program.resume(after=5100)
    assert program.result is True


def test_performance_counts_from_the_beginning_of_the_task_over_all_pauses():
    program = Clocked(
        f"const at = [performance.now()]; await fetch('{URL}'); [...at, performance.now(), performance.timeOrigin]"
    )
    program.resume({1: ValueAnswer(0)}, after=3_600_000)
    assert program.result == [0, 3_600_000, NOW.timestamp() * 1000]
