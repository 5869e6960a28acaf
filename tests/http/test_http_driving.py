"""Events, the end of a task, and handing it to a driver, over HTTP."""

from __future__ import annotations

import json

import pytest
from http_clients import KEY, PAUSING, Client

from sequential_core.errors import ConfigurationError, OutcomeUnknownError, StorageBusyError
from sequential_core.flow import SequentialFlow
from sequential_core.http import create_app
from sequential_core.http.problems import MEDIA_TYPE

WAITING = "const value = await waitForEvent('paid'); value"
JSON = {"content-type": "application/json"}
FOREIGN_PAGE = {"origin": "https://evil.example"}


def kept(client, task_id="t"):
    return client.get(f"/tasks/{task_id}").json()["keptEvents"]


# --- Driven tasks --------------------------------------------------------------------------------------------------


def test_a_task_is_driven_if_that_is_asked_for(client):
    response = client.post("/tasks", json={"code": PAUSING, "drive": True})
    assert (response.status_code, response.headers["etag"]) == (201, '"1"')
    task = response.json()
    assert response.headers["location"] == f"tasks/{task['id']}"
    assert (task["status"], task["drive"]["policy"], task["drive"]["claim"]) == ("paused", {}, None)
    assert task["drive"]["dueAt"] == task["createdAt"]
    assert (task["ttl"], task["retain"]) == (30 * 86400, 86400)
    assert client.execute()["drive"] is client.execute(drive=False)["drive"] is None


def test_a_policy_and_a_url_to_call_back_are_kept_with_the_task(client):
    policy = {"answers": "response", "attempts": 2, "timeout": 0.5, "retryStatuses": [503], "allow": ["*.example.com"]}
    drive = client.execute(drive={**policy, "hops": None}, callbackUrl="https://example.com/done")["drive"]
    assert drive["policy"] == policy
    callback = {"url": "https://example.com/done", "attempts": 0, "nextAt": None, "deliveredAt": None, "problem": None}
    assert drive["callback"] == callback


def test_whole_numbers_may_be_written_with_a_point(client):
    drive = client.execute(drive={"attempts": 2.0, "hops": 7.0, "retryStatuses": [503.0]})["drive"]
    assert drive["policy"] == {"attempts": 2, "hops": 7, "retryStatuses": [503]}


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"drive": "yes"}, "drive"),
        ({"drive": 1}, "drive"),
        ({"drive": {"attempts": 0}}, "drive.attempts"),
        ({"drive": {"attempts": True}}, "drive.attempts"),
        ({"drive": {"answers": "both"}}, "drive.answers"),
        ({"drive": {"timeout": 601}}, "drive.timeout"),
        ({"drive": {"retryStatuses": [200]}}, "drive.retryStatuses"),
        ({"drive": {"retryMethods": ["GET it"]}}, "drive.retryMethods"),
        ({"drive": {"deny": ["no host"]}}, "pattern"),
        ({"drive": {"nobody": 1}}, "drive"),
        ({"drive": True, "callbackUrl": "ftp://example.com"}, "callbackUrl"),
        ({"drive": True, "callbackUrl": "https://user:password@example.com"}, "callbackUrl"),
        ({"callbackUrl": "https://example.com"}, "callbackUrl"),
        ({"drive": False, "callbackUrl": "https://example.com"}, "callbackUrl"),
    ],
    ids=str,
)
def test_a_policy_that_is_none_is_refused(client, check_problem, fields, field):
    check_problem(client.post("/tasks", json={"code": PAUSING, **fields}), 400, "invalid-request", field=field)
    assert client.get("/tasks").json()["tasks"] == []


def test_an_outcome_may_be_kept_for_no_time(client):
    task = client.execute("1", drive=True, retain=0)
    assert (task["status"], task["retain"], task["expiresAt"]) == ("completed", None, None)


def test_a_paused_task_is_handed_to_a_driver_and_taken_back(client):
    client.execute(id="t")
    driven = client.post("/tasks/t/drive")
    assert (driven.status_code, driven.headers["etag"]) == (200, '"2"')
    assert (driven.json()["drive"]["policy"], driven.json()["retain"]) == ({}, 86400)
    changed = client.post("/tasks/t/drive", json={"drive": {"attempts": 1}, "callbackUrl": "https://example.com/"})
    assert changed.json()["drive"]["policy"] == {"attempts": 1}
    assert changed.json()["drive"]["callback"]["url"] == "https://example.com/"
    again = client.post("/tasks/t/drive", json={})
    assert again.json()["drive"]["callback"]["url"] == "https://example.com/"  # as it was
    back = client.delete("/tasks/t/drive")
    assert (back.status_code, back.json()["drive"], back.json()["revision"]) == (200, None, 5)
    assert client.delete("/tasks/t/drive").json() == back.json()
    assert client.resume("t", "by hand")["result"] == "by hand"


