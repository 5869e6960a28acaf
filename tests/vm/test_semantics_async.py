"""Promises, generators and jobs that keep their meaning when the program pauses."""

from __future__ import annotations

import pytest
from support import check_program, echo, refuse_bad, run_cut, run_uncut, suspended

from sequential_core.pending import ValueAnswer
from sequential_core.vm import program as programs

pytestmark = pytest.mark.once  # the guest is the same bytes on every Python

PROMISES = {
    "then, catch and finally": (
        (
            "ask('a').then((a) => ask(a + 'b')).then((x) => { throw x }).catch((e) => 'c' + e)"
            ".finally(() => ask('ignored'))"
        ),
        "cab",
    ),
    "Promise.any skips a rejection": ("await Promise.any([ask('bad'), ask('good')])", "good"),
    "Promise.any with rejections only": (
        (
            "let e; try { await Promise.any([ask('bad 1'), ask('bad 2')]) } catch (x) { e = x }"
            "[e.constructor === AggregateError, e.errors.map((x) => x.message)]"
        ),
        [True, ["bad 1", "bad 2"]],
    ),
    "Promise.allSettled": (
        "(await Promise.allSettled([ask('a'), ask('bad')])).map((x) => [x.status, x.value ?? x.reason.message])",
        [["fulfilled", "a"], ["rejected", "bad"]],
    ),
    "Promise.withResolvers settled much later": (
        (
            "const { promise, resolve } = Promise.withResolvers(); const p = promise.then((x) => x + '!');"
            "await ask('x'); resolve('done'); await p"
        ),
        "done!",
    ),
    "Promise.all rejects and the rest goes on": (
        (
            "const done = []; const track = async (u) => { done.push(await ask(u)) };"
            "try { await Promise.all([track('a'), track('bad'), track('b')]) } catch (e) { done.push(e.message) }"
            "await ask('last'); done"
        ),
        ["a", "bad", "b"],
    ),
    "a thenable of the code's own": ("await { then(accept) { ask('x').then(accept) } }", "x"),
    "a thenable that rejects": (
        "let s; try { await { then: (_, refuse) => ask('x').then(refuse) } } catch (e) { s = 'refused ' + e } s",
        "refused x",
    ),
    "a subclass of Promise": (
        (
            "class Mine extends Promise {} const m = Mine.resolve(ask('x')); const p = m.then((v) => v + '!');"
            "await ask('y'); [p instanceof Mine, await p]"
        ),
        [True, "x!"],
    ),
    "the result is a promise": ("(async () => [await ask('x')])()", ["x"]),
    "the result is the promise of fetch itself": ("ask('x')", "x"),
    "callers share one promise": (
        "const made = {}, get = (u) => (made[u] ??= ask(u)); (await Promise.all([get('a'), get('a')])).join()",
        "a,a",
    ),
    "workers with a shared queue": (
        """
        const queue = ['a', 'b', 'c', 'd', 'e'], done = [];
        const worker = async () => { while (queue.length) done.push(await ask(queue.shift())) };
        await Promise.all([worker(), worker()]); done.sort().join('')
        """,
        "abcde",
    ),
    "an error of a rejected fetch keeps its identity": (
        (
            "const p = ask('bad'); let a, b; try { await p } catch (e) { a = e } await ask('x');"
            "try { await p } catch (e) { b = e } a === b"
        ),
        True,
    ),
}

GENERATORS = {
    "an async generator is given values and returned from": (
        """
        const log = [];
        async function* g() {
          try { for (let i = 0; ; i++) { const got = yield await ask(i); log.push(got) } }
          finally { log.push(await ask('cleanup')) }
        }
        const it = g();
        log.push(await it.next(), await it.next('one'), await it.return('end'), await it.next()); log
        """,
        [
            "one",
            "cleanup",
            {"value": "0", "done": False},
            {"value": "1", "done": False},
            {"value": "end", "done": True},
            {"done": True},
        ],
    ),
    "an async generator is thrown into": (
        """
        async function* g() { try { yield await ask('a') } catch (e) { yield `caught ${e} ${await ask('b')}` } }
        const it = g(); [await it.next(), await it.throw('x'), await it.next()].map((step) => step.value ?? step.done)
        """,
        ["a", "caught x b", True],
    ),
    "an async generator throws after a pause": (
        (
            "async function* g() { yield 1; await ask('bad') } const seen = [];"
            "try { for await (const v of g()) seen.push(v) } catch (e) { seen.push(e.message) } seen"
        ),
        [1, "bad"],
    ),
    "leaving for await runs the cleanup": (
        """
        const log = [];
        async function* g() { try { yield 1; yield 2 } finally { log.push(await ask('closed')) } }
        for await (const v of g()) { log.push(v); break }
        log
        """,
        [1, "closed"],
    ),
    "yield* through two async generators": (
        """
        async function* inner(n) { yield await ask(n + 'a'); return await ask(n + 'b') }
        async function* outer() { const r = yield* inner('1'); yield r; yield* ['2', ask('3')] }
        const seen = []; for await (const v of outer()) seen.push(v); seen
        """,
        ["1a", "1b", "2", "3"],
    ),
    "an async generator queues its requests": (
        """
        async function* g() { yield await ask('a'); yield await ask('b') }
        const it = g(); (await Promise.all([it.next(), it.next(), it.next()])).map((step) => step.value ?? null)
        """,
        ["a", "b", None],
    ),
    "a generator stands at its yield": (
        """
        function* g() { let got = yield 1; got = yield got + '1'; return got + '2' }
        const it = g(); [it.next().value, it.next(await ask('a')).value, it.next(await ask('b'))]
        """,
        [1, "a1", {"value": "b2", "done": True}],
    ),
    "a generator is returned from after a pause": (
        (
            "const log = []; function* g() { try { yield 1 } finally { log.push('closed') } }"
            "const it = g(); it.next(); await ask('x'); log.push(it.return(2).value); log"
        ),
        ["closed", 2],
    ),
    "a generator goes down a tree": (
        """
        function* walk(t) { if (t) { yield* walk(t.l); yield t.v; yield* walk(t.r) } }
        const seen = [];
        for (const v of walk({ l: { v: 'a' }, v: 'b', r: { l: { v: 'c' }, v: 'd' } })) seen.push(await ask(v));
        seen.join('')
        """,
        "abcd",
    ),
    "a lazy chain of iterator helpers": (
        (
            "const it = [1, 2, 3, 4].values().filter((x) => x % 2 === 0).map((x) => x * 10);"
            "const first = it.next().value; await ask('x'); [first, ...it]"
        ),
        [20, 40],
    ),
}

