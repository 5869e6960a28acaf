"""Many who answer at once, on DynamoDB as ministack has it: one wins, and nothing of the others is kept."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from aws.emulators import REGION
from sequential_core import create_flow
from sequential_core.errors import TaskConflictError, TaskNotFoundError
from sequential_core.http import create_app
from sequential_core.storage.dynamodb import DynamoDBStorage

THREADS = 64
CODE = 'const a = await fetch("http://a/first"); const b = await fetch("http://a/after " + a); [a, b]'


class Meeting(DynamoDBStorage):
    """Lets the first 64 who load a task wait for one another, so that all have seen the same pause."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self._places = iter(())
        self._barrier = threading.Barrier(THREADS, timeout=60)

    def begin(self):
        # Who lost may look at the task again, and then nobody is to wait.
        self._places = iter(range(THREADS))

    def load(self, task_id):
        task = super().load(task_id)
        if next(self._places, None) is not None:
            self._barrier.wait()
        return task


@pytest.fixture(params=[DynamoDBStorage, Meeting], ids=["as-it-comes", "all-have-loaded"])
def storage(request, ministack, table, bucket):
    return request.param(table, bucket=bucket, region=REGION, endpoint=ministack.url)


def answer_at_once(storage, task_id, **body):
    """The status and the JSON of each of 64 threads that answer the same pause, each with an answer of its own."""
    start = threading.Barrier(THREADS, timeout=60)
    # As many applications as callers, as Lambda has it: one alone computes only so many hops at once.
    apps = [create_app(create_flow(storage)) for _ in range(THREADS)]
    if isinstance(storage, Meeting):
        storage.begin()

    async def post(number):
        transport = httpx.ASGITransport(apps[number])
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as client:
            start.wait()
            return await client.post(f"/tasks/{task_id}/resume", json={"fetchResponse": f"answer {number}", **body})

    with ThreadPoolExecutor(THREADS) as pool:
        responses = list(pool.map(lambda number: asyncio.run(post(number)), range(THREADS)))
    return [(response.status_code, response.json()) for response in responses]


def check_one_won(outcomes):
    """The number of the winner, if the others were told that they lost."""
    assert Counter(status for status, _ in outcomes) == {200: 1, 409: THREADS - 1}
    assert {body["type"].rpartition(":")[2] for status, body in outcomes if status == 409} <= {
        "task-conflict",
        "task-ended",
    }
    return [status for status, _ in outcomes].index(200)


def test_one_of_64_threads_resumes_a_pause_and_the_stored_task_is_the_winners(storage):
    flow = create_flow(storage)
    flow.execute(CODE, id="task-1")
    outcomes = answer_at_once(storage, "task-1", revision=1)
    winner = check_one_won(outcomes)
    task = flow.get_task("task-1")
    assert task.to_dict(include_vm_state=False) == outcomes[winner][1]
    assert (task.revision, task.fetch_request.url) == (2, f"http://a/after%20answer%20{winner}")
    assert flow.resume("task-1", fetch_response="end").result == [f"answer {winner}", "end"]


def test_one_of_64_threads_ends_a_task_whose_outcome_is_kept(storage):
    flow = create_flow(storage)
    flow.execute('await fetch("http://a/only")', id="task-1", retain=3600)
    outcomes = answer_at_once(storage, "task-1")
    winner = check_one_won(outcomes)
    assert flow.get_task("task-1").result == f"answer {winner}"


def test_one_of_64_threads_ends_a_task_whose_outcome_is_not_kept(storage):
    flow = create_flow(storage)
    flow.execute('await fetch("http://a/only")', id="task-1")
    outcomes = answer_at_once(storage, "task-1", revision=1)
    statuses = Counter(status for status, _ in outcomes)
    assert statuses.pop(200) == 1
    # Who begins after the end finds no task.
    assert statuses.keys() <= ({409} if isinstance(storage, Meeting) else {404, 409})
    assert next(body["result"] for status, body in outcomes if status == 200).startswith("answer ")
    with pytest.raises(TaskNotFoundError):
        flow.get_task("task-1")


def test_64_threads_that_repeat_one_answer_with_one_key_all_get_the_task(storage):
    flow = create_flow(storage)
    flow.execute(CODE, id="task-1")
    start = threading.Barrier(THREADS, timeout=60)
    if isinstance(storage, Meeting):
        storage.begin()

    def resume(_number):
        start.wait()
        return flow.resume("task-1", fetch_response="one", idempotency_key="key")

    with ThreadPoolExecutor(THREADS) as pool:
        tasks = list(pool.map(resume, range(THREADS)))
    assert {(task.revision, task.fetch_request.url) for task in tasks} == {(2, "http://a/after%20one")}