# --- Events --------------------------------------------------------------------------------------------------------


def test_an_event_that_is_awaited_runs_the_task_on(client):
    client.execute(WAITING, id="t", retain=60)
    response = client.post("/tasks/t/events/paid", json={"cents": 500})
    assert (response.status_code, response.headers["etag"]) == (200, '"2"')
    assert (response.json()["status"], response.json()["result"]) == ("completed", {"cents": 500})


def test_an_event_that_comes_before_it_is_awaited_is_kept(client):
    client.execute(f"const a = await fetch('http://a/a'); {WAITING}", id="t")
    client.post("/tasks/t/events/other", json=1)
    task = client.post("/tasks/t/events/paid", json=2).json()
    assert task["keptEvents"] == [{"name": "other", "value": 1}, {"name": "paid", "value": 2}]
    assert client.resume("t", 0)["result"] == 2


@pytest.mark.parametrize("value", [None, False, 0, "", "text", [], {}, 10**30, "\ud800"], ids=repr)
def test_the_value_of_an_event_is_any_json(client, value):
    client.execute(f"[{WAITING.partition('; ')[0].removeprefix('const value = ')}]", id="t", retain=60)
    content = json.dumps(value).encode()
    result = client.post("/tasks/t/events/paid", content=content, headers=JSON).json()["result"]
    assert result == ([1e30] if value == 10**30 else [value])


@pytest.mark.parametrize("headers", [{}, JSON], ids=["no type", "said to be JSON"])
def test_an_empty_body_is_null(client, headers):
    client.execute(WAITING, id="t", retain=60)
    response = client.post("/tasks/t/events/paid", headers=headers)
    assert (response.json()["status"], response.json()["result"]) == ("completed", None)


def test_an_event_with_a_key_counts_once(client, check_problem):
    client.execute(id="t")
    key = {"idempotency-key": "one"}
    first = client.post("/tasks/t/events/paid", json=1, headers=key).json()
    assert client.post("/tasks/t/events/paid", json=1, headers=key).json() == first
    assert kept(client) == [{"name": "paid", "value": 1}]
    for path, value in (("paid", 2), ("other", 1)):
        response = client.post(f"/tasks/t/events/{path}", json=value, headers=key)
        check_problem(response, 422, "idempotency-key-reused", taskId="t")
    client.post("/tasks/t/events/paid", json=1)
    assert len(kept(client)) == 2  # without a key each is one of its own


def test_a_task_keeps_a_hundred_events(client, check_problem):
    client.execute(id="t")
    for number in range(100):
        assert client.post("/tasks/t/events/paid", json=number).status_code == 200
    check_problem(client.post("/tasks/t/events/paid", json=100), 429, "too-many-events", taskId="t")
    assert len(kept(client)) == 100


@pytest.mark.parametrize("name", ["a%20b", "%2F", "a" * 129, "%FF", "%", "%C3%BC"])
def test_a_name_that_no_event_has_is_refused(client, check_problem, name):
    client.execute(id="t")
    for path in (f"/tasks/t/events/{name}", f"/tasks/t/events/{name}/url"):
        check_problem(client.post(path, json=1), 400, "invalid-request", field="name")


def test_a_name_may_be_encoded(client):
    client.execute(id="a/b")
    assert client.post("/tasks/a%2Fb/events/order%3Apaid", json=1).json()["keptEvents"][0]["name"] == "order:paid"


# --- Bodies that need not be there -----------------------------------------------------------------------------------

WITHOUT_BODY = ("/tasks/t/events/paid", "/tasks/t/events/paid/url", "/tasks/t/cancel", "/tasks/t/drive", "/events/abc")


@pytest.mark.parametrize("path", WITHOUT_BODY)
@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_a_body_that_is_there_is_json(client, check_problem, path, kind):
    client.execute(id="t")
    headers = {"content-type": kind} if kind else {}
    check_problem(client.post(path, content=b"{}", headers=headers), 415, "unsupported-media-type")