JOBS = {
    "microtasks run in the order they were queued": (
        """
        const log = [];
        queueMicrotask(() => log.push('m1'));
        Promise.resolve().then(() => log.push('p1')).then(() => log.push('p2'));
        queueMicrotask(() => log.push('m2'));
        log.push('sync');
        await ask('x');
        queueMicrotask(() => log.push('m3'));
        log.push('after'); await null; log.push('end'); log
        """,
        ["sync", "m1", "p1", "m2", "p2", "after", "m3", "end"],
    ),
    "reactions of one answer run in the order of their then": (
        "const s = [], p = ask('x'); p.then(() => s.push(1)); p.then(() => s.push(2)); await p; s.push(3); s",
        [1, 2, 3],
    ),
    "async functions interleave at each await": (
        """
        const log = []; const f = async (name) => { for (let i = 0; i < 2; i++) { await null; log.push(name + i) } };
        await ask('x'); await Promise.all([f('a'), f('b')]); log.join()
        """,
        "a0,b0,a1,b1",
    ),
}

EVERYTHING = [pytest.param(*row, id=name) for table in (PROMISES, GENERATORS, JOBS) for name, row in table.items()]


@pytest.mark.parametrize(("code", "expected"), EVERYTHING)
def test_asynchronous_code(code, expected):
    check_program(code, expected, refuse_bad)


@pytest.mark.parametrize("seed", range(3))
def test_promise_all_of_20_fetches_answered_in_shuffled_order(seed):
    code = "await Promise.all(Array.from({ length: 20 }, (_, i) => ask(i)))"
    check_program(code, [str(i) for i in range(20)], echo, seed)


@pytest.mark.parametrize("seed", range(3))
def test_answers_are_seen_in_the_order_they_were_given(seed):
    code = """
    const log = [];
    for (const u of 'abcdefgh') fetch('http://a/' + u).then((x) => { log.push(x); console.log(x) });
    log
    """
    uncut, cut = run_uncut(code, seed=seed), run_cut(code, seed=seed)
    assert cut.meaning == uncut.meaning
    assert cut.result == [entry.message for entry in cut.logs]
    assert sorted(cut.result) == list("abcdefgh")


def test_promise_race_is_won_by_the_answer_that_came_first():
    paused = suspended("await Promise.race([fetch('http://a/a'), fetch('http://a/b')])")
    # Every call is answered, so the loser is still waited for.
    waiting = programs.resume(paused.state, {2: ValueAnswer("second")})
    assert isinstance(waiting, programs.Suspended)
    assert [request.id for request in waiting.requests] == [1]
    ended = programs.resume(waiting.state, {1: ValueAnswer("first")})
    assert ended == programs.Completed("second", ())


@pytest.mark.parametrize(
    ("code", "result"),
    [
        ("fetch('http://a/a'); fetch('http://a/b'); 'done'", "done"),
        (
            (
                "const seen = []; fetch('http://a/a').then((x) => seen.push(x));"
                "fetch('http://a/b').then((x) => seen.push(x)); seen"
            ),
            ["a", "b"],
        ),
    ],
    ids=["ignored", "used by a callback"],
)
def test_calls_that_nobody_awaits_are_answered_before_the_program_completes(code, result):
    run = run_cut(code)
    assert (run.result, run.pauses, run.paths) == (result, 2, ("a", "b"))


def test_a_failure_is_reported_once_every_call_is_answered():
    paused = suspended("fetch('http://a/a'); throw new RangeError('late')")
    ended = programs.resume(paused.state, {1: ValueAnswer(None)})
    assert isinstance(ended, programs.Failed)
    assert str(ended.error) == "RangeError: late"