def test_one_of_64_threads_creates_a_task_and_its_code_is_the_winners(ministack, table, bucket):
    storage = DynamoDBStorage(table, bucket=bucket, region=REGION, endpoint=ministack.url)
    apps = [create_app(create_flow(storage)) for _ in range(THREADS)]
    start = threading.Barrier(THREADS, timeout=60)

    async def post(number):
        transport = httpx.ASGITransport(apps[number])
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as client:
            start.wait()
            return await client.post("/tasks", json={"id": "task-1", "code": f"await fetch('http://a/{number}')"})

    with ThreadPoolExecutor(THREADS) as pool:
        responses = list(pool.map(lambda number: asyncio.run(post(number)), range(THREADS)))
    assert Counter(response.status_code for response in responses) == {201: 1, 409: THREADS - 1}
    winner = [response.status_code for response in responses].index(201)
    assert storage.load("task-1").fetch_request.url == f"http://a/{winner}"
    assert storage.load_code("task-1") == f"await fetch('http://a/{winner}')"
    # The losers left no code.
    items = ministack.client("dynamodb").scan(TableName=table)["Items"]
    assert len(items) == 2


# --- Many tasks ---

TASKS, WORKERS, PROCESSES = 2000, 16, 4


def _work(location, workers, pipe):
    """Threads of one process that answer all tasks of their lists; tells what became of each."""
    table, endpoint = location
    flow = create_flow(DynamoDBStorage(table, region=REGION, endpoint=endpoint))
    flow.execute("1")  # loads the engine
    pipe.send("ready")
    pipe.recv()

    def answer(worker):
        number, task_ids = worker
        ended = []
        for task_id in task_ids:
            try:
                task = flow.resume(task_id, fetch_response=number)
            except TaskConflictError:  # lost, or too late
                continue
            assert task.status == "completed", task
            ended.append((task_id, task.result))
        return ended

    with ThreadPoolExecutor(len(workers)) as pool:
        pipe.send([each for ended in pool.map(answer, workers) for each in ended])
    signal.pause()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_2000_tasks_that_16_workers_resume_at_once_complete_once_each(ministack, table, aws_environment, capsys):
    """Each task is on the lists of two workers, in different processes, who come to it at about the same moment."""
    flow = create_flow(DynamoDBStorage(table, region=REGION, endpoint=ministack.url), retain=3600)
    task_ids = [f"task-{number}" for number in range(TASKS)]
    begun = time.monotonic()
    with ThreadPoolExecutor(WORKERS) as pool:
        created = list(pool.map(lambda task_id: flow.execute('await fetch("http://a/only")', id=task_id), task_ids))
    creating = time.monotonic() - begun
    assert {task.status for task in created} == {"paused"}

    lists = [(worker, task_ids[worker % (WORKERS // 2) :: WORKERS // 2]) for worker in range(WORKERS)]
    context = multiprocessing.get_context("spawn")
    processes, pipes = [], []
    try:
        for number in range(PROCESSES):
            mine, its = context.Pipe()
            share = lists[number * WORKERS // PROCESSES : (number + 1) * WORKERS // PROCESSES]
            processes.append(context.Process(target=_work, args=((table, ministack.url), share, its)))
            processes[-1].start()
            its.close()
            pipes.append(mine)
        assert [pipe.recv() for pipe in pipes] == ["ready"] * PROCESSES
        begun = time.monotonic()
        for pipe in pipes:
            pipe.send("go")
        ended = [each for pipe in pipes for each in pipe.recv()]
        resuming = time.monotonic() - begun
    finally:
        for process in processes:
            if process.is_alive():
                os.kill(process.pid, signal.SIGKILL)
            process.join()
        for pipe in pipes:
            pipe.close()

    # No task ended twice, none was left.
    assert Counter(task_id for task_id, _ in ended) == Counter(task_ids)
    stored, cursor = [], None
    while True:
        page = flow.list_tasks(limit=1000, cursor=cursor)
        stored += page.tasks
        if (cursor := page.cursor) is None:
            break
    assert {task.id: task.result for task in stored} == dict(ended)
    assert {(task.status, task.revision) for task in stored} == {("completed", 2)}
    assert len(stored) == TASKS
    with capsys.disabled():
        print(
            f"\n{TASKS} tasks: created in {creating:.1f} s, resumed in {resuming:.1f} s by {WORKERS} workers, "
            f"the worker of the later half won {sum(result >= WORKERS // 2 for _, result in ended)}"
        )
