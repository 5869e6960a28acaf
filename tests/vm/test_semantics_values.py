"""Values that are alive while the program is paused, and are the same afterwards."""

from __future__ import annotations

import pytest
from support import check_program, run_cut, run_uncut

from sequential_core.pending import ValueAnswer

pytestmark = pytest.mark.once  # the guest is the same bytes on every Python

COLLECTIONS = {
    "a map and its live iterator": (
        (
            "const m = new Map([['a', 1], [NaN, 2]]); const it = m.keys(); it.next(); m.set('b', 3);"
            "await ask('x'); m.set('c', 4); m.delete('b'); [[...it].length, m.get(NaN), m.size, [...m.values()]]"
        ),
        [2, 2, 3, [1, 2, 4]],
    ),
    "a map with objects as keys": (
        "const k = {}, m = new Map([[k, 'mine'], [{}, 'other']]); await ask('x'); [m.get(k), m.get({}) ?? null]",
        ["mine", None],
    ),
    "a set that grows while it is walked": (
        (
            "const s = new Set(['a']), seen = [];"
            "for (const x of s) { seen.push(await ask(x)); if (s.size < 3) s.add(x + 'a') } seen"
        ),
        ["a", "aa", "aaa"],
    ),
    "weak collections hold what is alive": (
        """
        const k = {}, w = new WeakMap([[k, 1]]), s = new WeakSet([k]), r = new WeakRef(k);
        await ask('x'); [w.get(k), w.has({}), s.has(k), s.has({}), r.deref() === k]
        """,
        [1, False, True, False, True],
    ),
    "a sparse array keeps its holes": (
        "const a = [1, , 3]; a.length = 5; await ask('x'); [0 in a, 1 in a, a.length, Object.keys(a), a]",
        [True, False, 5, ["0", "2"], [1, None, 3, None, None]],
    ),
    "an array with other properties": (
        "const a = Object.assign([1], { note: 'n' }); await ask('x'); a.push(2); [a.note, a.length]",
        ["n", 2],
    ),
    "10,000 objects that refer to each other": (
        (
            "const all = []; for (let i = 0; i < 10000; i++) all.push({ i, before: all[i - 1] ?? null });"
            "await ask('x'); let n = 0; for (let o = all[9999]; o; o = o.before) n += o.i; n"
        ),
        49_995_000,
    ),
}

NUMBERS_AND_TEXT = {
    "a date": (
        "const d = new Date(Date.UTC(2020, 1, 29)); await ask('x'); d.setUTCFullYear(2021); d.toISOString()",
        "2021-03-01T00:00:00.000Z",  # 2021 has no 29 February
    ),
    "a regular expression knows where it stood": (
        (
            r"const r = /\d+/g, s = '1 22 333', a = r.exec(s)[0]; await ask('x'); "
            "[a, r.lastIndex, r.exec(s)[0], r.lastIndex]"
        ),
        ["1", 1, "22", 4],
    ),
    "matchAll goes on": (
        (
            r"const it = 'a1b2c3'.matchAll(/(?<name>[a-z])(\d)/g); const seen = [];"
            "for (const m of it) seen.push(await ask(m.groups.name + m.index)); seen"
        ),
        ["a0", "b2", "c4"],
    ),
    "a big integer": (
        "let n = 2n ** 100n; await ask('x'); n += 1n; [String(n), String(BigInt.asUintN(64, n)), typeof n]",
        ["1267650600228229401496703205377", "1", "bigint"],
    ),
    "special numbers": (
        (
            "const v = [-0, NaN, Infinity, 0.1 + 0.2, 2 ** 53, 5e-324]; await ask('x');"
            "[Object.is(v[0], -0), Object.is(v[1], NaN), v[2] === 1 / 0, v[3], v[4], v[5]]"
        ),
        [True, True, True, 0.1 + 0.2, 2**53, 5e-324],
    ),
    "text outside the basic plane, and half of it": (
        (
            r"const s = 'é😀\ud800'; await ask('x');"
            "[s.length, s.codePointAt(1), s.charCodeAt(3), s.isWellFormed(), [...s].length, s]"
        ),
        [4, 0x1F600, 0xD800, False, 3, "é😀\ud800"],
    ),
    "a long string made of pieces": (
        (
            "let s = ''; for (let i = 0; i < 20000; i++) s += i % 10; await ask('x'); s += '!';"
            "[s.length, s.slice(-11), s.at(10005)]"
        ),
        [20001, "0123456789!", "5"],
    ),
    "text with NUL": (r"const s = 'a\0b'; await ask('x'); [s.length, s]", [3, "a\0b"]),
}

