"""Each limit of a hop: what passes it, how that ends, and that the next hop is not affected."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from support import answered, failed, suspended

from sequential_core import state as codec
from sequential_core.limits import MIB, Limits
from sequential_core.model import ErrorKind
from sequential_core.pending import ValueAnswer
from sequential_core.vm import program as programs
from sequential_core.vm.machine import Machine

SHORT = Limits(cpu_seconds=0.2)
SMALL = Limits(memory_bytes=8 * MIB)

FILL = "const all = []; for (;;) all.push(new Uint8Array(65536).fill(1));"


def kind_of(code: str, limits: Limits) -> ErrorKind:
    return failed(code, limits).error.kind


# --- CPU time ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        "for (;;);",
        "const again = () => Promise.resolve().then(again); again(); 1",
        "const again = async () => { for (;;) await null }; await again()",
        "const again = () => queueMicrotask(again); again()",
        "/(a+)+$/.test('a'.repeat(40) + 'b')",
        "try { for (;;); } catch { 'caught' } finally { 'not reached' }",
        "({ toJSON() { for (;;); } })",
        "throw { message: 'm', get name() { for (;;); } }",
    ],
    ids=["loop", "promises", "awaits", "microtasks", "regular expression", "not caught", "result", "error"],
)
def test_what_does_not_end_is_ended(code):
    error = failed(code, SHORT).error
    assert (error.kind, error.name) == (ErrorKind.CPU_LIMIT, "LimitError")
    assert "0.2 s" in error.message


def test_a_loop_after_a_pause_is_ended_and_the_state_is_still_good():
    paused = suspended("const n = await fetch('http://a/x'); while (n); n")
    ended = programs.resume(paused.state, {1: ValueAnswer(1)}, SHORT)
    assert isinstance(ended, programs.Failed)
    assert ended.error.kind is ErrorKind.CPU_LIMIT
    assert programs.resume(paused.state, {1: ValueAnswer(0)}, SHORT) == programs.Completed(0, ())


def test_every_hop_has_the_whole_time():
    code = (
        "for (let i = 0; i < 4; i++) {"
        "  const end = Date.now() + 80; while (Date.now() < end); await fetch('http://a/x') } 'done'"
    )
    assert answered(code, *[ValueAnswer(0)] * 4, limits=Limits(cpu_seconds=0.25)) == programs.Completed("done", ())


def test_a_hop_is_not_charged_for_the_time_it_waits(monkeypatch):
    """While the hop waits, its neighbour computes for longer than the hop may."""
    outcomes = []
    neighbour = threading.Thread(target=lambda: outcomes.append(programs.start("for (;;);", Limits(cpu_seconds=0.4))))

    def wait(*_):
        neighbour.start()
        neighbour.join()

    monkeypatch.setattr(Machine, "_log", wait)
    assert programs.start("console.log(); for (let i = 0; i < 1e6; i++); 'done'", SHORT) == programs.Completed(
        "done", ()
    )
    assert outcomes[0].error.kind is ErrorKind.CPU_LIMIT


def test_of_two_hops_at_the_same_time_only_the_looping_one_is_interrupted():
    together = threading.Barrier(2)

    def run(code: str, limits: Limits) -> programs.Outcome:
        together.wait()
        return programs.start(code, limits)

    with ThreadPoolExecutor(2) as pool:
        looping = pool.submit(run, "for (;;);", SHORT)
        working = pool.submit(run, "const end = Date.now() + 500; while (Date.now() < end); 'done'", Limits())
        assert looping.result().error.kind is ErrorKind.CPU_LIMIT
        assert working.result() == programs.Completed("done", ())


# --- Memory --------------------------------------------------------------------------------------


def test_running_out_of_memory_fails_the_program():
    error = failed(FILL, SMALL).error
    assert error.kind is ErrorKind.MEMORY_LIMIT
    assert str(8 * MIB) in error.message


@pytest.mark.parametrize(
    "code",
    [
        "'x'.repeat(2 ** 29).length",
        "const all = []; for (let i = 0; ; i++) all.push({ i })",
        "let s = 'x'; for (;;) s += s.replace('x', 'y')",
        "const o = {}; for (let i = 0; ; i++) o['k' + i] = i",
        "const all = []; for (;;) all.push(fetch('http://a/x', { method: 'POST', body: 'b'.repeat(1e5) }))",
    ],
    ids=["string", "objects", "concatenation", "properties", "requests"],
)
def test_whatever_fills_the_memory_fails_the_program(code):
    assert kind_of(code, Limits(memory_bytes=8 * MIB, pending_requests=10**6)) is ErrorKind.MEMORY_LIMIT


def test_running_out_of_memory_can_be_caught_and_the_program_pauses_and_goes_on():
    code = f"""
    const fill = () => {{ {FILL} }};
    const seen = [];
    for (let i = 0; i < 2; i++) {{
      try {{ fill() }} catch (e) {{ seen.push(e.message) }}
      seen.push(await fetch('http://a/x'));
    }}
    seen
    """
    outcome = answered(code, ValueAnswer(1), ValueAnswer(2), limits=SMALL)
    assert outcome == programs.Completed(["out of memory", 1, "out of memory", 2], ())


def test_the_memory_stays_within_its_limit():
    code = f"let all; try {{ {FILL.replace('const all', 'all')} }} catch {{}} all = null; await fetch('http://a/x')"
    assert codec.read(suspended(code, SMALL).state).memory_pages * codec.WASM_PAGE_BYTES <= 8 * MIB


def test_another_hop_may_have_more_memory():
    paused = suspended("await fetch('http://a/x'); new Uint8Array(16 * 2 ** 20).length", SMALL)
    assert kind_of_resumed(paused, SMALL) is ErrorKind.MEMORY_LIMIT
    assert programs.resume(paused.state, {1: ValueAnswer(0)}, Limits()) == programs.Completed(16 * MIB, ())


def test_a_state_that_needs_more_memory_than_the_hop_may_have_fails():
    paused = suspended("const all = new Uint8Array(16 * 2 ** 20); await fetch('http://a/x'); all.length")
    assert kind_of_resumed(paused, SMALL) is ErrorKind.MEMORY_LIMIT
    assert programs.resume(paused.state, {1: ValueAnswer(0)}) == programs.Completed(16 * MIB, ())


def test_an_answer_that_does_not_fit_fails():
    paused = suspended("await fetch('http://a/x')", SMALL)
    outcome = programs.resume(paused.state, {1: ValueAnswer("x" * 7_000_000)}, SMALL)
    assert isinstance(outcome, programs.Failed)
    assert outcome.error.kind is ErrorKind.MEMORY_LIMIT


def kind_of_resumed(paused: programs.Suspended, limits: Limits) -> ErrorKind:
    outcome = programs.resume(paused.state, {1: ValueAnswer(0)}, limits)
    assert isinstance(outcome, programs.Failed), outcome
    return outcome.error.kind


# --- Stack ---------------------------------------------------------------------------------------

RECURSION = "const down = () => 1 + down();"


def test_endless_recursion_is_a_range_error():
    error = failed(f"{RECURSION} down()", Limits()).error
    assert (error.kind, error.name) == (ErrorKind.EXCEPTION, "RangeError")


def test_endless_recursion_can_be_caught_and_the_program_goes_on():
    code = f"{RECURSION} const seen = []; for (let i = 0; i < 2; i++) {{ try {{ down() }} catch (e) {{ "
    code += "seen.push(e.name) } await fetch('http://a/x') } seen"
    assert answered(code, ValueAnswer(0), ValueAnswer(0)) == programs.Completed(["RangeError", "RangeError"], ())


@pytest.mark.parametrize(
    "code",
    ["JSON.parse('['.repeat(100000))", "let a = []; for (let i = 0; i < 1e5; i++) a = [a]; JSON.stringify(a)"],
    ids=["parse", "stringify"],
)
def test_what_is_nested_too_deeply_for_json_passes_the_stack(code):
    error = failed(code).error
    assert (error.kind, error.name) == (ErrorKind.STACK_LIMIT, "RangeError")


# --- The rest ------------------------------------------------------------------------------------


def test_pending_requests_up_to_the_limit():
    limits = Limits(pending_requests=3)
    code = "for (let i = 0; i < {}; i++) fetch('http://a/x')"
    assert len(suspended(code.format(3), limits).requests) == 3
    error = failed(code.format(4), limits).error
    assert error.kind is ErrorKind.PENDING_REQUESTS_LIMIT
    assert "4 requests" in error.message
    assert "3" in error.message


def test_answered_requests_do_not_count():
    code = "for (let i = 0; i < 5; i++) await fetch('http://a/x'); 'done'"
    limits = Limits(pending_requests=1)
    assert answered(code, *[ValueAnswer(0)] * 5, limits=limits) == programs.Completed("done", ())


@pytest.mark.parametrize(("code", "size"), [("'1234'", 6), ("'é😀'", 8), ("[1, 2]", 5), ("undefined", 4)])
def test_the_result_counts_as_json_in_utf_8(code, size):
    assert isinstance(programs.start(code, Limits(result_bytes=size)), programs.Completed)
    assert kind_of(code, Limits(result_bytes=size - 1)) is ErrorKind.RESULT_LIMIT


def test_a_state_that_is_too_large_fails():
    # Random numbers do not compress: eight bytes each, of which the sign and the exponent are alike.
    code = "const all = Array.from({ length: 10000 }, Math.random); await fetch('http://a/x')"
    size = len(suspended(code).state)
    assert 60_000 < size < 120_000
    error = failed(code, Limits(state_bytes=50_000)).error
    assert error.kind is ErrorKind.STATE_LIMIT
    assert "50000" in error.message
