"""The worker: what it finds, what it is told of, and how it ends. Its network is a function."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from datetime import timedelta

import httpx
import programs
import pytest

from sequential_core import MemoryStorage, SqliteStorage, create_flow
from sequential_core.driver import Driver, Fetcher, Worker
from sequential_core.errors import StorageBusyError
from sequential_core.model import Status

FETCHING = "(await fetch('https://api.example.com/a')).n"


def answer(request):
    return programs.answer({"n": 7, "path": request.url.path})


@pytest.fixture
def storage():
    return MemoryStorage()


@contextlib.contextmanager
def working(storage, handler=answer, **options):
    """A worker, and a flow of callers that tells it of what they change."""
    driven = create_flow(storage)
    worker = Worker(Driver(driven, fetcher=Fetcher(network=httpx.MockTransport(handler))), **options)
    worker.start()
    try:
        yield create_flow(storage, dispatcher=worker)
    finally:
        worker.stop(grace_seconds=0)


def until(condition, seconds=20):
    """Waits for what other threads do."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.005)
    return found


def ended(storage, task_id):
    task = storage.load(task_id)
    return task if task is not None and task.status is not Status.PAUSED else None


def test_what_is_due_when_it_starts_is_driven(storage):
    create_flow(storage).execute(FETCHING, id="t", drive=True)
    with working(storage):
        assert until(lambda: ended(storage, "t")).result == 7


def test_what_a_caller_saves_is_driven_without_asking_the_storage(storage, monkeypatch):
    with working(storage, ask_seconds=3600) as flow:
        until(lambda: flow.execute("1").result == 1)
        monkeypatch.setattr(MemoryStorage, "due", lambda *_args, **_options: pytest.fail("it was asked"))
        flow.execute(FETCHING, id="t", drive=True)
        assert until(lambda: ended(storage, "t")).result == 7


def test_a_timer_is_known_without_asking_the_storage(storage):
    with working(storage, ask_seconds=3600) as flow:
        flow.execute("await sleep(1500); 'awake'", id="t", drive=True)  # longer than a driver waits at a task
        task = until(lambda: ended(storage, "t"))
        assert task.updated_at - task.created_at >= timedelta(seconds=1.5)


def test_an_event_brings_the_driver_back(storage):
    with working(storage, ask_seconds=3600) as flow:
        flow.execute(f"const e = await waitForEvent('paid'); [e, {FETCHING}]", id="t", drive=True)
        assert storage.load("t").drive.due_at is None
        flow.send_event("t", "paid", 500)
        assert until(lambda: ended(storage, "t")).result == [500, 7]


def test_a_storage_without_an_index_is_asked_once_a_minute_and_one_with_an_index_often(storage, tmp_path):
    assert Worker(Driver(create_flow(storage)))._ask_seconds == 60
    with contextlib.closing(SqliteStorage(tmp_path / "tasks.db")) as indexed:
        assert Worker(Driver(create_flow(indexed)))._ask_seconds == 0.25


def test_what_another_process_saves_is_found(tmp_path):
    with contextlib.closing(SqliteStorage(tmp_path / "tasks.db")) as storage, working(storage):
        with contextlib.closing(SqliteStorage(tmp_path / "tasks.db")) as another:
            create_flow(another).execute(FETCHING, id="t", drive=True)
        assert until(lambda: ended(storage, "t")).result == 7


def test_two_workers_at_one_file_send_each_request_once(tmp_path):
    seen, lock = Counter(), threading.Lock()

    def count(request):
        with lock:
            seen[request.url.path] += 1
        return answer(request)

    stores = [SqliteStorage(tmp_path / "tasks.db") for _ in range(3)]
    tasks = [f"t{number}" for number in range(30)]
    with working(stores[0], count), working(stores[1], count):
        flow = create_flow(stores[2])  # of a process that has no worker
        for task_id in tasks:
            base = f"https://api.example.com/{task_id}"
            flow.execute(f"await fetch('{base}/1'); (await fetch('{base}/2')).path", id=task_id, drive=True)
        outcomes = {task_id: until(lambda task_id=task_id: ended(stores[2], task_id)).result for task_id in tasks}
    for storage in stores:
        storage.close()
    assert outcomes == {task_id: f"/{task_id}/2" for task_id in tasks}
    assert seen == Counter({f"/{task_id}/{number}": 1 for task_id in tasks for number in (1, 2)})


