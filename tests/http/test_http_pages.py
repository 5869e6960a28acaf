"""The list of tasks, page by page."""

from __future__ import annotations

import itertools
import re
from urllib.parse import urljoin

import pytest
from http_clients import PAUSING

from sequential_core.http import operations
from sequential_core.storage.base import MAX_PAGE_SIZE


@pytest.fixture
def ids(client, clock):
    """Of seven tasks, newest first; every third has completed."""
    made = []
    for number in range(7):
        task = client.execute("1" if number % 3 == 0 else PAUSING, id=f"task/{number}", retain=3600)
        made.insert(0, task["id"])
        clock.pass_by(seconds=1)
    return made


def walk(client, url):
    """The ids of each page; the next one is where the link says."""
    pages = []
    url = f"http://localhost{url}"
    while url:
        response = client.get(url.removeprefix("http://localhost"))
        assert response.status_code == 200, response.text
        page = response.json()
        pages.append([task["id"] for task in page["tasks"]])
        link = response.headers.get("link")
        assert (link is None) == (page["cursor"] is None)
        url = None if link is None else urljoin(url, re.fullmatch(r'<(.*)>; rel="next"', link)[1])
    return pages


def all_of(pages):
    return list(itertools.chain.from_iterable(pages))


def test_there_is_a_page_of_nothing(client):
    response = client.get("/tasks")
    assert response.json() == {"tasks": [], "cursor": None}
    assert "link" not in response.headers


def test_tasks_are_listed_newest_first_as_they_are_read(client, ids):
    page = client.get("/tasks").json()
    assert page["cursor"] is None
    assert page["tasks"] == [client.get(f"/tasks/task%2F{number}").json() for number in range(6, -1, -1)]


@pytest.mark.parametrize("limit", [1, 2, 3, 6, 7, 8, 1000])
def test_a_walk_sees_each_task_once(client, ids, limit):
    pages = walk(client, f"/tasks?limit={limit}")
    assert all_of(pages) == ids
    assert all(len(page) == limit for page in pages[:-1])


def test_a_walk_keeps_to_its_status(client, ids):
    assert walk(client, "/tasks?status=completed&limit=2") == [["task/6", "task/3"], ["task/0"]]
    assert all_of(walk(client, "/tasks?limit=3&status=paused")) == ["task/5", "task/4", "task/2", "task/1"]
    assert walk(client, "/tasks?status=error") == [[]]


def test_the_cursor_can_be_given_by_hand(client, ids):
    first = client.get("/tasks", params={"limit": 4}).json()
    second = client.get("/tasks", params={"limit": 4, "cursor": first["cursor"]}).json()
    assert [task["id"] for task in first["tasks"] + second["tasks"]] == ids
    assert second["cursor"] is None


def test_a_page_has_a_hundred_tasks_unless_it_is_told_otherwise(flow, client, monkeypatch):
    limits = []
    listed = flow.list_tasks
    monkeypatch.setattr(flow, "list_tasks", lambda **options: limits.append(options["limit"]) or listed(**options))
    client.get("/tasks")
    client.get(f"/tasks?limit={MAX_PAGE_SIZE}")
    assert limits == [100, 1000]


def test_a_page_ends_before_it_is_too_large(client, ids, monkeypatch):
    whole = client.get("/tasks")
    size = max(len(client.get(f"/tasks/task%2F{number}").content) for number in range(7))
    monkeypatch.setattr(operations, "MAX_PAGE_BYTES", 3 * size)
    pages = walk(client, "/tasks")
    assert all_of(pages) == ids
    assert len(pages) > 1
    assert all(len(page) >= 3 for page in pages[:-1])
    assert len(client.get("/tasks").content) <= 3 * size + 100
    assert client.get("/tasks?limit=1").json()["tasks"] == whole.json()["tasks"][:1]


def test_a_task_that_is_too_large_for_a_page_has_one_of_its_own(client, ids, monkeypatch):
    monkeypatch.setattr(operations, "MAX_PAGE_BYTES", 1)
    assert walk(client, "/tasks") == [[task_id] for task_id in ids]


def test_a_task_that_ends_meanwhile_is_no_obstacle(client, ids):
    first = client.get("/tasks?limit=3").json()
    client.delete("/tasks/task%2F4")
    client.delete("/tasks/task%2F3")
    second = client.get("/tasks", params={"cursor": first["cursor"]}).json()
    assert [task["id"] for task in second["tasks"]] == ["task/2", "task/1", "task/0"]