@pytest.mark.parametrize("path", WITHOUT_BODY)
def test_a_page_of_another_host_cannot_post_nothing_without_asking(client, check_problem, path):
    """A browser sends a POST without a body anywhere; it says then from which page."""
    task = client.execute(id="t")
    check_problem(client.post(path, headers=FOREIGN_PAGE), 415, "unsupported-media-type")
    assert client.get("/tasks/t").json() == task


@pytest.mark.parametrize("path", ["/tasks/t/events/paid", "/events/abc"])
@pytest.mark.parametrize("content", [b"{", b"\xff", b"NaN", b"1 2"])
def test_a_value_that_is_not_json_is_refused(client, check_problem, path, content):
    client.execute(id="t")
    check_problem(client.post(path, content=content, headers=JSON), 400, "malformed-body")


@pytest.mark.parametrize("path", ["/tasks/t/cancel", "/tasks/t/drive", "/tasks/t/events/paid/url"])
def test_fields_that_nobody_knows_are_refused(client, check_problem, path):
    client.execute(id="t")
    check_problem(client.post(path, json={"nobody": 1}), 400, "invalid-request", field="request")
    check_problem(client.post(path, json=[]), 400, "malformed-body")
    check_problem(client.post(f"{path}?nobody=1", json={}), 400, "invalid-request", field="query")


def test_an_event_may_have_the_size_of_a_body_but_not_more(client, check_problem):
    client.execute(WAITING, id="t", retain=60)
    text = b'"' + b"x" * (1024 * 1024 - 2) + b'"'
    check_problem(client.post("/tasks/t/events/paid", content=text + b" ", headers=JSON), 413, "body-too-large")
    assert client.post("/tasks/t/events/paid", content=text, headers=JSON).status_code == 200


def test_an_event_that_is_too_large_to_be_kept_is_refused(client, check_problem):
    client.execute(id="t")
    check_problem(client.post("/tasks/t/events/paid", json="x" * 262144), 429, "too-many-events")
    assert kept(client) == []


# --- Cancelled ---------------------------------------------------------------------------------------------------


def test_a_task_is_cancelled(client):
    client.execute(id="t", retain=60)
    response = client.post("/tasks/t/cancel")
    assert (response.status_code, response.headers["etag"]) == (200, '"2"')
    assert (response.json()["status"], response.json()["errorDetail"]["kind"]) == ("error", "cancelled")
    assert client.post("/tasks/t/cancel", json={}).json() == response.json()


def test_a_cancelled_task_whose_outcome_is_not_kept_is_gone(client, check_problem):
    client.execute(id="t")
    assert client.post("/tasks/t/cancel").json()["expiresAt"] is None
    check_problem(client.post("/tasks/t/cancel"), 404, "task-not-found", taskId="t")


# --- Each operation, where the task is not as it would have it -----------------------------------------------------

STEERING = [
    ("POST", "/tasks/t/events/paid"),
    ("POST", "/tasks/t/events/paid/url"),
    ("POST", "/tasks/t/cancel"),
    ("POST", "/tasks/t/drive"),
    ("DELETE", "/tasks/t/drive"),
]
each_way = pytest.mark.parametrize(("method", "path"), STEERING)


@each_way
def test_a_task_that_does_not_exist(client, check_problem, method, path):
    check_problem(client.request(method, path), 404, "task-not-found", taskId="t")


@each_way
def test_a_task_that_has_ended(client, check_problem, method, path):
    client.execute("1", id="t", retain=60)
    check_problem(client.request(method, path), 409, "task-ended", taskId="t", taskStatus="completed")


@pytest.mark.parametrize(("method", "path"), STEERING[2:])
def test_a_task_at_another_revision(client, check_problem, method, path):
    task = client.execute(id="t", retain=60)
    response = client.request(method, path, headers={"if-match": '"7"'})
    check_problem(response, 412, "precondition-failed", taskId="t")
    assert client.get("/tasks/t").json() == task
    assert client.request(method, path, headers={"if-match": '"1"'}).status_code == 200


@pytest.mark.parametrize(("method", "path"), [each for each in STEERING if not each[1].endswith("url")])
def test_the_state_comes_if_it_is_asked_for(client, method, path):
    client.execute(id="t", retain=60)
    assert "vmState" in client.request(method, f"{path}?include=vmState").json()
    assert "vmState" not in client.get("/tasks/t").json()


