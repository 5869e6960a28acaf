from __future__ import annotations

import contextlib

import pytest
from http_clients import KEY, Client, Clock, running_serve

from sequential_core.flow import SequentialFlow
from sequential_core.http import create_app
from sequential_core.http.problems import MEDIA_TYPE, TYPE_PREFIX
from sequential_core.storage import MemoryStorage


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def storage(clock):
    return MemoryStorage(clock=clock)


@pytest.fixture
def flow(storage, clock):
    return SequentialFlow(storage, clock=clock)


@pytest.fixture
def app(flow):
    return create_app(flow, signing_key=KEY)


@pytest.fixture
def client(app):
    return Client(app)


@pytest.fixture
def check_problem():
    """Asserts that a response is a problem document, and gives it."""

    def check(response, status, slug, **members):
        assert response.status_code == status, response.text
        assert response.headers["content-type"] == MEDIA_TYPE
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["x-content-type-options"] == "nosniff"
        problem = response.json()
        assert problem["type"] == TYPE_PREFIX + slug
        assert problem["status"] == status
        assert problem["title"]
        assert problem["detail"]
        assert {name: problem.get(name) for name in members} == members
        return problem

    return check


@pytest.fixture
def serve():
    """Starts servers, and ends them."""
    with contextlib.ExitStack() as stack:
        yield lambda *arguments, **options: stack.enter_context(running_serve(*arguments, **options))
