"""The life of a task: begun, paused, resumed, ended, kept, expired."""

from __future__ import annotations

import itertools
import json
from datetime import timedelta

import pytest
from contracts.tasks import MICROSECOND
from hypothesis import given, settings
from hypothesis import strategies as st

import sequential_core
from sequential_core import SequentialFlow, create_flow
from sequential_core.errors import InvalidRequestError, TaskNotFoundError
from sequential_core.limits import Limits
from sequential_core.model import TRANSITIONS, Status
from sequential_core.storage import MemoryStorage
from sequential_core.storage import url as urls
from sequential_core.testing import NOW, MovedClock

TWO = 'const a = await fetch("https://a.test/");\nconst b = await fetch("https://b.test/" + a);\n[a, b]'
HOUR = timedelta(hours=1)


@pytest.fixture
def clock():
    return MovedClock()


@pytest.fixture
def storage(clock):
    return MemoryStorage(clock=clock)


@pytest.fixture
def flow(storage, clock):
    return SequentialFlow(storage, clock=clock)


@pytest.fixture
def default_storage(monkeypatch):
    storage = MemoryStorage()
    monkeypatch.setattr(SequentialFlow, "default_storage", storage)
    return storage


# Ways to call


def test_class_uses_the_default_storage(default_storage):
    task = SequentialFlow.execute(TWO, id="task-1", name="label")
    assert default_storage.load("task-1").name == "label"
    assert SequentialFlow.get_task("task-1").vm_state == task.vm_state
    assert [each.id for each in SequentialFlow.list_tasks().tasks] == ["task-1"]
    assert SequentialFlow.resume("task-1", fetch_response=1).fetch_request.url == "https://b.test/1"
    SequentialFlow.delete_task("task-1")
    assert default_storage.load("task-1") is None


def test_flow_uses_its_own_storage_and_not_the_default(default_storage):
    own = MemoryStorage()
    flow = create_flow(own)
    flow.execute(TWO, id="task-1")
    assert flow.resume("task-1", fetch_response=1).revision == 2
    assert own.load("task-1").revision == 2
    assert default_storage.list().tasks == ()


def test_flow_without_a_storage_uses_the_default_of_the_moment(default_storage):
    flow = create_flow()
    flow.execute(TWO, id="task-1")
    assert default_storage.load("task-1") is not None


@pytest.mark.parametrize("call", ["class", "flow"])
def test_a_call_may_name_another_storage(default_storage, call):
    other = MemoryStorage()
    flow = SequentialFlow if call == "class" else create_flow(MemoryStorage())
    flow.execute(TWO, id="task-1", storage=other)
    assert flow.resume("task-1", fetch_response=1, storage=other).revision == 2
    assert flow.resume({"id": "task-1", "fetchResponse": 1, "revision": 1}, storage=other).revision == 2
    assert flow.get_task("task-1", storage=other).revision == 2
    assert len(flow.list_tasks(storage=other).tasks) == 1
    flow.delete_task("task-1", storage=other)
    assert other.load("task-1") is None
    with pytest.raises(TaskNotFoundError):
        flow.get_task("task-1")


def test_default_storage_of_a_subclass_is_its_own(default_storage):
    class Other(SequentialFlow):
        default_storage = MemoryStorage()

    Other.execute(TWO, id="task-1")
    assert Other.default_storage.load("task-1") is not None
    assert default_storage.load("task-1") is None


def test_storage_may_be_a_url(monkeypatch):
    monkeypatch.setattr(urls, "_opened", {})
    flow = create_flow("memory:")
    flow.execute(TWO, id="task-1")
    assert create_flow("memory:").get_task("task-1").revision == 1
    monkeypatch.setattr(SequentialFlow, "default_storage", None)
    monkeypatch.setenv("SEQUENTIAL_STORAGE", "memory:")
    assert SequentialFlow.get_task("task-1").revision == 1


