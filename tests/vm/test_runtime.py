"""What all hops of a process share: threads, forks, signals."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from support import number, run_cut, suspended

from sequential_core.limits import Limits
from sequential_core.pending import ValueAnswer
from sequential_core.vm import program as programs

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")


def output_of(script: str) -> str:
    """What a script prints in a process of its own."""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


FORK = """
import os, sys, threading
from sequential_core.limits import Limits
from sequential_core.vm import program as programs

short = Limits(cpu_seconds=0.1)
{before}
child = os.fork()
if child == 0:
    print(programs.start("1 + 1").result, programs.start("for (;;);", short).error.kind, flush=True)
    os._exit(0)
_, status = os.waitpid(child, 0)
assert status == 0, status
print(programs.start("for (;;);", short).error.kind)
"""


@needs_fork
@pytest.mark.parametrize(
    "before",
    [
        "programs.start('1')",
        "programs.start('for (;;);', short)",
        "from sequential_core.vm import guest; guest.current()",
    ],
    ids=["a hop", "an interrupted hop", "no hop"],
)
def test_hops_of_a_forked_process_are_interrupted(before):
    assert output_of(FORK.format(before=before)).splitlines() == ["2 cpu_limit", "cpu_limit"]


@needs_fork
def test_a_fork_while_another_thread_runs_a_hop():
    before = "threading.Thread(target=programs.start, args=('for (;;);', Limits(cpu_seconds=0.5)), daemon=True).start()"
    assert output_of(FORK.format(before=before)).splitlines() == ["2 cpu_limit", "cpu_limit"]


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="the signal is one of POSIX")
@pytest.mark.parametrize(
    "code", ["for (;;);", "for (;;) console.log()", "const f = async () => { for (;;) await 0 }; f()"]
)
def test_an_interrupt_from_the_keyboard_ends_a_hop(code):
    script = f"""
import signal
from sequential_core.limits import Limits
from sequential_core.vm import program as programs

programs.start("1")
signal.signal(signal.SIGALRM, signal.default_int_handler)
signal.setitimer(signal.ITIMER_REAL, 0.1)
try:
    programs.start({code!r}, Limits(cpu_seconds=2))
except KeyboardInterrupt:
    print("interrupted", programs.start("1 + 1").result)
"""
    assert output_of(script) == "interrupted 2"


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="the signal is one of POSIX")
def test_an_interrupt_at_the_very_beginning_of_a_hop_leaves_the_clock_of_cpu_time_free():
    """While the lock of its thread is held, which no hop of the process would get again."""
    script = """
import signal, threading
from sequential_core.vm import program as programs, runtime

class Lock:
    lock = threading.Lock()
    def __enter__(self):
        self.lock.acquire()
        if threading.current_thread() is threading.main_thread():
            signal.raise_signal(signal.SIGALRM)
    def __exit__(self, *_):
        self.lock.release()

programs.start("1")
signal.signal(signal.SIGALRM, signal.default_int_handler)
runtime._ticker._lock = Lock()
try:
    programs.start("1 + 1")
except KeyboardInterrupt:
    free = Lock.lock.acquire(timeout=10)
    print("interrupted", free, runtime._ticker._active)
"""
    assert output_of(script) == "interrupted True 0"


def test_importing_the_engine_starts_no_thread_and_loads_no_guest():
    script = """
import threading
from sequential_core.vm import program as programs, guest, runtime
print(threading.active_count(), guest.load.cache_info().currsize, runtime._ticker._ticking)
"""
    assert output_of(script) == "1 0 False"


def test_many_threads_run_programs_at_the_same_time():
    def total(n: int) -> object:
        return run_cut(f"let s = {n}; for (let i = 0; i < 10; i++) s += await fetch('http://a/' + i); s", number).result

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(total, range(40))) == [n + 45 for n in range(40)]


def test_logs_of_threads_are_not_mixed():
    def logged(n: int) -> set[str]:
        outcome = programs.start(f"for (let i = 0; i < 50; i++) console.log('{n}')")
        return {entry.message for entry in outcome.logs}

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(logged, range(40))) == [{str(n)} for n in range(40)]


def test_a_state_goes_on_in_another_thread_and_another_process():
    state = suspended("const a = [1]; a.push(await fetch('http://a/x')); a").state
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(programs.resume, state, {1: ValueAnswer(2)}).result() == programs.Completed([1, 2], ())
    script = f"""
from sequential_core.pending import ValueAnswer
from sequential_core.vm import program as programs
print(programs.resume(bytes.fromhex({state.hex()!r}), {{1: ValueAnswer(2)}}).result)
"""
    assert output_of(script) == "[1, 2]"


def test_each_of_many_hops_has_a_budget_of_its_own():
    with ThreadPoolExecutor(2) as pool:
        short = [pool.submit(programs.start, "for (;;);", Limits(cpu_seconds=0.1)) for _ in range(3)]
        long = [pool.submit(programs.start, "for (let i = 0; i < 1e5; i++); 'done'") for _ in range(20)]
    assert [future.result().error.kind for future in short] == ["cpu_limit"] * 3
    assert [future.result() for future in long] == [programs.Completed("done", ())] * 20
