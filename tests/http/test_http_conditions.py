"""If-Match, If-None-Match and Idempotency-Key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from sequential_core.errors import InvalidRequestError
from sequential_core.http.headers import entity_tags, idempotency_key

TWO_PAUSES = "const a = await fetch('http://a/a'); const b = await fetch('http://a/b'); [a, b]"


def tags(*values):
    return entity_tags(Headers(raw=[(b"if-match", value.encode("latin-1")) for value in values]), "If-Match")


# --- If-Match on a resumption --------------------------------------------------------------------


@pytest.fixture
def task(client):
    """A task at revision 2, of three."""
    task = client.execute(TWO_PAUSES, id="task", retain=600)
    return client.resume(task["id"], 1)


@pytest.mark.parametrize("header", ['"2"', "*", '"1", "2"', '"2","9"', ', "2" ,', 'W/"2", "2"', '"x", "2"', '  "2"  '])
def test_a_resumption_at_a_revision_that_was_named(client, task, header):
    response = client.post("/tasks/task/resume", json={"fetchResponse": 2}, headers={"If-Match": header})
    assert response.status_code == 200, response.text
    assert response.json()["result"] == [1, 2]


@pytest.mark.parametrize("header", ['"1"', '"3"', 'W/"2"', '"x"', '""', '"1", "3"', '"02"', '"-2"', '"2.0"'])
def test_a_resumption_at_another_revision_changes_nothing(client, task, check_problem, header):
    response = client.post("/tasks/task/resume", json={"fetchResponse": 2}, headers={"If-Match": header})
    check_problem(response, 412, "precondition-failed", taskId="task")
    assert client.get("/tasks/task").json() == task


@pytest.mark.parametrize(
    "header", ["", "2", "W/2", '"2', '2"', '"2""3"', '"2" "3"', '*, "2"', '"2", *', 'w/"2"', '"2 "', ",", "**"]
)
def test_a_malformed_if_match_is_refused(client, task, check_problem, header):
    response = client.post("/tasks/task/resume", json={"fetchResponse": 2}, headers={"If-Match": header})
    check_problem(response, 400, "invalid-request", field="If-Match")
    assert client.get("/tasks/task").json() == task


def test_two_header_fields_are_one_list(client, task):
    headers = [("If-Match", '"9"'), ("If-Match", '"2"')]
    assert client.post("/tasks/task/resume", json={"fetchResponse": 2}, headers=headers).status_code == 200


def test_if_match_and_the_body_may_agree_but_not_contradict(client, task, check_problem):
    def resume(revision, header):
        body = {"fetchResponse": 2, "revision": revision}
        return client.post("/tasks/task/resume", json=body, headers={"If-Match": header})

    check_problem(resume(2, '"3"'), 400, "invalid-request", field="revision")
    check_problem(resume(2, 'W/"2"'), 400, "invalid-request", field="revision")
    check_problem(resume(1, '"1"'), 412, "precondition-failed")
    check_problem(resume(1, "*"), 409, "task-conflict")
    check_problem(resume(1, '"1", "2"'), 409, "task-conflict")
    assert client.get("/tasks/task").json() == task
    assert resume(2, '"2", "7"').status_code == 200


def test_a_conflict_that_if_match_does_not_see_is_a_conflict(client, task, check_problem):
    body = {"fetchResponse": 9, "requestId": 1}  # answered before, with something else
    check_problem(client.post("/tasks/task/resume", json=body, headers={"If-Match": '"2"'}), 409, "task-conflict")
    check_problem(client.post("/tasks/task/resume", json=body, headers={"If-Match": "*"}), 409, "task-conflict")
    check_problem(client.post("/tasks/task/resume", json=body), 409, "task-conflict")


def test_a_task_that_has_ended_is_at_another_revision(client, task, check_problem):
    client.resume("task", 2)
    body = {"fetchResponse": 3}
    check_problem(client.post("/tasks/task/resume", json=body, headers={"If-Match": '"2"'}), 412, "precondition-failed")
    check_problem(client.post("/tasks/task/resume", json=body, headers={"If-Match": '"3"'}), 409, "task-ended")
    check_problem(client.post("/tasks/task/resume", json=body), 409, "task-ended")


@pytest.mark.parametrize("header", ['"1"', '"1", "3"', "*", 'W/"1"', '"x"'])
def test_that_there_is_no_task_comes_before_if_match(client, check_problem, header):
    for method, url, body in (
        ("POST", "/tasks/no/resume", {"json": {"fetchResponse": 1}}),
        ("DELETE", "/tasks/no", {}),
    ):
        response = client.request(method, url, headers={"If-Match": header}, **body)
        check_problem(response, 404, "task-not-found", taskId="no")


@pytest.mark.parametrize("header", ['"1"', 'W/"1"', '"x"'])
def test_what_is_wrong_with_the_body_comes_before_if_match(client, task, check_problem, header):
    body = {"fetchResponse": 1, "error": "x"}
    response = client.post("/tasks/task/resume", json=body, headers={"If-Match": header})
    check_problem(response, 400, "invalid-answer")


def test_an_answer_that_was_taken_may_be_repeated_with_its_if_match(client, task):
    # RFC 9110, section 13.1.1: a change that was made already may be told as done.
    response = client.post("/tasks/task/resume", json={"fetchResponse": 1}, headers={"If-Match": '"1"'})
    assert (response.status_code, response.json()) == (200, task)


def test_of_two_callers_that_saw_the_same_revision_one_wins(client, task, check_problem):
    def resume(answer):
        return client.post("/tasks/task/resume", json={"fetchResponse": answer}, headers={"If-Match": task_tag})

    task_tag = client.get("/tasks/task").headers["etag"]
    assert resume("first").status_code == 200
    check_problem(resume("second"), 412, "precondition-failed")
    assert client.get("/tasks/task").json()["result"] == [1, "first"]


# --- If-Match and If-None-Match elsewhere ----------------------------------------------------------


def test_a_task_is_deleted_only_at_a_revision_that_was_named(client, task, check_problem):
    for header in ('"1"', 'W/"2"', '"x"', '"1", "3"'):
        response = client.delete("/tasks/task", headers={"If-Match": header})
        check_problem(response, 412, "precondition-failed", taskId="task")
        assert client.get("/tasks/task").json() == task
    assert client.delete("/tasks/task", headers={"If-Match": '"1", "2"'}).status_code == 204
    assert client.get("/tasks/task").status_code == 404


@pytest.mark.parametrize("header", ["*", '"2"'])
def test_a_task_is_deleted_at_its_revision(client, task, header):
    assert client.delete("/tasks/task", headers={"If-Match": header}).status_code == 204


def test_a_malformed_if_match_deletes_nothing(client, task, check_problem):
    check_problem(client.delete("/tasks/task", headers={"If-Match": "2"}), 400, "invalid-request", field="If-Match")
    assert client.get("/tasks/task").status_code == 200


@pytest.mark.parametrize("header", ['"2"', 'W/"2"', "*", '"1", W/"2"', '"2", "x"'])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_task_that_the_caller_has_is_not_sent_again(client, task, header, method):
    response = client.request(method, "/tasks/task", headers={"If-None-Match": header})
    assert (response.status_code, response.content) == (304, b"")
    assert response.headers["etag"] == '"2"'
    assert response.headers["cache-control"] == "no-store"
    assert "content-type" not in response.headers
    assert "content-length" not in response.headers


@pytest.mark.parametrize("header", ['"1"', 'W/"1"', '"x"', '"1", "3"'])
def test_a_task_that_has_changed_is_sent(client, task, header):
    response = client.get("/tasks/task", headers={"If-None-Match": header})
    assert (response.status_code, response.json()) == (200, task)


def test_a_malformed_if_none_match_is_refused(client, task, check_problem):
    response = client.get("/tasks/task", headers={"If-None-Match": "2"})
    check_problem(response, 400, "invalid-request", field="If-None-Match")


def test_if_match_holds_for_reading_too_and_comes_first(client, task, check_problem):
    assert client.get("/tasks/task", headers={"If-Match": '"2"'}).status_code == 200
    for header in ('"1"', 'W/"2"'):
        both = {"If-Match": header, "If-None-Match": '"2"'}
        check_problem(client.get("/tasks/task", headers=both), 412, "precondition-failed", taskId="task")
    both = {"If-Match": '"2"', "If-None-Match": '"2"'}
    assert client.get("/tasks/task", headers=both).status_code == 304


def test_there_is_no_tag_of_a_task_that_is_not_there(client, check_problem):
    response = client.get("/tasks/no", headers={"If-None-Match": "*"})
    check_problem(response, 404, "task-not-found")
    assert "etag" not in response.headers


def test_the_tags_of_a_header():
    found = tags('"1", W/"2"', ' "a,b" ,"3"')
    assert (found.anything, found.strong, found.weak) == (False, {1, 3}, {2})
    assert tags() is None
    assert tags("*").anything


@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 10**15)), min_size=1), st.sampled_from([",", ", ", " ,\t", ",,"])
)
def test_tags_that_are_written_are_read(items, between):
    found = tags(between.join(f'{"W/" * weak}"{revision}"' for weak, revision in items))
    assert found.strong == {revision for weak, revision in items if not weak}
    assert found.weak == {revision for weak, revision in items if weak}


@given(st.text(st.characters(max_codepoint=255, blacklist_categories=["Cc"])))
def test_any_header_is_tags_or_refused(text):
    try:
        found = tags(text)
    except InvalidRequestError:
        return
    assert found.anything == (text.strip(" \t") == "*")
    assert found.anything or '"' in text


def test_a_long_header_is_read_quickly():
    for text in (", " * 30_000, '"1" ' * 16_000, '"1",' * 16_000 + "x", '"' * 60_000, "\t" * 60_000 + "x"):
        with pytest.raises(InvalidRequestError):
            tags(text)


# --- Idempotency-Key ---------------------------------------------------------------------------------


def keyed(key):
    return {"headers": {"Idempotency-Key": key}}


def test_a_repeated_execution_gives_the_task_as_it_now_stands(client):
    first = client.post("/tasks", json={"code": TWO_PAUSES}, **keyed("key-1"))
    again = client.post("/tasks", json={"code": TWO_PAUSES}, **keyed('"key-1"'))
    assert first.status_code == again.status_code == 201
    assert again.json() == first.json()
    assert again.headers["location"] == first.headers["location"]
    task = client.resume(first.json()["id"], 1)
    assert client.post("/tasks", json={"code": TWO_PAUSES}, **keyed("key-1")).json() == task


def test_what_ends_at_once_is_kept_for_whoever_repeats_it(client):
    first = client.post("/tasks", json={"code": "Math.random()"}, **keyed("key"))
    assert first.status_code == 201
    assert client.post("/tasks", json={"code": "Math.random()"}, **keyed("key")).json() == first.json()
    assert client.post("/tasks", json={"code": "Math.random()"}, **keyed("Key")).json() != first.json()


def test_a_repeated_resumption_gives_the_outcome(client):
    task = client.execute("await fetch('http://a/a'); 'done'")
    url = f"/tasks/{task['id']}/resume"
    first = client.post(url, json={"fetchResponse": 1}, **keyed("key"))
    again = client.post(url, json={"fetchResponse": 1}, **keyed("key"))
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json()["result"] == "done"
    assert again.json() == first.json()
    assert again.headers["etag"] == '"2"'


def test_a_key_with_another_request_is_refused(client, check_problem):
    first = client.post("/tasks", json={"code": TWO_PAUSES}, **keyed("key")).json()
    response = client.post("/tasks", json={"code": "1"}, **keyed("key"))
    check_problem(response, 422, "idempotency-key-reused", taskId=first["id"])
    url = f"/tasks/{first['id']}/resume"
    second = client.post(url, json={"fetchResponse": 1}, **keyed("key")).json()
    response = client.post(url, json={"fetchResponse": 2}, **keyed("key"))
    check_problem(response, 422, "idempotency-key-reused", taskId=first["id"])
    assert client.get(f"/tasks/{first['id']}").json() == second


GOOD_KEYS = [
    ("a", "a"),
    ("8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
    ("order:12/3=x;y", "order:12/3=x;y"),
    ("x" * 255, "x" * 255),
    ('"a"', "a"),
    ('"a,b"', "a,b"),
    (r'"a\"b\\c"', r'a"b\c'),
    (f'"{"x" * 255}"', "x" * 255),
    (" a ", "a"),
]
BAD_KEYS = ["", " ", "a b", "a,b", 'a"', '"a', '"', '""', '"a"b"', r'"a\b"', '"a b"', '"a"; p', "é", "x" * 256, "\x7f"]


@pytest.mark.parametrize(("header", "key"), GOOD_KEYS)
def test_a_key_is_a_string_in_quotes_or_not(header, key):
    assert idempotency_key(Headers(raw=[(b"idempotency-key", header.encode())])) == key


@pytest.mark.parametrize("header", [*BAD_KEYS, f'"{"x" * 256}"'])
@pytest.mark.parametrize("path", ["/tasks", "/tasks/task/resume"])
def test_a_malformed_key_is_refused(client, task, check_problem, header, path):
    body = {"code": "1"} if path == "/tasks" else {"fetchResponse": 1}
    response = client.post(path, json=body, headers=[("Idempotency-Key", header.encode("latin-1"))])
    check_problem(response, 400, "invalid-request", field="Idempotency-Key")
    assert client.get("/tasks").json()["tasks"] == [task]


def test_two_keys_are_refused(client, check_problem):
    response = client.post("/tasks", json={"code": "1"}, headers=[("Idempotency-Key", "a")] * 2)
    check_problem(response, 400, "invalid-request", field="Idempotency-Key")


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=255))
def test_a_key_that_is_quoted_is_read(key):
    quoted = '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'
    assert idempotency_key(Headers(raw=[(b"idempotency-key", quoted.encode())])) == key
