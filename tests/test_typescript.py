"""TypeScript: what works, what is refused and where, and that no source does harm."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sequential_core import Language, SequentialFlow, Status
from sequential_core.errors import (
    CodeError,
    CodeSyntaxError,
    CodeTooComplexError,
    CodeTooLargeError,
    IdempotencyKeyReusedError,
    InvalidCodeError,
    InvalidRequestError,
    StripperNotFoundError,
    TaskExistsError,
)
from sequential_core.limits import KIB, MIB, Limits
from sequential_core.storage import MemoryStorage
from sequential_core.testing import MovedClock
from sequential_core.typescript import build, host, strip
from sequential_core.vm import cache

LIMITS = Limits()
LARGEST = LIMITS.code_bytes


@pytest.fixture
def clock():
    return MovedClock()


@pytest.fixture
def flow(clock):
    return SequentialFlow(MemoryStorage(clock=clock), clock=clock)


def result(code, *answers):
    """The result of a program in TypeScript, whose requests get these answers."""
    flow = SequentialFlow(MemoryStorage())
    task = flow.execute(code, language="typescript")
    for answer in answers:
        task = flow.resume(task.id, fetch_response=answer)
    assert task.status is Status.COMPLETED, task.error
    return task.result


def refused(code):
    with pytest.raises(CodeSyntaxError) as caught:
        SequentialFlow.execute(code, language="typescript", storage="memory:")
    return caught.value


# --- What works ------------------------------------------------------------------------------------


def test_a_typed_program_pauses_goes_on_and_ends():
    code = """
    interface User { id: number; name: string; tags?: readonly string[] }
    type Reply<T> = { ok: true; value: T } | { ok: false };

    const load = async <T>(url: string): Promise<Reply<T>> => ({ ok: true, value: (await fetch(url)) as T });
    const user: Reply<User> = await load<User>("https://api.test/user");
    const posts = (await fetch("https://api.test/posts")) satisfies unknown;
    [user.ok ? user.value!.name : null, posts.length] as const
    """
    assert result(code, {"id": 1, "name": "Alice"}, [1, 2]) == ["Alice", 2]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("let x: number = 1, y!: string; x", 1),
        ("let x = 1 as any as number; x", 1),
        ("let x = { a: 1 } satisfies Record<string, number>; x.a", 1),
        ("const a: number[] = [1]; a[0]!.toFixed!()", "1"),
        ("function id<const T,>(this: void, x: T, y?: T): T { return x } id<number>(1)", 1),
        ("function f(x: string): string; function f(x: number): number; function f(x: any) { return x } f(2)", 2),
        ("const f = (x: unknown): x is string => typeof x === 'string'; f(1)", False),
        ("const f = async <T,>(x: T): Promise<T> => x; await f(3)", 3),
        ("abstract class A { abstract m(): void; n() { return 4 } } class B extends A { m(): void {} } new B().n()", 4),
        ("class A<T> implements I<T> { private readonly x: number = 5; declare y: T } new A<string>().x", 5),
        ("class A { static #x?: number = 6; static get(): number { return A.#x! } [key: string]: any } A.get()", 6),
        ("class A { m() { return 7 } } class B extends A { override m(): number { return super.m() } } new B().m()", 7),
        ("declare const missing: string; declare enum E { A } declare function f(): void; 8", 8),
        ("import type { X } from 'x'; import type Y from 'y'; 9", 9),
        ("export type { X } from 'x'; export interface Y {} export type Z = 1; 10", 10),
        ("namespace Types { export type A = string; export interface B {} } let x: Types.A = 'x'; x", "x"),
        ("declare module 'x' { export const y: number } declare global { var z: number } 11", 11),
        ("let s: unique symbol; let t: `a${string}`; let u: typeof import('x'); let v: (new () => void)[]; 12", 12),
        ("try { null!.x } catch (e: unknown) { (e as Error).name }", "TypeError"),
        ("let { a, b }: { a: number; b: number } = { a: 6, b: 7 }; a * b", 42),
        ("for (const x of [1, 2] as number[]) x", 2),
        ("let type = 1, declare = 2, namespace = 3, abstract = 4, as = 5, satisfies = 6, is = 7; as + is", 12),
        ("#!/usr/bin/env node\nlet x: number = 13; x", 13),
        ("\ufefflet x: number = 14; x", 14),
        ("type Nothing = never", None),
        ("", None),
        ("6 * 7", 42),
    ],
)  # fmt: skip
def test_types_are_no_part_of_what_the_code_means(code, expected):
    assert result(code) == expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("let x = 1 as any\n(2)", 2),
        ("let x = 1\ninterface A {}\n[3]", [3]),
        ("1\ntype A = 2\n;(4)", 4),
        ("let f = [(): number => 5, 6][1] as number\n`t`", "t"),
        ("let g = (x: number): {\n a: number\n} => ({ a: x })\ng(7).a", 7),
        ("let h = <\n T\n>(x: T) => x\nh<number>\n(8)", 8),
        ("let i = (): Array<\n number\n> => [9]\ni()[0]", 9),
        ("class A { x = 1; private ['y']: number = 10 } new A().y", 10),
        ("class A { x = 1\n public *g(): any { yield 11 } } [...new A().g()][0]", 11),
        ("class A { x = 1\n private declare z; ['y'] = 12 } new A().y", 12),
        ("function f() { return (\n 13 as\n number\n) } f()", 13),
        ("if (0) type A = 1\nelse 14", 14),
        ("let j: any = 15; j!\n+ 1", 16),
        ("const a = 1 as const, b = 17 as const\n;[a, b][1]", 17),
        ("var k: () => void\n(18)", 18),
        ("const l = [1, 2] as const\n[19]", [19]),
        ("const m = f\ntype A = 1\n;(20); function f() {}", 20),
        ("const n = 1\ntype A = 1 /* c */; [21]", [21]),
        ("const o = 1\ndeclare const z: any; `22`", "22"),
        ("const p = 1\ninterface A {} (23)", 23),
        ("const q = 1\nexport type { A }; +24", 24),
        ("const r = 1\nimport type A from 'a'; /25/.source", "25"),
        ("const s = 1\ntype A = 漢; /* é */ (26)", 26),
        ("const t = 1 as 漢\n[27]", [27]),
        ("const u = f<number>\n(28); function f(x: any) { return x } u", 28),
        ("const v = f!\n(29); function f(x: any) { return x } v", 29),
        ("const w = f<{}>\n`30`; function f(x: any) { return x[0] } w", "30"),
        ("const x = [{ a: 31 }]!\n[0]; x.a", 31),
        ("function g(this: void,\n [a]: any) { return a } g([32])", 32),
        ("class A { static readonly\n ['x'] = 33 } new A().x", 33),
        ("class A { x = 1\n private\n ['y'] = 34 } new A().y", 34),
        ("let y = 30 as { a: 1 } + 5; y", 35),
        ("let z = 0; if (z) namespace N {}\nz = 36; z", 36),
        ("let a = 0; if (a) l: type T = 1\na = 37; a", 37),
        ("let b = 0; if (b) declare let c: any\nelse b = 38; b", 38),
        ("switch (1) { case 1: type T = 1\n39 }", 39),
    ],
)  # fmt: skip
def test_a_type_where_a_semicolon_may_be_missing_changes_nothing(code, expected):
    assert result(code) == expected


def test_positions_at_a_pause_are_those_of_the_posted_code(flow):
    code = 'type Größe = "😀";\nlet x: Größe | "漢" = (await fetch("http://a/")) as "é";\nx'
    paused = flow.execute(code, language="typescript").paused_state
    line = code.split("\n")[1]
    assert (paused.line, paused.column) == (2, len(line[: line.index("fetch")].encode()) + 1)
    plain = code.split("\n")[1].replace(': Größe | "漢"', " " * len(': Größe | "漢"'.encode()))
    same = flow.execute("\n" + plain.replace('as "é"', "")).paused_state
    assert (same.line, same.column) == (paused.line, paused.column)


# --- What is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "named", "column"),
    [
        ("enum Color { Red }", "enum", 1),
        ("1; const enum Color { Red }", "enum", 4),
        ("export enum Color { Red }", "enum", 8),
        ("class A { constructor(private x: number) {} }", "parameter property", 31),
        ("class A { constructor(readonly x = 1) {} }", "parameter property", 32),
        ("namespace N { export const x = 1 }", "namespace", 1),
        ("module M { export const x = 1 }", "namespace", 1),
        ('import x = require("x")', "import equals", 1),
        ("export = 1", "export assignment", 1),
        ("let x = <string>y", "angle-bracket", 9),
        ("let x = <div/>", "Expression expected", 14),
        ("1; @sealed class A {}", "decorators", 4),
        ("class A { @logged m() {} }", "decorators", 11),
        ("let x: = 1", "Unexpected token", 8),
        ("let x = ;", "Expression expected", 9),
        ("return 1", "Return statement", 1),
        ("var x = 010", "octal", 9),
        ('import x from "x"', "", None),
        ("export const x: number = 1", "export", 1),
        ('import { type X } from "x"', "", None),
        ("let x = <const>['a']", "unexpected token", 9),
        ("let x: 'unterminated", "Unterminated string", 8),
        ("/* unterminated", "Unterminated block comment", None),
        ("\ufeff@sealed class A {}", "decorators", 4),
    ],
)
def test_what_is_more_than_types_is_refused_by_name(code, named, column):
    error = refused(code)
    assert named in error.message
    assert error.line == 1
    assert column in (None, error.column)


#: Characters of one to four bytes and of no to four cells of a terminal, and ends of lines.
BEFORE = [
    "", "é", "€", "漢", "😀", "😀😀", "👨‍👩‍👧", "e\u0301", "\u200b", "ﷺ", "\t", "\t\t é", "\0", "\x0b", "\x7f", "\xa0",
    "\n", "\r\n", "a\r\n😀\r\n\té", "\xad", "\u1160", "\u0e33", "𠀀", "\U000e0100", "\ufe0f",
]  # fmt: skip


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("text", BEFORE, ids=ascii)
@pytest.mark.parametrize("frame", ["/*{}*/ ", "`{}`; ", "let a: /*{}*/ `{}` = null; "])
def test_an_error_is_where_it_is_in_the_posted_code(mark, text, frame):
    before = mark + frame.replace("{}", text)
    line, column = before.count("\n") + 1, len(before.rpartition("\n")[2].encode()) + 1
    error = refused(f"{before}enum A {{}}")
    assert (error.line, error.column) == (line, column)
    task = SequentialFlow.execute(f"{before}throw Error()", language="typescript", storage="memory:")
    assert (task.error_detail.line, task.error_detail.column) == (line, column + len("throw "))


@pytest.mark.parametrize("text", ["\r", "\u2028", "\u2029é"], ids=ascii)
def test_what_ends_a_line_but_not_to_an_editor_is_a_character_of_it(text):
    """Inside of a comment, that is: elsewhere the engine counts another line, of JavaScript too."""
    before = f"/*{text}*/ let a: number; "
    assert (refused(before + "enum A {}").line, refused(before + "enum A {}").column) == (1, len(before.encode()) + 1)


@pytest.mark.parametrize("name", ["größe", "漢字", "𠀀", "a\u200db"])
def test_an_error_behind_a_name_that_is_not_ascii(name):
    before = f"let {name}: number; {name};"
    assert refused(before + "enum A {}").column == len(before.encode()) + 1


def test_a_message_is_short_whatever_it_quotes():
    error = refused("let x: number; x " + "y" * 10_000)
    assert len(error.message) <= 500


def test_an_error_of_a_run_has_the_line_of_the_posted_code(flow):
    code = "type A = {\n  a: 1\n}\nfunction f<T>(x: T): never { throw new RangeError(`${x}`) }\nf<string>('far')"
    detail = flow.execute(code, language="typescript").error_detail
    assert (detail.name, detail.message, detail.line) == ("RangeError", "far", 4)
    assert "task.js:5:" in detail.stack


# --- Lines and columns, whatever the source ----------------------------------------------------------

NAMES = st.sampled_from(["a", "größe", "漢", "𠀀", "T"])
TYPES = st.recursive(
    NAMES | st.sampled_from(['"😀"', "'é'", "number", "`漢${string}`", "/* é */ any", "{\r\n\té: 1\n}"]),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(" | ".join),
        st.tuples(inner, inner).map(" &\n ".join),
        inner.map("Array<{}>".format),
        inner.map("({})[]".format),
        inner.map("(é: {}) => void".format),
        inner.map("{{ 𠀀?: {} }}".format),
    ),
    max_leaves=6,
)
STATEMENTS = st.one_of(
    st.tuples(NAMES, TYPES).map("var {0[0]}: {0[1]};".format),
    st.tuples(NAMES, TYPES).map("type {0[0]} = {0[1]}\n".format),
    TYPES.map("var a = '漢' as {};".format),
    TYPES.map("interface é {{ 漢: {} }}".format),
    st.tuples(NAMES, TYPES, TYPES).map("((é: {0[1]}, {0[0]}?: {0[2]}): {0[2]} => '😀');".format),
    st.tuples(TYPES, NAMES).map("class 字<T extends {0[0]}> {{ private {0[1]}?: T = '😀' as any }};".format),
    TYPES.map("Array<{}>;".format),
    st.sampled_from(["'é😀';", "/* 漢 */", "\r\n", "\t", "\u2028", "\xa0"]),
)


@given(st.lists(STATEMENTS, max_size=6).map("".join))
def test_lines_and_columns_stay_and_what_is_kept_is_kept(code):
    stripped = strip(code + "\nthe_end", LIMITS)
    lengths = [[len(line.encode()) for line in text.split("\n")] for text in (code, stripped.removesuffix("\nthe_end"))]
    assert lengths[0] == lengths[1]
    before, after = code.encode(), stripped.encode()
    changed = {after[at : at + 1] for at in range(len(before)) if before[at] != after[at]}
    assert changed <= {b" ", b";", b")"}


SIGNS = st.sampled_from("<>(){}[]=:;,.?!|&@#'\"`/\\\n \té漢😀\0a1")
WORDS = st.sampled_from(["=>", " as ", "type ", "class ", "enum ", "declare ", "async ", "abstract ", "interface "])


@given(st.lists(SIGNS | WORDS, max_size=40).map("".join))
def test_whatever_is_posted_is_stripped_or_refused(code):
    error = None
    try:
        strip(code, LIMITS)
    except CodeSyntaxError as refusal:
        error = refusal
    if error is not None:
        assert 1 <= error.line <= code.count("\n") + 1
        assert 1 <= error.column <= len(code.encode()) + 1


# --- No source does harm -----------------------------------------------------------------------------


def fill(text, before="", after=""):
    """A source of the largest size that is allowed."""
    return before + text * ((LARGEST - len(before) - len(after)) // len(text)) + after


@pytest.mark.parametrize(
    "code",
    [
        fill("("),
        fill("["),
        fill("{"),
        fill("!", after="x"),
        fill("a<"),
        fill("A<", "let x: "),
        fill("()=>", "let x: ", "void"),
        fill("[]", "type X = A"),
        fill("(a=>"),
        fill("a=>", after="1"),
        fill("async("),
        fill("`${"),
        fill("a?(b):", after="c"),
        fill("a?(b)=>"),
        fill("<T>("),
        fill("f<T>("),
        fill("+1", "1"),
        fill(".a", "a"),
        fill(" as A", "a"),
        fill("class A{a="),
        fill("new "),
    ],
    ids=lambda code: code[:20],
)
def test_what_is_nested_too_deeply_is_refused(code):
    with pytest.raises(CodeTooComplexError, match="nested too deeply"):
        strip(code, LIMITS)


@pytest.mark.parametrize(
    "code",
    [
        fill("<"),
        fill("/*"),
        fill("abstract "),
        fill("type "),
        fill("@"),
        fill("infer U extends ", "type X = A extends ", "?"),
        fill("@("),
        fill("/["),
        fill('"'),
        fill("/[", after="\n"),
        fill("var a;", after="enum A{}"),
        fill("x", "let a: number = = "),
        fill("😀", "let a: '")[: LARGEST // 4],
    ],
    ids=lambda code: code[:20],
)
def test_what_does_not_parse_is_refused_however_long(code):
    with pytest.raises(CodeError) as caught:
        strip(code, LIMITS)
    assert len(str(caught.value)) < 1000
    assert "wasm" not in str(caught.value)


def test_an_error_too_far_in_a_line_is_told_as_one():
    with pytest.raises(CodeTooComplexError, match="behind column 65535 of a line"):
        strip("var a;" * 20_000 + "enum A {}", LIMITS)


def test_an_error_far_in_the_code_has_its_line():
    with pytest.raises(CodeSyntaxError) as caught:
        strip("var a: number;\n" * 15_000 + "enum A {}", LIMITS)
    assert (caught.value.line, caught.value.column) == (15_001, 1)


def test_time_is_bounded():
    with pytest.raises(CodeTooComplexError, match=r"more than 0\.05 s of CPU time"):
        strip(fill("if(a){}else ", after="{}"), Limits(cpu_seconds=0.05))


def test_memory_is_bounded():
    code = "let a: number;\n" * 16_000
    with pytest.raises(CodeTooComplexError, match="more than 8388608 bytes of memory"):
        strip(code, Limits(memory_bytes=8 * MIB))
    assert len(strip(code, Limits(memory_bytes=32 * MIB))) == len(code)


def test_the_largest_source_is_stripped_within_the_limits():
    line = "const größe: Record<string, '😀'> = { a: (1 as any)! }; \n"
    code = line * (LARGEST // len(line.encode()))
    assert len(strip(code, LIMITS).encode()) == len(code.encode())


@pytest.mark.parametrize("code", [fill(" (", "type A = 1; /*", "*/ (2)"), fill("a (b) ", "let a: A; `", "`"),
                                  fill("type A = 1 ;(2);"), fill("l: type A = 1\n"), fill(" ", "type A = 1;", "(2)")],
                         ids=lambda code: code[:20])  # fmt: skip
def test_looking_after_statements_takes_no_longer_than_reading(code):
    began = time.thread_time()
    strip(code, LIMITS)
    assert time.thread_time() - began < 3


def test_code_that_is_too_large_or_no_text_is_refused_first(flow):
    with pytest.raises(CodeTooLargeError):
        flow.execute("(" * (LARGEST + 1), language="typescript")
    with pytest.raises(InvalidCodeError):
        flow.execute("'\ud800'", language="typescript")


def test_after_a_trap_the_next_source_is_stripped_as_ever():
    for _ in range(3):
        with pytest.raises(CodeTooComplexError):
            strip("(" * KIB * 100, LIMITS)
        assert strip("let x: number", LIMITS) == "let x        "


def test_threads_do_not_meet():
    def check(number):
        before = f"let a{number}: T{number} = '{'é' * number}'; "
        if number % 3 == 0:
            with pytest.raises(CodeTooComplexError):
                strip(before + "[" * 50_000, LIMITS)
        if number % 3 == 1:
            with pytest.raises(CodeSyntaxError) as caught:
                strip(before + "enum A {}", LIMITS)
            assert caught.value.column == len(before.encode()) + 1
        return strip(before, LIMITS) == before.replace(f": T{number}", " " * len(f": T{number}"))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(check, range(200)))


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no timers")
def test_what_a_signal_raises_comes_out():
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals come to the main thread")

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        with pytest.raises(KeyboardInterrupt):
            strip("1" * (LARGEST - 1) + "n", Limits(cpu_seconds=30))  # for half a second
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert strip("let x: number", LIMITS) == "let x        "


# --- The flow ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["coffeescript", "TypeScript", "", 1, True, ["typescript"], {}])
def test_another_language_is_refused(flow, language):
    for refused_call in (
        lambda: flow.execute("1", language=language),
        lambda: flow.execute({"code": "1", "language": language}),
    ):
        with pytest.raises(InvalidRequestError) as caught:
            refused_call()
        assert caught.value.field == "language"


def test_javascript_is_what_is_meant_if_nothing_is_said(flow):
    for task in (flow.execute("1"), flow.execute({"code": "1", "language": None})):
        assert task.language is Language.JAVASCRIPT
        assert task["language"] == "javascript"
    with pytest.raises(CodeSyntaxError):
        flow.execute("let x: number = 1")


def test_the_request_as_a_mapping(flow):
    task = flow.execute({"code": "let x: number = 1; x", "language": "typescript"})
    assert (task.result, task["language"]) == (1, "typescript")
    with pytest.raises(InvalidRequestError):
        flow.execute({"code": "1"}, language="typescript")


def test_a_task_keeps_its_language_and_the_digest_of_what_was_posted(flow):
    code = "let x: number = await fetch('http://a/u'); await fetch('http://a/v'); x"
    paused = flow.execute(code, id="task-1", language=Language.TYPESCRIPT)
    assert flow.get_task("task-1").language is Language.TYPESCRIPT
    resumed = flow.resume("task-1", fetch_response=1)
    assert (resumed.language, resumed.code_sha256) == (Language.TYPESCRIPT, paused.code_sha256)
    assert paused.code == code


def test_the_same_code_in_another_language_is_other_code(flow):
    code = "await fetch('http://a/u')"
    flow.execute(code, id="task-1", language="typescript")
    assert flow.execute(code, id="task-1", language="typescript").revision == 1
    with pytest.raises(TaskExistsError):
        flow.execute(code, id="task-1")
    flow.execute(code, idempotency_key="k")
    with pytest.raises(IdempotencyKeyReusedError):
        flow.execute(code, idempotency_key="k", language="typescript")


def test_a_task_that_is_stored_is_given_without_a_look_at_its_types(flow, monkeypatch):
    code = "let x: number = await fetch('http://a/u'); x"
    flow.execute(code, id="task-1", language="typescript")
    monkeypatch.setattr("sequential_core.typescript.strip", None)
    assert flow.execute(code, id="task-1", language="typescript").revision == 1


class Mappings:
    """A user's storage, which keeps `dict(task)` as JSON."""

    def __init__(self):
        self.items = {}

    def save(self, task):
        self.items[task["id"]] = json.dumps(dict(task))

    def load(self, task_id):
        return json.loads(self.items[task_id]) if task_id in self.items else None

    def delete(self, task_id):
        del self.items[task_id]


