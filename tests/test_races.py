"""Two processes that answer the same pause at the same moment: one wins, and nothing of the other is kept."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import Counter

import pytest

from sequential_core import create_flow
from sequential_core.errors import TaskConflictError, TaskNotFoundError
from sequential_core.model import Status
from sequential_core.storage import SqliteStorage

PLAYERS = ("left", "right")

# Every request tells which answer came before, so a stored pause shows whose it is.
LOOP = """
const taken = [];
for (let round = 1; round <= %d; round++) taken.push(await fetch(`http://a/${round} after ${taken.at(-1)}`));
taken
"""


def _play(path, player, barrier, results, rounds):
    """Resumes a task in each round, at the same moment as the other player; tells what became of it."""
    storage = SqliteStorage(path)
    flow = create_flow(storage)
    # The engine is loaded before the race begins.
    flow.execute("1")
    outcomes = []
    for task_id, revision in rounds:
        barrier.wait()
        try:
            task = flow.resume(task_id, fetch_response=player, revision=revision)
        except (TaskConflictError, TaskNotFoundError) as error:
            outcomes.append((type(error), str(error)))
        else:
            outcomes.append((task.status, task.fetch_request and task.fetch_request.url))
    storage.close()
    results.send(outcomes)


def _race(path, rounds):
    """What became of each round, for both players."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2, timeout=60)
    processes, ends = [], []
    for player in PLAYERS:
        mine, its = context.Pipe(duplex=False)
        processes.append(context.Process(target=_play, args=(path, player, barrier, its, rounds)))
        ends.append(mine)
        processes[-1].start()
        its.close()
    try:
        return list(zip(*(end.recv() for end in ends), strict=True))
    finally:
        for process in processes:
            process.join(10)
            if process.is_alive():
                os.kill(process.pid, signal.SIGKILL)
                process.join()


def _winners(outcomes, status):
    """Who won each round; exactly one must have."""
    winners = []
    for round_ in outcomes:
        won = [player for player, outcome in zip(PLAYERS, round_, strict=True) if outcome[0] is status]
        assert len(won) == 1, round_
        winners += won
    return winners


@pytest.mark.timeout(300)
def test_one_of_two_processes_wins_each_of_500_pauses(tmp_path, capsys):
    rounds = 500
    storage = SqliteStorage(tmp_path / "tasks.db")
    flow = create_flow(storage)
    flow.execute(LOOP % (rounds + 1), id="task-1")
    outcomes = _race(tmp_path / "tasks.db", [("task-1", number) for number in range(1, rounds + 1)])

    winners = _winners(outcomes, Status.PAUSED)
    lost = [outcome for round_ in outcomes for outcome in round_ if outcome[0] is not Status.PAUSED]
    assert {kind for kind, _ in lost} == {TaskConflictError}
    for number, (round_, winner) in enumerate(zip(outcomes, winners, strict=True), start=2):
        assert (Status.PAUSED, f"http://a/{number}%20after%20{winner}") in round_
    at_the_save = sum("it has revision" in message for _, message in lost)
    with capsys.disabled():
        print(
            f"\n{rounds} races: {dict(Counter(winners))} won; {at_the_save} were lost at the save, the rest at the load"
        )
    assert at_the_save > 0, "no two hops overlapped"

    task = flow.get_task("task-1")
    assert (task.revision, task.fetch_request.url) == (rounds + 1, f"http://a/{rounds + 1}%20after%20{winners[-1]}")
    assert flow.resume("task-1", fetch_response="end").result == [*winners, "end"]
    storage.close()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("retain", [None, 3600])
def test_one_of_two_processes_ends_each_of_100_tasks(tmp_path, capsys, retain):
    storage = SqliteStorage(tmp_path / "tasks.db")
    flow = create_flow(storage)
    ids = [f"task-{number}" for number in range(100)]
    rounds = [(flow.execute("await fetch('http://a/u')", id=each, retain=retain).id, 1) for each in ids]
    outcomes = _race(tmp_path / "tasks.db", rounds)

    winners = _winners(outcomes, Status.COMPLETED)
    kinds = Counter(
        outcome[0].__name__ for round_ in outcomes for outcome in round_ if outcome[0] is not Status.COMPLETED
    )
    with capsys.disabled():
        print(f"\n100 endings, retain={retain}: {dict(Counter(winners))} won, the others got {dict(kinds)}")
    if retain is None:
        # A loser that begins after the end finds no task, one that was overtaken lost the race.
        assert kinds["TaskConflictError"] > 0
        assert storage.list().tasks == ()
    else:
        assert kinds.keys() <= {"TaskConflictError", "TaskEndedError"}
        assert [flow.get_task(task_id).result for task_id, _ in rounds] == winners
    storage.close()
