"""That a machine which an earlier hop has left is as a fresh one, whatever ran in it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from support import completed, failed, suspended

from sequential_core.errors import CodeSyntaxError
from sequential_core.limits import Limits
from sequential_core.pending import ValueAnswer
from sequential_core.testing import MovedClock
from sequential_core.vm import guest as guests
from sequential_core.vm import machines, pages
from sequential_core.vm import program as programs
from sequential_core.vm.machine import Machine

pytestmark = pytest.mark.skipif(
    not pages.can_be_told(guests.current()), reason="the kernel does not tell pages, so no machine is used twice"
)


# Of a size that only these tests have: other tests may have left threads that run programs.
OWN = Limits(memory_bytes=(64 << 20) + 65536)


class Idle:
    """The idle machines for these limits, as a list."""

    def __init__(self) -> None:
        machines._idle.clear()

    def __iter__(self):
        return iter([machine for machine in machines._idle if machine.memory_limit == OWN.memory_bytes])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __getitem__(self, index: int) -> Machine:
        return [*self][index]


@pytest.fixture(autouse=True)
def idle():
    """The idle machines for these limits: none, to begin with."""
    return Idle()


def image() -> bytes:
    guest = guests.current()
    return bytes(guest.manifest.stack_end) + guest.base


# Each leaves something behind in the realm, the heap, the C stack or the job queue.
LEAVING = {
    "a global": "globalThis.secret = 'sesame'.repeat(50); 1",
    "a prototype": "Array.prototype.map = () => 'stolen'; Object.prototype.extra = 1; JSON.stringify = null; 1",
    "cyclic garbage": "for (let i = 0; i < 500; i++) { const o = { i, text: 'sesame' + i }; o.o = o } 1",
    "a deep stack": "const f = (n) => n ? f(n - 1) + 1 : 0; f(1500)",
    "jobs that never run": "for (let i = 0; i < 9; i++) new Promise(() => {}).then(() => i); 1",
    "a symbol and an atom": "Symbol.for('sesame'); ({ sesame: 1 })['ses' + 'ame']",
    "logs": "console.log('sesame'); 1",
    "a regular expression's last match": "/s(.)s/.exec('sesame'); 1",
    "a pending request": "fetch('http://a/sesame')",
    "a timer": "setTimeout(() => {}, 1000); await fetch('http://a/')",
    "an exception": "throw new Error('sesame')",
    "a rejection": "Promise.reject(new Error('sesame')); await fetch('http://a/')",
    "what is not JSON": "const o = {}; o.o = o; o",
}


@pytest.mark.parametrize("code", LEAVING.values(), ids=LEAVING)
def test_a_machine_that_is_kept_is_the_image_to_the_last_byte(code, idle):
    programs.start(code, OWN)
    if not idle:  # an exception ends a hop, and its machine
        assert isinstance(programs.start(code, OWN), programs.Failed)
        return
    (machine,) = idle
    assert machine.read(0, machine.memory_bytes) == image()
    assert machine.logs == []


def test_a_program_finds_nothing_of_the_one_before(idle):
    probe = (
        "[typeof secret, [1].map(x => x + 1), ({}).extra ?? null, JSON.stringify({ a: 1 }), typeof RegExp.$1,"
        " Object.getOwnPropertyNames(globalThis).length]"
    )
    fresh = completed(probe, OWN)
    for code in LEAVING.values():
        programs.start(code, OWN)
        assert completed(probe, OWN) == fresh
    assert len(idle) == 1, "all of them in one machine"


def test_a_state_is_the_same_bytes_from_a_fresh_machine_and_a_used_one(idle):
    clock = MovedClock()
    code = "const a = { list: [1, 2, 3] }; const b = await fetch('http://a/'); [a, b, await fetch('http://b/')]"
    first = programs.start(code, OWN, clock)
    assert isinstance(first, programs.Suspended)
    machines._idle.clear()
    fresh = programs.resume(first.state, {1: ValueAnswer("x")}, OWN, clock)
    for leaving in LEAVING.values():
        programs.start(leaving, OWN, clock)
        assert programs.start(code, OWN, clock) == first
        assert programs.resume(first.state, {1: ValueAnswer("x")}, OWN, clock) == fresh
    assert idle


def test_one_machine_serves_hop_after_hop(idle, monkeypatch):
    first = suspended("let n = 0; for (;;) n += await fetch('http://a/' + n)", OWN)
    (machine,) = idle
    made = []
    monkeypatch.setattr(machines, "Machine", lambda *_: made.append(1))
    paused = first
    for _ in range(5):
        paused = programs.resume(paused.state, {paused.requests[0].id: ValueAnswer(1)}, OWN)
    assert [*idle] == [machine]
    assert not made


# Its machine is dropped: a call into it was ended, or it holds on to too much.
DROPPED = {
    "a trap": "JSON.parse('['.repeat(1e5)); 1",
    "the CPU time": "for (;;);",
    "out of memory": "const a = []; for (;;) a.push(new Uint8Array(1 << 20).fill(1))",
    "many pages written": "new Uint8Array(9e6).fill(1).length",
}


@pytest.mark.parametrize("code", DROPPED.values(), ids=DROPPED)
def test_a_machine_is_dropped_after(code, idle):
    programs.start(code, replace(OWN, cpu_seconds=0.3))
    assert not idle


def test_a_syntax_error_and_an_unknown_request_leave_no_machine_half_used(idle):
    with pytest.raises(CodeSyntaxError):
        programs.start("let let", OWN)
    assert not idle
    paused = suspended("await fetch('http://a/'); 1", OWN)
    (machine,) = idle
    with pytest.raises(KeyError):
        programs.resume(paused.state, {7: ValueAnswer(1)}, OWN)
    assert not idle
    done = programs.resume(paused.state, {1: ValueAnswer(1)}, OWN)
    assert isinstance(done, programs.Completed)
    assert idle
    assert idle[0] is not machine


def test_other_limits_of_memory_and_other_clocks_have_machines_of_their_own(idle):
    programs.start("1", Limits(memory_bytes=16 << 20))
    programs.start("1", OWN, MovedClock())
    (clocked,) = idle
    assert clocked.clocked
    programs.start("1", OWN)
    assert [machine.clocked for machine in idle] == [True, False]
    big = "const b = new Uint8Array(20 << 20); b.length"
    assert failed(big, Limits(memory_bytes=16 << 20)).error.message.startswith("out of memory")
    assert completed(big, OWN) == 20 << 20


def test_a_machine_that_has_grown_serves_states_of_its_size_and_no_others(idle):
    code = "let a = 'x'.repeat(2e6); await fetch('http://a/'); a.length + (await fetch('http://b/'))"
    first = suspended(code, OWN)
    (machine,) = idle
    assert machine.has_grown
    size = machine.memory_bytes
    assert machine.read(0, size) == image().ljust(size, b"\0")
    second = programs.resume(first.state, {1: ValueAnswer(1)}, OWN)
    assert isinstance(second, programs.Suspended)
    assert [*idle] == [machine]
    assert completed("1", OWN) == 1
    assert len(idle) == 2
    assert not idle[1].has_grown
    assert programs.resume(second.state, {2: ValueAnswer(1)}, OWN) == programs.Completed(2_000_001, ())
    assert {*idle} >= {machine}
    machines._idle.clear()
    assert programs.resume(first.state, {1: ValueAnswer(1)}, OWN).requests == second.requests


def test_a_used_machine_asks_the_clock_of_the_hop():
    code = "const now = Date.now(); await fetch('http://a/'); Date.now() - now"
    for seconds in (5, 60):
        clock = MovedClock()
        paused = programs.start(code, OWN, clock)
        assert isinstance(paused, programs.Suspended)
        clock.advance(timedelta(seconds=seconds))
        done = programs.resume(paused.state, {1: ValueAnswer(1)}, OWN, clock)
        assert isinstance(done, programs.Completed)
        assert done.result == 1000 * seconds


def test_a_limit_of_logs_is_that_of_the_hop(idle):
    code = "console.log('0123456789'); 1"
    assert next(entry.message for entry in programs.start(code, replace(OWN, log_bytes=4)).logs) == "0123"
    assert idle
    assert [entry.message for entry in programs.start(code, OWN).logs] == ["0123456789"]


def test_so_many_machines_are_kept_and_no_more(idle):
    guest = guests.current()
    used = [machines.take(guest, OWN, None) for _ in range(machines._MOST_IDLE + 2)]
    for machine in used:
        machine.prepare()
        machines.give_back(machine)
    assert [*idle] == used[2:], "the latest"


def test_a_program_that_is_closed_twice_gives_its_machine_once(idle):
    program = programs.Program(guests.current(), OWN)
    program.hop(lambda: program.begin(b"1"))
    program.close()
    program.close()
    assert len(idle) == 1


def test_where_pages_are_not_told_no_machine_is_used_twice(idle, monkeypatch):
    monkeypatch.setattr(pages, "can_be_told", lambda _guest: False)
    paused = suspended("await fetch('http://a/'); 1", OWN)
    assert isinstance(programs.resume(paused.state, {1: ValueAnswer(1)}, OWN), programs.Completed)
    assert not idle