def test_no_more_tasks_are_driven_at_once_than_is_said(storage):
    release, busy, most, lock = threading.Event(), Counter(), Counter(), threading.Lock()

    def hold(request):
        with lock:
            busy["now"] += 1
            most["seen"] = max(most["seen"], busy["now"])
        release.wait(20)
        with lock:
            busy["now"] -= 1
        return answer(request)

    with working(storage, hold, at_a_time=2) as flow:
        for number in range(5):
            flow.execute(FETCHING, id=f"t{number}", drive=True)
        until(lambda: busy["now"] == 2)
        release.set()
        for number in range(5):
            until(lambda number=number: ended(storage, f"t{number}"))
    assert most["seen"] == 2


def test_a_worker_that_stops_lets_go_of_what_it_cannot_finish(storage):
    release, begun = threading.Event(), threading.Event()

    def hang(request):
        begun.set()
        release.wait(20)
        return answer(request)

    with working(storage, hang) as flow:
        flow.execute(FETCHING, id="t", drive=True)
        assert begun.wait(20)
        assert storage.load("t").drive.claim is not None
    left = storage.load("t")
    assert (left.status, left.drive.claim) == (Status.PAUSED, None)
    assert left.drive.due_at <= flow.now()
    with working(storage):
        assert until(lambda: ended(storage, "t")).result == 7
    release.set()


def test_a_worker_that_stops_waits_for_what_is_nearly_there(storage):
    release, begun = threading.Event(), threading.Event()

    def wait(request):
        begun.set()
        release.wait(20)
        return answer(request)

    worker = Worker(Driver(create_flow(storage), fetcher=Fetcher(network=httpx.MockTransport(wait))))
    worker.start()
    create_flow(storage, dispatcher=worker).execute(FETCHING, id="t", drive=True)
    assert begun.wait(20)
    threading.Timer(0.2, release.set).start()
    worker.stop(grace_seconds=20)
    assert ended(storage, "t").result == 7


def test_a_worker_with_nothing_to_do_stops_at_once(storage):
    worker = Worker(Driver(create_flow(storage)))
    worker.start()
    began = time.monotonic()
    worker.stop(grace_seconds=20)
    assert time.monotonic() - began < 10


def test_a_storage_that_cannot_be_asked_does_not_end_the_worker(storage, monkeypatch, caplog):
    asked = threading.Event()

    def fail(*_args, **_options):
        asked.set()
        raise StorageBusyError

    monkeypatch.setattr(MemoryStorage, "due", fail)
    with working(storage) as flow:
        assert asked.wait(20)
        flow.execute(FETCHING, id="t", drive=True)
        assert until(lambda: ended(storage, "t")).result == 7
    assert "the storage cannot be asked what is due" in caplog.text


def test_a_task_that_cannot_be_driven_is_left_alone_for_a_while_and_keeps_nobody_from_work(
    storage, monkeypatch, caplog
):
    tried = Counter()
    drive = Driver.drive

    def fail(self, task_id, **options):
        tried[task_id] += 1
        if task_id == "bad":
            raise StorageBusyError
        return drive(self, task_id, **options)

    monkeypatch.setattr(Driver, "drive", fail)
    create_flow(storage).execute(FETCHING, id="bad", drive=True)
    with working(storage, ask_seconds=0.01) as flow:
        until(lambda: tried["bad"])
        for number in range(3):
            flow.execute(FETCHING, id=f"t{number}", drive=True)
            until(lambda number=number: ended(storage, f"t{number}"))
    assert tried["bad"] == 1
    assert "task bad cannot be driven" in caplog.text
