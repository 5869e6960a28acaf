"""What the code writes to `console`."""

from __future__ import annotations

import pytest
from support import DEFAULT, answered, suspended

from sequential_core.limits import Limits
from sequential_core.model import LogEntry
from sequential_core.pending import ValueAnswer
from sequential_core.vm import program as programs


def logs_of(code: str, limits: Limits = DEFAULT) -> list[LogEntry]:
    return list(programs.start(code, limits).logs)


@pytest.mark.parametrize("level", ["log", "info", "warn", "error", "debug"])
def test_every_level(level):
    assert logs_of(f"console.{level}('a', 1)") == [LogEntry(level, "a 1")]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ("", ""),
        ("'plain', ['quoted']", 'plain ["quoted"]'),
        ("null, undefined, true, 1.5, 1n, Symbol('s')", "null undefined true 1.5 1n Symbol(s)"),
        ("{ a: [1, { b: 'c' }], 'd-e': 2 }", '{a: [1, {b: "c"}], "d-e": 2}'),
        ("new Map([[1, { a: 2 }]]), new Set(['x'])", 'Map(1) {1 => {a: 2}} Set(1) {"x"}'),
        ("new Date(0), new Date(NaN), /x/g", "1970-01-01T00:00:00.000Z Invalid Date /x/g"),
        ("Uint8Array.of(1, 2)", "Uint8Array(2) [1, 2]"),
        ("function f() {}, class A {}, () => 1", "[Function: f] [Function: A] [Function: anonymous]"),
        ("new (class Point { x = 1 })(), Object.create(null)", "Point {x: 1} {}"),
        ("{ get a() { throw 1 } }", "[object]"),
        ("'é😀\\0'", "é😀\0"),
    ],
)
def test_values_are_written_readably(values, text):
    assert logs_of(f"console.log({values})") == [LogEntry("log", text)]


def test_a_cycle_is_named():
    assert logs_of("const a = { n: 1 }; a.self = a; console.log(a)") == [LogEntry("log", "{n: 1, self: [Circular]}")]


def test_an_error_is_written_with_its_stack():
    (entry,) = logs_of("console.error(new TypeError('bad'))")
    first, *frames = entry.message.splitlines()
    assert first == "TypeError: bad"
    assert "task.js:1:" in frames[0]


def test_half_a_surrogate_pair_is_replaced():
    assert logs_of(r"console.log('a\ud800b')") == [LogEntry("log", "a\ufffdb")]


def test_assert_and_dir():
    code = "console.assert(true, 'no'); console.assert(false, 'yes'); console.dir({ a: 1 })"
    assert logs_of(code) == [LogEntry("error", "Assertion failed: yes"), LogEntry("log", "{a: 1}")]


def test_each_hop_has_its_own_logs():
    code = "console.log('one'); await fetch('http://a/x'); console.log('two')"
    assert suspended(code).logs == (LogEntry("log", "one"),)
    assert answered(code, ValueAnswer(1)).logs == (LogEntry("log", "two"),)


@pytest.mark.parametrize("end", ["throw new Error('x')", "for (;;);", "await new Promise(() => {})"])
def test_logs_of_a_failed_hop_are_kept(end):
    outcome = programs.start(f"console.log('seen'); {end}", Limits(cpu_seconds=0.1))
    assert isinstance(outcome, programs.Failed)
    assert outcome.logs == (LogEntry("log", "seen"),)


def test_what_passes_the_limit_is_cut_and_the_last_entry_says_so():
    logs = logs_of("console.log('12345'); console.log('67890'); console.log('never')", Limits(log_bytes=8))
    assert [entry.message for entry in logs[:-1]] == ["12345", "678"]
    assert logs[-1].level == "warn"
    assert "truncated" in logs[-1].message
    assert "8 bytes" in logs[-1].message


def test_what_just_fits_is_not_cut():
    assert logs_of("console.log('1234'); console.log('5678')", Limits(log_bytes=8)) == [
        LogEntry("log", "1234"),
        LogEntry("log", "5678"),
    ]


def test_a_character_is_not_cut_in_half():
    first, last = logs_of("console.log('abcé')", Limits(log_bytes=4))
    assert first == LogEntry("log", "abc")
    assert "truncated" in last.message


def test_the_number_of_empty_entries_is_limited_too():
    logs = logs_of("for (let i = 0; i < 1000; i++) console.log()", Limits(log_bytes=10))
    assert len(logs) == 12  # ten that cost a byte each, the one that passed the limit, and the notice
    assert "truncated" in logs[-1].message


def test_the_next_hop_may_write_again():
    code = "console.log('x'.repeat(100)); await fetch('http://a/x'); console.log('again')"
    assert answered(code, ValueAnswer(1), limits=Limits(log_bytes=10)).logs == (LogEntry("log", "again"),)