# --- URLs of events --------------------------------------------------------------------------------------------------


def make_url(client, path="/tasks/t/events/paid/url", **fields):
    response = client.post(path, json=fields)
    assert response.status_code == 201, response.text
    return response.json()


def test_the_holder_of_a_url_sends_its_event_and_learns_nothing(client):
    client.execute(WAITING, id="t", retain=60)
    made = make_url(client)
    assert made["url"] == f"http://localhost/events/{made['token']}"
    response = client.post(made["url"], json={"approved": True})
    assert (response.status_code, response.json()) == (202, {"accepted": True})
    assert {"etag", "location", "retry-after"}.isdisjoint(response.headers)
    assert client.get("/tasks/t").json()["result"] == {"approved": True}


def test_a_url_counts_once(client, check_problem):
    client.execute(id="t")
    url = make_url(client)["url"]
    for _ in range(3):
        assert client.post(url, json=1).status_code == 202
    problem = check_problem(client.post(url, json=2), 409, "event-sent")
    assert set(problem) == {"type", "title", "status", "detail"}
    assert kept(client) == [{"name": "paid", "value": 1}]


def test_a_url_counts_once_also_after_the_end_of_the_task(client, check_problem):
    client.execute(WAITING, id="t")
    url = make_url(client)["url"]
    for _ in range(2):
        assert client.post(url).status_code == 202
    check_problem(client.post(url, json=2), 409, "event-sent")


def test_a_url_is_good_for_a_day_or_as_long_as_is_said(client, clock, check_problem):
    client.execute(id="t", ttl=10 * 86400)
    a_day, an_hour = make_url(client), make_url(client, ttl=3600)
    assert a_day["expiresAt"] == "2026-01-03T03:04:05.000000Z"
    assert an_hour["expiresAt"] == "2026-01-02T04:04:05.000000Z"
    clock.pass_by(hours=1)
    check_problem(client.post(an_hour["url"], json=1), 404, "unknown-event-url")
    clock.pass_by(hours=22, minutes=59)
    assert client.post(a_day["url"], json=1).status_code == 202


@pytest.mark.parametrize("ttl", [0, 0.5, -1, 30 * 86400 + 1, "3600", True])
def test_a_url_is_good_for_a_second_at_least_and_a_month_at_most(client, check_problem, ttl):
    client.execute(id="t")
    check_problem(client.post("/tasks/t/events/paid/url", json={"ttl": ttl}), 400, "invalid-request", field="ttl")


def test_the_holder_of_a_url_is_not_told_what_has_become_of_the_task(client, check_problem):
    told = []
    for change in (lambda: client.post("/tasks/t/cancel"), lambda: client.delete("/tasks/t")):
        client.execute(id="t", retain=60)
        url = make_url(client)["url"]
        change()
        told.append(check_problem(client.post(url, json=1), 410, "event-gone"))
        if not told[1:]:
            client.delete("/tasks/t")
    assert told[0] == told[1]
    assert set(told[0]) == {"type", "title", "status", "detail"}


def test_an_event_of_a_later_task_with_the_same_id_is_another(client, clock, check_problem):
    client.execute(WAITING, id="t")
    url = make_url(client)["url"]
    client.delete("/tasks/t")
    clock.pass_by(seconds=1)
    client.execute(WAITING, id="t")
    check_problem(client.post(url, json=1), 410, "event-gone")
    assert client.get("/tasks/t").json()["status"] == "paused"


def test_a_task_that_keeps_enough_events_does_not_say_which_it_is(client, check_problem):
    client.execute(id="t")
    url = make_url(client)["url"]
    problem = check_problem(client.post(url, json="x" * 262144), 429, "too-many-events")
    assert set(problem) == {"type", "title", "status", "detail"}
    assert "'t'" not in problem["detail"]


@pytest.mark.parametrize("token", ["abc", "%2F", "%00", "a" * 5000, "."])
def test_what_is_no_token_is_no_url(client, check_problem, token):
    check_problem(client.post(f"/events/{token}x", json=1), 404, "unknown-event-url")


def test_a_url_takes_nothing_but_posts(client, check_problem):
    client.execute(id="t")
    url = make_url(client)["url"]
    for method in ("GET", "PUT", "DELETE"):
        check_problem(client.request(method, url), 405, "method-not-allowed")