def test_a_storage_of_the_users_own_keeps_the_language():
    storage = Mappings()
    flow = SequentialFlow(storage)
    flow.execute("let x: number = await fetch('http://a/u'); x", id="task-1", language="typescript")
    assert flow.get_task("task-1").language is Language.TYPESCRIPT
    kept = json.loads(storage.items["task-1"])
    del kept["language"]
    storage.items["task-1"] = json.dumps(kept)
    assert flow.get_task("task-1").language is Language.JAVASCRIPT
    assert flow.resume("task-1", fetch_response=1).result == 1


def test_javascript_loads_nothing_of_it():
    program = (
        "import sys\n"
        "from sequential_core import SequentialFlow\n"
        "task = SequentialFlow.execute('(await fetch(`http://a/u`)) + 1', storage='memory:')\n"
        "SequentialFlow.resume(task.id, fetch_response=1, storage='memory:')\n"
        "print([name for name in sys.modules if 'typescript' in name])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- The module --------------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A cache that does not exist yet."""
    path = tmp_path / "cache"
    monkeypatch.setenv(cache.ENVIRONMENT_VARIABLE, str(path))
    return path


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A folder that stands for the package's own, with the pin and no module."""
    folder = tmp_path / "typescript"
    folder.mkdir()
    shutil.copy(host.PINNED, folder)
    for module in (host, build):
        monkeypatch.setattr(module, "MODULE", folder / host.MODULE.name)
        monkeypatch.setattr(module, "PINNED", folder / host.PINNED.name)
    monkeypatch.setattr(host, "DIRECTORY", folder)
    monkeypatch.setattr(build, "LICENCE", folder / build.LICENCE.name)
    return folder


def test_an_installation_without_it_says_so(elsewhere, place):
    with pytest.raises(StripperNotFoundError, match=r"sequential_core\.vm\.build"):
        host._template.__wrapped__()
    host.PINNED.unlink()
    with pytest.raises(StripperNotFoundError):
        host._template.__wrapped__()


def test_it_is_whole():
    assert build.is_built()
    assert build.LICENCE.read_text().strip().startswith("Apache License")


def packed(folder, *modules):
    package = folder / build.PACKAGE
    package.mkdir(parents=True)
    (package / "LICENSE").write_text("Apache License")
    encoded = ("".join(f"x = Buffer.from('{module}', 'base64');\n" for module in modules)).encode()
    (package / "wasm.js").write_bytes(encoded)
    return folder


@pytest.mark.parametrize(
    ("modules", "problem"), [((), "has 0 modules"), (("AGFz", "AGFz"), "has 2 modules"), (("AGFz",), "not the pinned")]
)
def test_a_package_of_another_kind_is_refused(tmp_path, elsewhere, modules, problem):
    with pytest.raises(build.ExtractionError, match=problem):
        build.take(packed(tmp_path / "node_modules", *modules))
    assert not build.is_built()
    assert sorted(path.name for path in elsewhere.iterdir()) == [host.PINNED.name]


def test_another_module_can_be_pinned(tmp_path, elsewhere):
    build.take(packed(tmp_path / "node_modules", "AGFz"), pin=True)
    assert host.MODULE.read_bytes() == b"\0as"
    assert build.is_built()
    host.MODULE.write_bytes(b"\0asm")
    assert not build.is_built()


@pytest.mark.slow
@pytest.mark.skipif(cache.host_target() is None, reason="compiled modules are shipped for Linux only")
def test_a_compiled_one_beside_it_is_all_that_is_needed(elsewhere, place):
    command = [sys.executable, "-m", "sequential_core.typescript.build", "--compile"]
    done = subprocess.run(
        [*command, cache.host_target(), elsewhere], capture_output=True, text=True, check=True, env=os.environ
    )
    sha256 = host.PINNED.read_text().strip()
    assert done.stdout.split() == [cache.shipped_name(sha256, cache.host_target())]
    assert host._template.__wrapped__() is not None
    assert not place.exists()


@pytest.mark.slow
@pytest.mark.skipif(cache.host_target() is None, reason="compiled modules are shipped for Linux only")
def test_compiling_for_another_machine_is_refused(tmp_path):
    other = {"x86_64": "aarch64"}.get(cache.host_target().partition("-")[0], "x86_64") + "-unknown-linux-gnu"
    command = [sys.executable, "-m", "sequential_core.typescript.build", "--compile", other, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert not list(Path(tmp_path).iterdir())
