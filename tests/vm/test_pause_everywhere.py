"""A program means the same in one machine, cut at every pause, and cut before every job."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sequential_core.errors import CodeSyntaxError
from sequential_core.limits import Limits
from sequential_core.model import ErrorKind
from sequential_core.testing import NEVER, After, Answers, ErrorAnswer, ValueAnswer, response, run_program
from sequential_core.vm import program as programs

pytestmark = pytest.mark.once  # the guest is the same bytes on every Python

URL = "https://api.test/"

PROGRAMS = {
    "loops and closures": (
        """
        const add = []; for (let i = 0; i < 3; i++) add.push(async (n) => n + i + '' + await fetch(URL + i));
        const sums = []; for (const f of add) sums.push(await f(10)); sums
        """,
        ["10/0", "11/1", "12/2"],
    ),
    "generators": (
        """
        function* numbers() { try { for (let i = 0; ; i++) yield i; } finally { console.log('closed'); } }
        async function* answers() { for (const n of numbers()) { if (n > 2) return; yield await fetch(URL + n); } }
        const got = []; for await (const answer of answers()) got.push(answer); got
        """,
        ["/0", "/1", "/2"],
    ),
    "combinators": (
        """
        const ask = (path) => fetch(URL + path);
        const all = await Promise.all([ask(1), 2, ask(3)]);
        const settled = (await Promise.allSettled([ask('bad'), ask(4)])).map((each) => each.status);
        const any = await Promise.any([ask('bad'), ask(5)]), race = await Promise.race([ask(6), sleep(5)]);
        [all, settled, any, race]
        """,
        [["/1", 2, "/3"], ["rejected", "fulfilled"], "/5", "/6"],
    ),
    "finally": (
        """
        const steps = [];
        const work = async () => {
          try { await fetch(URL + 'bad'); } catch (error) { steps.push(error.name); return await fetch(URL + 'c'); }
          finally { steps.push(await fetch(URL + 'f')); }
        };
        steps.push(await work()); steps
        """,
        ["TypeError", "/f", "/c"],
    ),
    "timers": (
        """
        const steps = [], every = setInterval(again, 10);
        function again() { steps.push('every'); if (steps.length > 4) clearInterval(every); }
        setTimeout((...args) => { steps.push(args); queueMicrotask(() => steps.push('micro')); }, 15, 1, 'two');
        await sleep(100); await fetch(URL); steps
        """,
        ["every", [1, "two"], "micro", "every", "every"],
    ),
    "signals": (
        """
        const control = new AbortController(), seen = [];
        control.signal.addEventListener('abort', (event) => seen.push(event.type, control.signal.reason.name));
        const late = fetch(URL + 'never', { signal: AbortSignal.any([control.signal, AbortSignal.timeout(1000)]) });
        const slow = fetch(URL + 'never', { signal: AbortSignal.timeout(50) });
        setTimeout(() => control.abort(), 20);
        for (const each of [late, slow]) await each.catch((error) => seen.push(error.name));
        seen
        """,
        ["abort", "AbortError", "AbortError", "TimeoutError"],
    ),
    "streams": (
        """
        const source = new ReadableStream({
          async pull(controller) {
            this.n = (this.n ?? 0) + 1;
            if (this.n > 3) controller.close(); else controller.enqueue(await fetch(URL + this.n));
          },
        });
        const [left, right] = source.pipeThrough(new TextEncoderStream()).tee();
        [await new Response(left).text(), await new Response(right).text()]
        """,
        ["/1/2/3", "/1/2/3"],
    ),
    "thenables and proxies": (
        """
        const slow = { then(accept) { setTimeout(accept, 5, fetch(URL + 't')); } };
        const seen = [], get = (target, key) => { seen.push(String(key)); return target[key]; };
        const traced = new Proxy({ get x() { return fetch(URL + 'x'); } }, { get });
        [await slow, await traced.x, seen]
        """,
        ["/t", "/x", ["x"]],
    ),
    "unhandled rejections": (
        """
        addEventListener('unhandledrejection', (event) => {
          console.log('seen', event.reason.message);
          event.preventDefault();
        });
        const late = Promise.reject(new Error('late')); Promise.reject(new Error('lost'));
        await fetch(URL); await late.catch((error) => error.message)
        """,
        "late",
    ),
}


def answer(request):
    path = request.url.removeprefix("https://api.test")
    if "never" in path:
        return NEVER
    return ErrorAnswer(path) if "bad" in path else ValueAnswer(path)


def three_ways(code, respond=answer, **options):
    """The runs of a program in one machine, cut at every pause, and cut everywhere."""
    return [
        run_program(code, respond, **how, **options) for how in ({"one_machine": True}, {}, {"pause_everywhere": True})
    ]


def with_url(code):
    return f"const URL = {json.dumps(URL)}; {code}"


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_means_the_same_wherever_it_is_cut(name):
    code, expected = PROGRAMS[name]
    uncut, cut, everywhere = three_ways(with_url(code))
    assert uncut.result == expected
    assert cut.meaning == uncut.meaning
    assert everywhere.meaning == uncut.meaning


# What a step of a generated program awaits, and what happens around it.
STEPS = st.sampled_from(
    [
        "out.push(await fetch(URL + out.length));",
        "out.push(await Promise.all([fetch(URL + 'p'), null, sleep(3).then(() => 'slept')]));",
        "await fetch(URL + 'bad').catch((error) => out.push(error.name));",
        "for await (const each of (async function* () { yield 1; yield await fetch(URL + 'g'); })()) out.push(each);",
        "try { throw await fetch(URL + 'f'); } catch (e) { out.push(e); } finally { await null; out.push('f'); }",
        "setTimeout(() => out.push('timer'), 2);",
        "queueMicrotask(() => out.push('micro'));",
        "await sleep(1);",
        "out.push(await new Response(new Blob(['a', 'b']).stream()).text());",
        "out.push(structuredClone(new Map([[out.length, new Set([1])]])).size);",
        "await fetch(URL + 'never', { signal: AbortSignal.timeout(4) }).catch((error) => out.push(error.name));",
        "console.log(out.length, [...new Headers({ b: '1', A: '2' })]);",
    ]
)


@settings(max_examples=8)
@given(st.lists(STEPS, min_size=1, max_size=6), st.integers(0, 2**32))
def test_generated_programs_mean_the_same_wherever_they_are_cut(steps, seed):
    body = " ".join(steps)
    code = with_url(f"const out = []; await Promise.all([0, 1].map(async () => {{ {body} }})); await sleep(10); out")
    uncut, cut, everywhere = three_ways(code, seed=seed)
    assert uncut.error is None
    assert cut.meaning == uncut.meaning
    assert everywhere.meaning == uncut.meaning


def test_it_is_cut_before_every_job(monkeypatch):
    cuts = []
    cut = programs.Program._cut

    def counted(program):
        before = program._machine
        cut(program)
        cuts.append(program._machine is not before)

    monkeypatch.setattr(programs.Program, "_cut", counted)
    run_program("for (let i = 0; i < 20; i++) await null; 1", {}, pause_everywhere=True)
    assert len(cuts) > 20
    assert all(cuts), "each cut goes on in another machine"


def test_the_cpu_time_of_a_hop_is_that_of_all_its_machines():
    code = "const spin = () => { for (let i = 0; i < 3e5; i++); }; for (;;) { spin(); await null; }"
    run = run_program(code, {}, pause_everywhere=True, limits=Limits(cpu_seconds=0.2))
    assert run.error.kind is ErrorKind.CPU_LIMIT


def test_the_cuts_themselves_take_nothing_of_the_cpu_time():
    code = "for (let i = 0; i < 60; i++) await null; 'done'"
    assert run_program(code, {}, pause_everywhere=True, limits=Limits(cpu_seconds=0.08)).result == "done"


def test_the_logs_of_a_hop_share_one_limit():
    code = "for (let i = 0; i < 10; i++) { console.log('0123456789'); await null; }"
    cut, everywhere = (
        run_program(code, {}, pause_everywhere=each, limits=Limits(log_bytes=35)) for each in (False, True)
    )
    assert [entry.message for entry in cut.logs] == ["0123456789"] * 3 + [
        "01234",
        "logs truncated: a hop may write 35 bytes",
    ]
    assert everywhere.logs == cut.logs


def test_the_limit_of_a_state_is_that_of_a_pause_and_not_of_a_cut():
    code = f"let big = Array.from({{ length: 2e4 }}, Math.random); await null; big = null; await fetch('{URL}')"
    assert run_program(code, answer, pause_everywhere=True, limits=Limits(state_bytes=50_000)).result == "/"


@pytest.mark.parametrize("code", ["throw new RangeError('bad')", "await null; null.x", "await new Promise(() => {})"])
def test_errors_are_the_same(code):
    cut, everywhere = (run_program(code, {}, pause_everywhere=each) for each in (False, True))
    assert cut.error is not None
    assert everywhere.error == cut.error


def test_code_that_does_not_parse_is_refused_as_ever():
    with pytest.raises(CodeSyntaxError):
        run_program("let x = ;", {}, pause_everywhere=True)


def test_answers_and_timers_come_in_the_order_of_time():
    respond = Answers({f"{URL}a": After(3, ValueAnswer("a")), f"{URL}b": After(1, response("b")), f"{URL}*": 0})
    code = with_url("""
        const seen = [], note = (what) => seen.push(`${what} ${performance.now()}`);
        fetch(URL + 'a').then(note); fetch(URL + 'b').then(() => note('b')); fetch(URL + 'c').then(note);
        await sleep(2000); note('slept'); await sleep(5000); seen
    """)
    for run in three_ways(code, respond):
        assert run.result == ["0 0", "b 1000", "slept 2000", "a 3000"]
        assert run.elapsed.total_seconds() == 7