def test_without_a_key_there_are_no_urls(flow, check_problem):
    client = Client(create_app(flow))
    client.execute(id="t")
    for path in ("/tasks/t/events/paid/url", "/events/abc"):
        check_problem(client.post(path), 501, "no-signing-key")


def test_the_key_may_be_given_when_it_is_needed(flow):
    asked = []
    client = Client(create_app(flow, signing_key=lambda: asked.append(1) or KEY))
    client.execute(id="t")
    assert asked == []
    assert client.post(make_url(client)["url"]).status_code == 202
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("public_url", "start"),
    [
        (None, "http://localhost/events/"),
        ("https://api.example.com", "https://api.example.com/events/"),
        ("https://api.example.com/v1/", "https://api.example.com/v1/events/"),
    ],
)
def test_a_url_is_as_callers_reach_the_server(flow, public_url, start):
    client = Client(create_app(flow, signing_key=KEY, public_url=public_url))
    client.execute(id="t")
    assert make_url(client)["url"].startswith(start)


def test_a_url_has_the_host_and_prefix_of_the_request(app):
    client = Client(app, root_path="/stage")
    client.post("/stage/tasks", json={"code": PAUSING, "id": "t"})
    headers = {"host": "api.example.com:8443"}
    made = client.post("/stage/tasks/t/events/paid/url", headers=headers).json()
    assert made["url"] == f"http://api.example.com:8443/stage/events/{made['token']}"
    assert client.post(f"/stage/events/{made['token']}").status_code == 202


@pytest.mark.parametrize("url", ["", "api.example.com", "ftp://a", "https://a?b", "https://a#b", "https://a b"])
def test_a_public_url_that_is_none_is_refused(flow, url):
    with pytest.raises(ConfigurationError):
        create_app(flow, public_url=url)


@pytest.mark.parametrize(
    ("error", "slug"), [(StorageBusyError(), "try-again"), (OutcomeUnknownError("t"), "outcome-unknown")]
)
def test_what_may_work_later_is_told_to_the_holder_of_a_url(storage, client, monkeypatch, error, slug):
    client.execute(id="t")
    url = make_url(client)["url"]

    def fail(*_args, **_options):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(storage, "save", fail)
        response = client.post(url, json=1)
    assert (response.status_code, response.headers["content-type"]) == (503, MEDIA_TYPE)
    assert response.json()["type"].endswith(slug)
    assert client.post(url, json=1).status_code == 202


# --- Paths, where the server decodes them (see `paths`) --------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "encoded"),
    [
        ("POST", "/tasks/a/b/events/paid", "/tasks/a%2Fb/events/paid"),
        ("POST", "/tasks/a/b/events/paid/url", "/tasks/a%2Fb/events/paid/url"),
        ("POST", "/tasks/a/events/resume", "/tasks/a/events/resume"),
        ("POST", "/tasks/a/events/x/resume", "/tasks/a%2Fevents%2Fx/resume"),
        ("POST", "/tasks/a/b/cancel", "/tasks/a%2Fb/cancel"),
        ("POST", "/tasks/a/b/drive", "/tasks/a%2Fb/drive"),
        ("DELETE", "/tasks/a/b/drive", "/tasks/a%2Fb/drive"),
        ("DELETE", "/tasks/a/cancel", "/tasks/a%2Fcancel"),
        ("GET", "/tasks/a/drive", "/tasks/a%2Fdrive"),
        ("POST", "/tasks/ü/events/ü", "/tasks/%C3%BC/events/%C3%BC"),
        ("POST", "/events/abc", "/events/abc"),
    ],
)
def test_a_decoded_path_is_told_by_its_method_and_its_end(method, path, encoded):
    from sequential_core.http.paths import encoded_path

    for root in ("", "/stage"):
        scope = {"method": method, "path": root + path, "root_path": root}
        assert encoded_path(scope) == root + encoded


def test_a_dispatcher_is_told_of_what_callers_change(storage, clock):
    told = []

    class Dispatcher:
        def prepare(self, task_id):
            return None

        def dispatch(self, task):
            told.append((task.id, task.revision))

    client = Client(create_app(SequentialFlow(storage, clock=clock, dispatcher=Dispatcher()), signing_key=KEY))
    client.execute(WAITING + "; await fetch('http://a/a')", id="t", drive=True)
    client.post("/tasks/t/events/other")
    client.post(make_url(client)["url"])
    assert told == [("t", 3)]  # before, there was nothing to do for a driver
