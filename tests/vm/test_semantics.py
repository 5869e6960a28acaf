"""Control flow that keeps its meaning when the program pauses inside it."""

from __future__ import annotations

import pytest
from support import check_program, echo, number, refuse_bad

pytestmark = pytest.mark.once  # the guest is the same bytes on every Python

LOOPS = {
    "for": ("const seen = []; for (let i = 0; i < 3; i++) seen.push(await ask(i)); seen", ["0", "1", "2"]),
    "for binds its variable anew in each round": (
        "const get = []; for (let i = 0; i < 3; i++) { get.push(() => i); await ask('x') } get.map((f) => f())",
        [0, 1, 2],
    ),
    "for in": ("let s = ''; for (const k in { a: 1, b: 2 }) s += k + (await ask(k)); s", "aabb"),
    "for of a map": (
        "let s = ''; for (const [k, v] of new Map([['a', 1], ['b', 2]])) s += k + v + (await ask('-')); s",
        "a1-b2-",
    ),
    "for of a string": ("let s = ''; for (const c of 'x😀') s += (await ask(c)) + '.'; s", "x.😀."),
    "break closes the iterator": (
        """
        const log = [];
        const endless = { [Symbol.iterator]() {
          let i = 0;
          return { next: () => ({ value: i++, done: false }), return: () => { log.push('closed'); return {} } };
        } };
        for (const v of endless) { log.push(await ask(v)); if (v === 1) break }
        log
        """,
        ["0", "1", "closed"],
    ),
    "for await over promises": (
        "let s = ''; for await (const v of [ask('a'), 'b', ask('c')]) s += v; s",
        "abc",
    ),
    "for await over an object": (
        """
        const pages = { async *[Symbol.asyncIterator]() { for (const u of ['p', 'q']) yield await ask(u) } };
        const seen = []; for await (const page of pages) seen.push(page, await ask(page + '!')); seen
        """,
        ["p", "p!", "q", "q!"],
    ),
    "for await over a hand-written iterator": (
        """
        const it = { n: 0, [Symbol.asyncIterator]() { return this },
          next() { return ask(this.n++).then((value) => ({ value, done: this.n > 2 })) } };
        const seen = []; for await (const v of it) seen.push(v); seen
        """,
        ["0", "1"],
    ),
    "labelled break and continue": (
        """
        const seen = [];
        outer: for (let i = 0; i < 3; i++) {
          for (let j = 0; j < 3; j++) {
            const url = await ask(`${i}${j}`);
            if (j === 1) continue outer;
            if (i === 2) break outer;
            seen.push(url);
          }
        }
        seen
        """,
        ["00", "10"],
    ),
    "a labelled block is left": ("let s = 'a'; out: { s += await ask('b'); break out; s += 'never' } s", "ab"),
    "switch falls through": (
        """
        const seen = [];
        switch (await ask('b')) {
          case await ask('a'): seen.push('a');
          case await ask('b'): seen.push('b');
          case 'c': seen.push(await ask('c')); break;
          default: seen.push('default');
        }
        seen
        """,
        ["b", "c"],
    ),
}

# `number` answers them.
ARITHMETIC = {
    "while and do while": (
        "let n = 0; while ((await ask(n)) < 3) n++; do n += 10; while ((await ask('5')) < 4); n",
        13,
    ),
    "300 fetches in one loop": ("let n = 0; for (let i = 1; i <= 300; i++) n += await ask(i); n", 45150),
    "half an expression is on the stack": (
        "1 + (await ask('2')) * (await ask('3')) ** 2 - (await ask('4'))",
        15,
    ),
    "half an object is on the stack": (
        "({ a: await ask('1'), b: [0, await ask('2')], [await ask('3')]: 4 })",
        {"3": 4, "a": 1, "b": [0, 2]},  # integer keys come first in JavaScript
    ),
    "half a list of arguments is on the stack": ("Math.max(1, await ask('7'), ...[3, await ask('5')])", 7),
    "closures count": (
        """
        const counter = () => { let n = 0; return { up: () => ++n, down: () => --n } };
        const a = counter(), b = counter();
        a.up(); await ask('0'); a.up(); b.down(); await ask('0'); [a.up(), b.down()]
        """,
        [3, -2],
    ),
    "a compound assignment reads its target first": (
        "let n = 1; const add = async () => { n += await ask('10') }; const p = add(); n = 5; await p; n",
        11,
    ),
    "recursion with a fetch at the bottom, 800 frames deep": (
        "const f = async (n) => (n ? 1 + (await f(n - 1)) : await ask('5')); await f(800)",
        805,
    ),
    "async recursion 1,000 deep": (
        "const f = async (n) => { await null; return n ? 1 + (await f(n - 1)) : await ask('5') }; await f(1000)",
        1005,
    ),
    "a fetch at each of 100 levels": (
        "const f = async (n) => (n ? (await ask('1')) + (await f(n - 1)) + (await ask('2')) : 0); await f(100)",
        300,
    ),
    "sync recursion 1,000 deep before and after": (
        "const f = (n) => (n ? 1 + f(n - 1) : 0); f(1000) + (await ask('5')) + f(1000)",
        2005,
    ),
}