BYTES = {
    "views of one buffer": (
        """
        const buffer = new ArrayBuffer(8), bytes = new Uint8Array(buffer);
        const view = new DataView(buffer, 4), part = bytes.subarray(2, 6);
        view.setInt16(0, -2);
        await ask('x');
        part[0] = 7;
        [[...bytes], part[3], view.getUint16(0, true), bytes.buffer === view.buffer, view.byteOffset]
        """,
        [[0, 0, 7, 0, 255, 254, 0, 0], 254, 0xFEFF, True, 4],
    ),
    "every kind of typed array": (
        """
        const kinds = [Int8Array, Uint8ClampedArray, Int16Array, Uint32Array, Float32Array, Float64Array];
        const all = kinds.map((Kind) => Kind.of(300, -1.5)), big = BigInt64Array.of(-1n);
        await ask('x');
        [...all.map((a) => [...a]), String(new BigUint64Array(big.buffer)[0])]
        """,
        [[44, -1], [255, 0], [300, -1], [300, 2**32 - 1], [300, -1.5], [300, -1.5], "18446744073709551615"],
    ),
    "a buffer that is resized": (
        (
            "const b = new ArrayBuffer(2, { maxByteLength: 8 }), a = new Uint8Array(b); a.set([1, 2]);"
            "await ask('x'); b.resize(4); [...a]"
        ),
        [1, 2, 0, 0],
    ),
    "a buffer that was transferred": (
        (
            "const b = new ArrayBuffer(2); new Uint8Array(b)[1] = 9; const c = b.transfer(); await ask('x');"
            "[b.detached, [...new Uint8Array(c)]]"
        ),
        [True, [0, 9]],
    ),
    "1,000,000 bytes": (
        (
            "const a = new Uint8Array(1e6); for (let i = 0; i < 1e6; i++) a[i] = i % 251; await ask('x');"
            "let wrong = 0; for (let i = 0; i < 1e6; i++) if (a[i] !== i % 251) wrong++; wrong"
        ),
        0,
    ),
}