def test_requests_as_mappings_with_the_json_names(flow):
    task = flow.execute({"code": TWO, "id": "task-1", "name": "label", "ttl": 60, "retain": 90})
    assert (task.id, task.name, task.ttl, task.retain) == (
        "task-1",
        "label",
        timedelta(seconds=60),
        timedelta(seconds=90),
    )
    task = flow.resume({"id": "task-1", "fetchResponse": 1, "requestId": 1, "revision": 1})
    assert task.fetch_request.url == "https://b.test/1"
    assert flow.resume({"id": "task-1", "fetchResponse": None}).result == [1, None]


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        ({"response": {"status": 404, "body": "gone"}}, [404, "gone"]),
        ({"error": "no route"}, "TypeError: no route"),
        ({"fetchResponse": 5}, "TypeError"),
    ],
)
def test_answers_of_each_kind_in_a_mapping(flow, answer, result):
    code = """
    let v;
    try { const r = await fetch("http://a/u"); v = [r.status, await r.text()] } catch (e) { v = String(e) }
    v
    """
    flow.execute(code, id="task-1")
    got = flow.resume({"id": "task-1", **answer}).result
    assert got == result or (result == "TypeError" and got.startswith("TypeError: "))


def test_names_left_null_in_a_mapping_are_left_out(flow):
    task = flow.execute({"code": TWO, "id": None, "name": None, "ttl": None, "retain": None})
    assert (task.ttl, task.retain, task.name) == (2 * HOUR, None, None)
    assert task.id
    given = {"id": task.id, "fetchResponse": 1, "response": None, "error": None, "requestId": None, "revision": None}
    assert flow.resume(given).revision == 2


def test_names_of_the_package_are_there():
    for name in sequential_core.__all__:
        assert getattr(sequential_core, name) is not None
    assert set(sequential_core.__all__) <= set(dir(sequential_core))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        sequential_core.nothing  # noqa: B018


# From begin to end


def test_a_task_that_does_not_pause_is_not_stored(flow, storage):
    task = flow.execute("1 + 1", id="task-1")
    assert (task.status, task.result, task.revision, task.expires_at) == (Status.COMPLETED, 2, 1, None)
    assert flow.execute("throw 1", id="task-2").status is Status.ERROR
    assert storage.list().tasks == ()


@pytest.mark.parametrize("code", ["", " \n", "// nothing", ";"])
def test_code_that_says_nothing_completes_with_null(flow, code):
    task = flow.execute(code)
    assert (task.status, task.result) == (Status.COMPLETED, None)


def test_ids_are_made_and_differ(flow, storage):
    first, second = flow.execute(TWO), flow.execute(TWO)
    assert first.id != second.id
    assert {task.id for task in storage.list().tasks} == {first.id, second.id}


@pytest.mark.parametrize(
    ("end", "status"), [("7", Status.COMPLETED), ("throw new Error('bad')", Status.ERROR)], ids=["completed", "error"]
)
def test_an_ended_task_leaves_nothing_in_the_storage(flow, storage, end, status):
    flow.execute(f'await fetch("http://a/u"); {end}', id="task-1")
    assert flow.resume("task-1", fetch_response=1).status is status
    assert storage.list().tasks == ()
    assert storage.load_code("task-1") is None
    with pytest.raises(TaskNotFoundError):
        flow.get_task("task-1")


def test_revision_counts_the_saves_and_instants_follow_the_clock(flow, clock):
    task = flow.execute('for (let i = 0; i < 4; i++) await fetch("http://a/u" + i); "end"', id="task-1")
    seen = [task]
    while task.status is Status.PAUSED:
        clock.advance(HOUR)
        task = flow.resume("task-1", fetch_response=None)
        seen.append(task)
    assert [each.revision for each in seen] == [1, 2, 3, 4, 5]
    assert [each.paused_state.hops for each in seen[:-1]] == [1, 2, 3, 4]
    assert {each.created_at for each in seen} == {NOW}
    assert [each.updated_at - NOW for each in seen] == [0 * HOUR, HOUR, 2 * HOUR, 3 * HOUR, 4 * HOUR]


def test_logs_are_those_of_the_last_hop(flow):
    code = 'console.log("one"); await fetch("http://a/u"); console.warn("two"); await fetch("http://a/v"); 3'
    flow.execute(code, id="task-1")
    assert [entry.to_dict() for entry in flow.get_task("task-1").logs] == [{"level": "log", "message": "one"}]
    task = flow.resume("task-1", fetch_response=1)
    assert [entry.to_dict() for entry in task.logs] == [{"level": "warn", "message": "two"}]
    assert flow.resume("task-1", fetch_response=1).logs == ()