EXCEPTIONS = {
    "try, catch and finally around a rejected fetch": (
        """
        const log = [];
        const f = async () => {
          try { log.push('try'); await ask('bad'); log.push('never') }
          catch (e) { log.push(e instanceof TypeError, e.message); return await ask('caught') }
          finally { log.push(await ask('finally')) }
        };
        log.push(await f()); log
        """,
        ["try", True, "bad", "finally", "caught"],
    ),
    "return in finally wins over throw": (
        "const f = async () => { try { throw await ask('x') } finally { return await ask('y') } }; await f()",
        "y",
    ),
    "finally runs before an exception goes on": (
        """
        const log = [];
        try { try { await ask('bad 1') } finally { log.push(await ask('inner')) } }
        catch (e) { log.push(e.message) }
        log
        """,
        ["inner", "bad 1"],
    ),
    "catch throws another error with a cause": (
        """
        class NotThere extends Error { name = 'NotThere' }
        let found;
        try {
          try { await ask('bad') } catch (cause) { await ask('x'); throw new NotThere('gone', { cause }) }
        } catch (e) { await ask('y'); found = e }
        [found instanceof NotThere, found instanceof Error, String(found), found.cause.message]
        """,
        [True, True, "NotThere: gone", "bad"],
    ),
    "continue out of finally": (
        (
            "const s = []; for (const u of ['bad', 'ok']) { try { s.push(await ask(u)) } catch { s.push('-') } "
            "finally { if (u === 'bad') continue } s.push('end') } s"
        ),
        ["-", "ok", "end"],
    ),
    "an error thrown by the code while it is caught after a pause": (
        "const f = async () => { await ask('x'); null.y }; let s; try { await f() } catch (e) { s = e.name } s",
        "TypeError",
    ),
}

FORMS = {
    "nested async functions": (
        """
        async function a(x) { return 'a' + (await b(x)) }
        async function b(x) { return 'b' + (await c(x)) }
        const c = async (x) => 'c' + (await ask(x));
        await a('!')
        """,
        "abc!",
    ),
    "optional chaining skips the fetch behind it": (
        "const o = { f: (u) => ask(u) }; [await o?.f?.('x'), o.none?.(await ask('bad')) ?? 'none']",
        ["x", "none"],
    ),
    "logical assignment": (
        "let a = null; a ??= await ask('x'); a ||= await ask('bad'); a &&= await ask('y'); a",
        "y",
    ),
    "the conditional operator": ("(await ask('')) ? 'never' : await ask('else')", "else"),
    "spread": (
        "const list = (...all) => all; list(...(await ask('ab')), { ...{ c: await ask('d') }, e: 1 })",
        ["a", "b", {"c": "d", "e": 1}],
    ),
    "template literals": ("`<${await ask('a')}${`[${await ask('b')}]`}>`", "<a[b]>"),
    "destructuring with defaults": (
        """
        const { a = await ask('bad'), b: { c = await ask('c') } = {}, ...rest } = { a: 1, d: await ask('d') };
        const [x, , y = await ask('y'), ...z] = [1, 2, undefined, 4, 5];
        [a, c, rest, x, y, z]
        """,
        [1, "c", {"d": "d"}, 1, "y", [4, 5]],
    ),
    "parameter defaults and arguments": (
        """
        async function f(x, y = x + '2', { z = 3 } = {}) { return [x, await ask(y), z, arguments.length] }
        await f('1')
        """,
        ["1", "12", 3, 1],
    ),
    "mapped arguments stay tied to the parameters": (
        """
        function f(a) { return { set: (v) => { arguments[0] = v }, get: () => a } }
        const pair = f('old'); await ask('x'); pair.set('new'); pair.get()
        """,
        "new",
    ),
    "var, let and function in their scopes": (
        """
        var v = 1; let l = 2; { let l = 3; await ask('x'); v += l } hoisted() + v + l;
        function hoisted() { return 10 }
        hoisted() + v + l
        """,
        16,
    ),
    "eval and new Function see their scopes": (
        """
        globalThis.g = 1;
        const x = await ask('x');
        let local; { const inner = 1; local = eval('(() => x + inner)') }
        const global = new Function('a', 'return x + a + g + typeof inner');
        await ask('y'); g = 2;
        [local(), global('-'), eval('x + g')]
        """,
        ["x1", "x-2undefined", "x2"],
    ),
    "functions made from text can pause": (
        """
        const AsyncFunction = (async () => {}).constructor;
        [await eval('(async (u) => `<${await ask(u)}>`)')('a'), await new AsyncFunction('u', 'return ask(u)')('b')]
        """,
        ["<a>", "b"],
    ),
    "with": ("const o = { p: 'q' }; let s; with (o) { s = p + (await ask('r')); p = s } o", {"p": "qr"}),
}


def ids(table: dict[str, tuple[str, object]]) -> list[object]:
    return [pytest.param(code, expected, id=name) for name, (code, expected) in table.items()]


@pytest.mark.parametrize(("code", "expected"), ids(LOOPS))
def test_loops(code, expected):
    check_program(code, expected, echo)


@pytest.mark.parametrize(("code", "expected"), ids(ARITHMETIC))
def test_values_under_way(code, expected):
    check_program(code, expected, number)


@pytest.mark.parametrize(("code", "expected"), ids(EXCEPTIONS))
def test_exceptions(code, expected):
    check_program(code, expected, refuse_bad)


@pytest.mark.parametrize(("code", "expected"), ids(FORMS))
def test_forms(code, expected):
    check_program(code, expected, refuse_bad)


@pytest.mark.slow
def test_5000_fetches_in_one_loop():
    check_program("let n = 0; for (let i = 1; i <= 5000; i++) n += await ask(i); n", 12_502_500, number)