OBJECTS = {
    "private fields, methods, accessors and statics": (
        """
        class Account {
          static #made = 0;
          static { this.rate = 2 }
          #cents = 0;
          constructor() { Account.#made++ }
          #add(n) { this.#cents += n }
          get #doubled() { return this.#cents * Account.rate }
          async deposit(n) { this.#add(n); await ask('x'); this.#add(1); return this.#doubled }
          static owns(value) { return #cents in value }
          static get made() { return Account.#made }
        }
        const a = new Account(), b = new Account();
        [await a.deposit(10), await b.deposit(20), await a.deposit(0), Account.owns(a), Account.owns({}), Account.made]
        """,
        [22, 42, 24, True, False, 2],
    ),
    "super across a pause": (
        """
        class Base { async get(u) { return 'base ' + (await ask(u)) } get kind() { return 'b' } }
        class Derived extends Base { async get(u) { await ask('-'); return (await super.get(u)) + super.kind } }
        const d = new Derived(); [await d.get('x'), d instanceof Base]
        """,
        ["base xb", True],
    ),
    "getters and setters": (
        """
        const o = { v: 1, get twice() { return this.v * 2 }, set half(n) { this.v = n / 2 } };
        Object.defineProperty(o, 'fixed', { value: 'f' });
        await ask('x'); o.half = 10; o.fixed = 'changed'; [o.twice, o.v, o.fixed, Object.keys(o)]
        """,
        [10, 5, "f", ["v", "twice", "half"]],
    ),
    "frozen stays frozen": (
        "const o = Object.freeze({ a: 1 }); await ask('x'); o.a = 2; o.b = 3; [o, Object.isFrozen(o)]",
        [{"a": 1}, True],
    ),
    "a proxy and its traps": (
        """
        const log = [];
        const p = new Proxy({}, { get: (_, k) => (log.push(k), k + '!'), has: (_, k) => k === 'yes' });
        const r = Proxy.revocable({}, {});
        const before = p.a; r.revoke(); await ask('x');
        let revoked = false; try { r.proxy.a } catch { revoked = true }
        [before, p.b, 'yes' in p, 'no' in p, log, revoked]
        """,
        ["a!", "b!", True, False, ["a", "b"], True],
    ),
    "symbols, of the registry and not": (
        """
        const local = Symbol('s'), shared = Symbol.for('r');
        const o = { [local]: 1, [shared]: 2, [Symbol.toPrimitive]: () => 3 };
        await ask('x');
        [o[local], o[Symbol.for('r')], o[Symbol('s')] ?? null, local.description, Symbol.keyFor(shared), +o,
         JSON.stringify(o)]
        """,
        [1, 2, None, "s", "r", 3, "{}"],
    ),
    "a tagged template has one array of strings": (
        (
            r"const tag = (strings) => strings, f = () => tag`a${1}\n`, first = f(); await ask('x');"
            "[f() === first, first, first.raw, Object.isFrozen(first)]"
        ),
        [True, ["a", "\n"], ["a", "\\n"], True],
    ),
    "prototypes": (
        """
        const proto = { hi() { return 'hi ' + this.n } }, a = Object.create(proto, { n: { value: 1 } });
        const bare = Object.create(null); bare.x = 1;
        function Old() { this.n = new.target === Old } Old.prototype.get = function () { return this.n };
        const old = new Old();
        await ask('x');
        proto.hi = function () { return 'bye ' + this.n }; [a.hi(), Object.getPrototypeOf(bare), old.get()]
        """,
        ["bye 1", None, True],
    ),
    "bound functions and functions with properties": (
        (
            "const f = function () { return this.n + [...arguments].join('') }; f.note = 'n';"
            "const b = f.bind({ n: 'n' }, 1); await ask('x'); [b(2), f.note, f.name, b.name]"
        ),
        ["n12", "n", "f", "bound f"],
    ),
    "errors of one's own, with a cause": (
        """
        class Missing extends RangeError { constructor(what, o) { super('no ' + what, o); this.name = 'Missing' } }
        const cause = new Error('root'), e = new Missing('x', { cause });
        await ask('x');
        [e instanceof RangeError, `${e}`, e.cause === cause, Object.prototype.toString.call(e)]
        """,
        [True, "Missing: no x", True, "[object Error]"],
    ),
    "a cycle": ("const o = { n: 1 }; o.self = o; await ask('x'); o.self.self.n", 1),
    "order of keys": (
        "const o = { b: 1, 2: 1, a: 1, 1: 1 }; await ask('x'); delete o.b; o.b = 2; Object.keys(o)",
        ["1", "2", "a", "b"],
    ),
    "globals and changed prototypes": (
        (
            "globalThis.g = 1; Array.prototype.last = function () { return this[this.length - 1] };"
            "await ask('x'); g += 1; [g, [1, 2, 3].last()]"
        ),
        [2, 3],
    ),
    "a response that was read and one that was not": (
        """
        const read = new Response('a'), other = new Response('b', { status: 201, headers: { 'X-A': '1' } });
        await read.text(); await ask('x');
        [read.bodyUsed, other.bodyUsed, await other.text(), other.status, other.headers.get('x-a')]
        """,
        [True, False, "b", 201, "1"],
    ),
}

TABLES = (COLLECTIONS, NUMBERS_AND_TEXT, BYTES, OBJECTS)
EVERYTHING = [pytest.param(*row, id=name) for table in TABLES for name, row in table.items()]

JSON_VALUES = [
    None,
    False,
    True,
    0,
    -1,
    1.5,
    1e300,
    2**53,
    "",
    "plain",
    'é😀\0\u2028"\\',
    "half \ud800",
    [],
    {},
    [[], [None, {"a": []}]],
    {"": 1, "é": "😀", "2": "b", "nested": {"deep": [1, {"deeper": None}]}},
    {"constructor": 1, "toString": None, "then": "not a function", "length": -1},
]


@pytest.mark.parametrize(("code", "expected"), EVERYTHING)
def test_values_alive(code, expected):
    check_program(code, expected)


@pytest.mark.parametrize("value", JSON_VALUES, ids=ascii)
def test_every_json_value_is_delivered_as_it_is(value):
    code = "const v = await fetch('http://a/x'); await fetch('http://a/y'); [typeof v, v]"
    kind = {type(None): "object", bool: "boolean", int: "number", float: "number", str: "string"}
    expected = [kind.get(type(value), "object"), value]
    assert run_cut(code, lambda _: ValueAnswer(value)).result == expected
    assert run_uncut(code, lambda _: ValueAnswer(value)).result == expected


def test_a_key_called_proto_is_a_property_like_others():
    value = {"__proto__": {"polluted": True}}
    code = "const v = await fetch('http://a/x'); [Object.getPrototypeOf(v) === Object.prototype, v.polluted ?? null, v]"
    assert run_cut(code, lambda _: ValueAnswer(value)).result == [True, None, value]