@pytest.mark.parametrize("answer", [None, 0, False, "", [], {}, "é 😀 \x00", {"a": [1, {"b": None}]}, 1.5, -(2**53)])
def test_a_value_reaches_the_code_as_it_is(flow, answer):
    flow.execute('const v = await fetch("http://a/u"); ({v})', id="task-1")
    task = flow.resume("task-1", fetch_response=answer)
    assert json.dumps(task.result) == json.dumps({"v": answer})


def test_a_response_reaches_the_code_as_a_response(flow):
    code = 'const r = await fetch("http://a/u"); [r.ok, r.status, r.statusText, r.headers.get("x-a"), await r.json()]'
    flow.execute(code, id="task-1")
    response = {"status": 404, "statusText": "Not Found", "headers": {"X-A": "1"}, "body": {"a": 1}}
    assert flow.resume("task-1", response=response).result == [False, 404, "Not Found", "1", {"a": 1}]


def test_an_error_rejects_the_fetch_with_a_type_error(flow):
    code = 'let v; try { await fetch("http://a/u") } catch (e) { v = [e instanceof TypeError, e.message] }; v'
    flow.execute(code, id="task-1")
    assert flow.resume("task-1", error="no route").result == [True, "no route"]


def test_an_error_that_is_not_caught_fails_the_task(flow):
    flow.execute('await fetch("http://a/u")', id="task-1")
    task = flow.resume("task-1", error="no route")
    assert (task.status, task.error) == (Status.ERROR, "TypeError: no route")


@given(order=st.permutations([1, 2, 3, 4]))
@settings(max_examples=24)
def test_requests_may_be_answered_in_any_order(order):
    flow = create_flow(MemoryStorage())
    task = flow.execute('Promise.all([1, 2, 3, 4].map(n => fetch("https://api.test/" + n)))', id="task-1")
    for answered, request_id in enumerate(order):
        assert [request.id for request in task.fetch_requests] == sorted(set(order) - set(order[:answered]))
        assert task.paused_state.pending == tuple(request.id for request in task.fetch_requests)
        assert task.fetch_request == task.fetch_requests[0]
        task = flow.resume("task-1", fetch_response=f"answer {request_id}", request_id=request_id)
    assert task.result == ["answer 1", "answer 2", "answer 3", "answer 4"]


def test_without_a_request_id_the_oldest_request_is_answered(flow):
    flow.execute('Promise.all([fetch("http://a/a"), fetch("http://a/b"), fetch("http://a/c")])', id="task-1")
    flow.resume("task-1", fetch_response="B", request_id=2)
    flow.resume("task-1", fetch_response="A")
    assert flow.resume("task-1", fetch_response="C").result == ["A", "B", "C"]


def test_limits_hold_for_every_hop(storage, clock):
    flow = SequentialFlow(storage, limits=Limits(result_bytes=10), clock=clock)
    assert flow.execute('"x".repeat(20)').error.startswith("LimitError")
    flow.execute('await fetch("http://a/u")', id="task-1")
    assert flow.resume("task-1", fetch_response="x" * 20).error.startswith("LimitError")


def test_transitions_of_every_kind_happen_and_no_others(flow):
    ends = {Status.PAUSED: 'await fetch("http://a/v")', Status.COMPLETED: "1", Status.ERROR: "throw 1"}
    happened = {None: set(), **{status: set() for status in Status}}
    for number, (status, end) in enumerate(ends.items()):
        happened[None].add(flow.execute(end, id=f"first-{number}", retain=60).status)
        flow.execute(f'await fetch("http://a/u"); {end}', id=f"second-{number}", retain=60)
        assert flow.resume(f"second-{number}", fetch_response=1).status is status
        happened[Status.PAUSED].add(status)
    for number, status in itertools.product(range(3), ("first", "second")):
        task = flow.get_task(f"{status}-{number}")
        if task.status is not Status.PAUSED:
            with pytest.raises(sequential_core.errors.TaskEndedError):
                flow.resume(task.id, fetch_response="another")
            assert flow.get_task(task.id) == task
    assert happened == TRANSITIONS


