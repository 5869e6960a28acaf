"""Tasks that are driven against a real server on this machine, which misbehaves. Each ends as its policy says."""

import random
from datetime import timedelta

import pytest
from http_server import running_server

from sequential_core import SequentialFlow, SqliteStorage
from sequential_core.driver import Driver, Fetcher, Rules, run_to_end

FAST = {"attempts": 3, "backoff": 0.001, "timeout": 1}

CAUGHT = "let told; try { told = await fetch(WHERE) } catch (e) { told = `${e.name}: ${e.message}` } told"


@pytest.fixture
def server():
    with running_server() as running:
        yield running


@pytest.fixture
def drive(server, tmp_path):
    """Drives code to its end; `WHERE` in it is the URL of a path of the server."""
    flow = SequentialFlow(SqliteStorage(tmp_path / "tasks.db"))
    fetcher = Fetcher(Rules(loopback=True))

    def run(path, code=CAUGHT, **policy):
        driver = Driver(flow, fetcher=fetcher, chance=random.Random(1))
        task = flow.execute(f"const WHERE = {server.url + path!r}; {code}", drive={**FAST, **policy})
        return run_to_end(driver, task)

    with fetcher:
        yield run
    flow.revisioned().close()


def test_the_reference_program(drive):
    task = drive(
        "/json/",
        "const user = await fetch(WHERE + 'user/1'); const posts = await fetch(WHERE + 'posts'); [user, posts]",
    )
    assert task.result == [{"path": "user/1"}, {"path": "posts"}]


def test_a_fan_out_of_100(drive, server):
    task = drive(
        "/json/", "(await Promise.all([...Array(100).keys()].map((i) => fetch(WHERE + i)))).map((each) => +each.path)"
    )
    assert task.result == list(range(100))
    assert sorted(path for _, path, _, _ in server.seen) == sorted(f"/json/{number}" for number in range(100))


@pytest.mark.parametrize(
    ("path", "attempts", "told"),
    [
        ("/hangs", 2, "no response within"),
        ("/drips", 2, "no response within"),
        ("/resets", 3, "(attempt 3)"),
        ("/half", 3, "(attempt 3)"),
        ("/status/500", 3, "status 500 Internal Server Error (attempt 3)"),
        ("/status/404", 1, "status 404 Not Found"),
        ("/redirect/100", 1, "more than 10 redirects"),
        ("/endless", 1, "more than 5242880 bytes"),
        ("/invalid-json", 1, "not the JSON that its content type promises"),
    ],
)
def test_what_fails_for_good_rejects_with_the_cause(drive, server, path, attempts, told):
    task = drive(path, attempts=attempts, timeout=1 if "endless" not in path else 30)
    assert task.result.startswith("TypeError: GET http://127.0.0.1:")
    assert told in task.result
    first = [seen for _, seen, _, _ in server.seen if seen == path]
    assert len(first) == attempts
    (exchange,) = task.drive.history
    assert exchange.attempts == attempts


def test_who_is_told_when_to_come_back_comes_back_then(drive, server):
    task = drive("/later/1")
    assert task.result == {"path": "in time"}
    first, second = server.seen_at["/later/1"]
    assert second - first >= 1


def test_a_wrong_charset_is_read_as_well_as_can_be(drive):
    assert drive("/charset").result == "Gr\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}e"


def test_a_response_that_is_cut_short_once_is_there_the_second_time(drive):
    task = drive("/half-once")
    assert task.result == {"path": "whole"}
    assert task.drive.history[0].attempts == 2


def test_a_policy_of_no_patience_is_kept(drive):
    task = drive("/hangs", attempts=1, timeout=0.2, duration=timedelta(days=1))
    assert "no response within 0.2 s" in task.result
