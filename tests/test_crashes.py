"""Processes killed in the middle of a hop: the stored task is the old pause or the new one, whole."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass

import pytest

from sequential_core import create_flow
from sequential_core.storage import SqliteStorage
from sequential_core.vm import program as programs

# What it keeps makes a state of some 50 pages of SQLite, so that there is an inside of the save.
CODE = """
const noise = await fetch("http://a/noise");
const answer = await fetch("http://a/answer");
const last = await fetch("http://a/after " + answer);
[noise.length, answer, last]
"""
NOISE = random.Random(7).randbytes(100_000).hex()

# Longer than any hop takes; what was measured is used if it is less.
_MOST_SECONDS = 0.5

# A process is made by a copy of one that has the modules loaded, and no thread and no engine yet.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["pytest", "sequential_core.flow", "sequential_core.storage.sqlite"])


class _Telling(SqliteStorage):
    """Tells when a save begins and when it has ended."""

    def __init__(self, path, tell):
        super().__init__(path)
        self._tell = tell

    def save(self, task, *, expected_revision=None):
        self._tell("begun")
        super().save(task, expected_revision=expected_revision)
        self._tell("ended")


def _resume(path, task_id, pipe):
    """Resumes one task, then waits to be killed."""
    programs.start("1")  # loads the engine
    flow = create_flow(_Telling(path, pipe.send))
    flow.get_task(task_id)  # opens the file
    pipe.send("ready")
    pipe.recv()
    flow.resume(task_id, fetch_response="right", revision=2)
    signal.pause()


@dataclass
class _Victim:
    """A process that resumes a task as soon as it is told to, until it is killed."""

    path: object
    task_id: str

    def __post_init__(self):
        self.pipe, its = _CONTEXT.Pipe()
        self.process = _CONTEXT.Process(target=_resume, args=(self.path, self.task_id, its))
        self.process.start()
        its.close()
        assert self.hear() == "ready"

    def hear(self):
        assert self.pipe.poll(30), "the process is stuck"
        return self.pipe.recv()

    def kill(self):
        """Kills it, and gives what it had still told."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.join()
        heard = []
        try:
            while self.pipe.poll():
                heard.append(self.pipe.recv())
        except (EOFError, ConnectionResetError):
            pass  # the end; a reset if it was killed before it read "go"
        self.pipe.close()
        return heard


def _make(path, task_id):
    """A task at its second pause, as it is stored."""
    storage = SqliteStorage(path)
    flow = create_flow(storage)
    flow.execute(CODE, id=task_id)
    flow.resume(task_id, fetch_response=NOISE)
    task = flow.get_task(task_id)
    storage.close()
    return task


def _measure(path, task_id):
    """Seconds from the call of resume to its save, and of the save."""
    _make(path, task_id)
    victim = _Victim(path, task_id)
    called = time.perf_counter()
    victim.pipe.send("go")
    assert victim.hear() == "begun"
    begun = time.perf_counter()
    assert victim.hear() == "ended"
    ended = time.perf_counter()
    victim.kill()
    return min(begun - called, _MOST_SECONDS), min(ended - begun, _MOST_SECONDS)


def _check(path, task_id, old):
    """Asserts that the task is whole and goes on to the right end; tells which pause it stood at."""
    storage = SqliteStorage(path)  # a new one: it recovers what the killed process left
    flow = create_flow(storage)
    task = flow.get_task(task_id)
    if task.revision == old.revision:
        assert task == old
        task = flow.resume(task_id, fetch_response="right", revision=2)
        found = "old"
    else:
        found = "new"
        # The answer is known to have been taken.
        assert flow.resume(task_id, fetch_response="right", revision=2) == task
    assert (task.revision, task.fetch_request.url) == (3, "http://a/after%20right")
    assert flow.resume(task_id, fetch_response="end").result == [len(NOISE), "right", "end"]
    assert storage.load(task_id) is None
    storage.close()
    return found


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kills", [40, pytest.param(200, marks=pytest.mark.slow)])
def test_process_killed_at_any_moment_of_a_hop_leaves_the_old_pause_or_the_new_one(tmp_path, capsys, kills):
    path = tmp_path / "tasks.db"
    hop, save = (sorted(each)[1] for each in zip(*(_measure(path, name) for name in "abc"), strict=True))
    order = random.Random(kills)
    found = Counter()
    for number in range(kills):
        task_id = f"task-{number}"
        old = _make(path, task_id)
        victim = _Victim(path, task_id)
        victim.pipe.send("go")
        heard = []
        # One in three is killed at any moment of the hop, two in the save or close behind it.
        if number % 3:
            heard.append(victim.hear())
            delay = order.uniform(0, 1.2 * save)
        else:
            delay = order.uniform(0, hop + 1.5 * save)
        time.sleep(delay)
        heard += victim.kill()
        stage = {(): "before the save", ("begun",): "in the save", ("begun", "ended"): "after it"}[tuple(heard)]
        pause = _check(path, task_id, old)
        if stage != "in the save":
            assert pause == ("old" if stage == "before the save" else "new"), stage
        found[pause, stage] += 1
    with capsys.disabled():
        print(f"\n{kills} kills (hop {hop * 1e3:.1f} ms, save {save * 1e3:.1f} ms):")
        for (pause, stage), count in sorted(found.items()):
            print(f"  {count:3} at the {pause} pause, killed {stage}")
    assert {pause for pause, _ in found} == {"old", "new"}
    assert any(stage == "in the save" for _, stage in found)