# ttl and retain


def test_a_pause_is_kept_for_two_hours_and_every_pause_anew(flow, clock):
    task = flow.execute(TWO, id="task-1")
    assert (task.ttl, task.expires_at) == (2 * HOUR, NOW + 2 * HOUR)
    clock.advance(2 * HOUR - MICROSECOND)
    task = flow.resume("task-1", fetch_response=1)
    assert task.expires_at == clock.now + 2 * HOUR
    clock.advance(2 * HOUR - MICROSECOND)
    assert flow.resume("task-1", fetch_response=2).result == [1, 2]


def test_at_the_instant_of_expiry_the_task_does_not_exist(flow, clock):
    flow.execute(TWO, id="task-1", ttl=60)
    clock.advance(timedelta(seconds=60))
    for call in (
        lambda: flow.get_task("task-1"),
        lambda: flow.delete_task("task-1"),
        lambda: flow.resume("task-1", fetch_response=1),
    ):
        with pytest.raises(TaskNotFoundError):
            call()
    assert flow.list_tasks().tasks == ()
    assert flow.execute("await fetch('http://a/other code')", id="task-1").revision == 1


@pytest.mark.parametrize(
    ("duration", "meant"),
    [
        (timedelta(days=3, microseconds=1), timedelta(days=3, microseconds=1)),
        (1, timedelta(seconds=1)),
        (0.25, timedelta(milliseconds=250)),
        (1e-6, MICROSECOND),
        (timedelta(days=36525), timedelta(days=36525)),
        (36525 * 86400, timedelta(days=36525)),
    ],
)
def test_durations_are_timedeltas_or_seconds(flow, duration, meant):
    task = flow.execute(TWO, id="task-1", ttl=duration, retain=duration)
    assert (task.ttl, task.retain, task.expires_at) == (meant, meant, NOW + meant)
    assert flow.get_task("task-1").to_dict() == task.to_dict()


@pytest.mark.parametrize(("end", "status"), [("7", Status.COMPLETED), ("throw 7", Status.ERROR)])
def test_a_retained_outcome_can_be_read_until_it_expires(flow, storage, clock, end, status):
    flow.execute(f'await fetch("http://a/u"); {end}', id="task-1", ttl=60, retain=HOUR)
    clock.advance(timedelta(seconds=30))
    task = flow.resume("task-1", fetch_response=1)
    assert (task.status, task.expires_at, task.vm_state) == (status, clock.now + HOUR, None)
    clock.advance(HOUR - MICROSECOND)
    assert flow.get_task("task-1").to_dict() == task.to_dict()
    clock.advance(MICROSECOND)
    with pytest.raises(TaskNotFoundError):
        flow.get_task("task-1")


def test_an_outcome_without_a_pause_is_retained_too(flow, clock):
    task = flow.execute("6 * 7", id="task-1", retain=60)
    assert flow.get_task("task-1").to_dict() == task.to_dict()
    clock.advance(timedelta(seconds=60))
    with pytest.raises(TaskNotFoundError):
        flow.get_task("task-1")


# Other calls


def test_delete_forgets_a_task_whatever_its_status(flow):
    flow.execute(TWO, id="paused")
    flow.execute("1", id="completed", retain=60)
    flow.execute("throw 1", id="failed", retain=60)
    for task_id in ("paused", "completed", "failed"):
        flow.delete_task(task_id)
        with pytest.raises(TaskNotFoundError):
            flow.delete_task(task_id)


def test_tasks_are_listed_by_status_and_page(flow, clock):
    for number in range(3):
        clock.advance(MICROSECOND)
        flow.execute(TWO, id=f"paused-{number}")
    flow.execute("1", id="ended", retain=60)
    page = flow.list_tasks(status="paused", limit=2)
    assert [task.id for task in page.tasks] == ["paused-2", "paused-1"]
    assert [task.id for task in flow.list_tasks(status="paused", limit=2, cursor=page.cursor).tasks] == ["paused-0"]
    assert [task.id for task in flow.list_tasks(status=Status.COMPLETED).tasks] == ["ended"]
    with pytest.raises(InvalidRequestError):
        flow.list_tasks(status="waiting")
