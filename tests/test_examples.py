"""The programs of `examples/`: what they ask for and what they give, however they are cut."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from sequential_core.pending import ErrorAnswer
from sequential_core.testing import NEVER, NOW, After, Answers, Run, in_turn, response, run_program

EXAMPLES = Path(__file__).parents[1] / "examples"
API = "https://api.example.com"

WAYS = {
    "uncut": {"one_machine": True},
    "cut at every pause": {},
    "cut everywhere": {"pause_everywhere": True},
}


@pytest.fixture(params=WAYS)
def way(request):
    return WAYS[request.param]


def run(example: str, table: dict[str, object], way: dict[str, bool], **options: object) -> Run:
    return run_program((EXAMPLES / example).read_text(), Answers(table), **way, **options)


def test_paging(way):
    first, second, third = (f"{API}/issues?per_page=2{more}" for more in ("", "&page=2", "&page=3"))
    table = {
        first: response(
            [{"title": "one"}, {"title": "two"}],
            url=first,
            headers={"Link": f'<{third}>; rel="last", <{second}>; rel="next"'},
        ),
        # A relative reference, and a comma in it.
        second: response([{"title": "three"}, {"title": "four"}], url=second, headers={"Link": "</a,b>; rel=next"}),
        f"{API}/a,b": response([{"title": "five"}], url=f"{API}/a,b", headers={"Link": f'<{first}>; rel="first"'}),
    }
    done = run("paging.js", table, way)
    assert done.result == ["one", "two", "three", "four", "five"]
    assert done.urls == (first, second, f"{API}/a,b")
    assert {request.headers["accept"] for request in done.requests} == {"application/json"}


def test_paging_stops_at_an_error(way):
    error = run("paging.js", {f"{API}/*": response("", status=500)}, way).error
    assert str(error) == f"Error: {API}/issues?per_page=2 answered 500"


def test_retry_waits_as_long_as_it_is_told(way):
    busy = response("", status=429, headers={"Retry-After": "3600"})
    done = run("retry.js", {f"{API}/report": in_turn(busy, busy, response({"total": 5}))}, way)
    assert done.result == 5
    assert done.elapsed == timedelta(hours=2)
    assert [entry.message for entry in done.logs] == ["attempt 1: 429", "attempt 2: 429"]


def test_retry_backs_off_with_jitter(way):
    failures = (ErrorAnswer("reset"), response("", status=503), ErrorAnswer("reset"))
    done = run("retry.js", {f"{API}/report": in_turn(*failures, response({"total": 5}))}, way)
    assert done.result == 5
    assert timedelta(0) < done.elapsed < timedelta(seconds=2 + 4 + 8)
    assert [entry.message for entry in done.logs] == ["attempt 1: reset", "attempt 2: 503", "attempt 3: reset"]


def test_retry_gives_up_what_takes_too_long_and_after_five_attempts(way):
    done = run("retry.js", {f"{API}/report": After(31, response({"total": 5}))}, way)
    assert str(done.error) == "Error: gave up after 5 attempts"
    assert len(done.requests) == 5
    assert done.elapsed > timedelta(seconds=5 * 30)


def test_oauth(way):
    table = {
        "POST https://auth.example.com/token": response({"access_token": "t-1", "token_type": "Bearer"}),
        f"{API}/v1/me": response({"name": "Alice"}),
        f"{API}/v1/reports?year=2030": response([{"id": 7}, {"id": 8}]),
    }
    done = run("oauth.js", table, way)
    assert done.result == {"owner": "Alice", "reports": [7, 8]}
    token, *calls = done.requests
    credentials = base64.b64decode(token.headers["authorization"].removeprefix("Basic ")).decode()
    assert credentials == "reporting:correct horse battery staple"
    assert token.headers["content-type"] == "application/x-www-form-urlencoded;charset=UTF-8"
    assert parse_qs(token.body) == {"grant_type": ["client_credentials"], "scope": ["reports:read"]}
    assert [call.headers["authorization"] for call in calls] == ["Bearer t-1"] * 2


def test_oauth_gets_a_new_token_for_one_that_has_expired(way):
    tokens = (response({"access_token": "old"}), response({"access_token": "new"}))

    def me(request):
        fresh = request.headers["authorization"] == "Bearer new"
        return response({"name": "Alice"}) if fresh else response("", status=401)

    table = {
        "POST https://auth.example.com/token": in_turn(*tokens),
        f"{API}/v1/me": me,
        f"{API}/v1/reports?year=2030": response([]),
    }
    assert run("oauth.js", table, way).result == {"owner": "Alice", "reports": []}


def test_oauth_says_why_there_is_no_token(way):
    refusal = response({"error": "invalid_client", "error_description": "unknown client"}, status=401)
    error = run("oauth.js", {"POST https://auth.example.com/token": refusal}, way).error
    assert str(error) == "Error: no token: unknown client"


def test_graphql(way):
    def page(request):
        sent = json.loads(request.body)
        assert sent["query"].lstrip().startswith("query Repositories(")
        assert sent["variables"]["owner"] == "example"
        pages = {None: ([("a", 1), ("b", 5)], "c-2"), "c-2": ([("c", 3)], None)}
        nodes, cursor = pages[sent["variables"]["after"]]
        info = {"hasNextPage": cursor is not None, "endCursor": cursor}
        found = {"nodes": [{"name": name, "stars": stars} for name, stars in nodes], "pageInfo": info}
        return response({"data": {"owner": {"repositories": found}}})

    done = run("graphql.js", {f"POST {API}/graphql": page}, way)
    assert done.result == ["b: 5", "c: 3", "a: 1"]
    assert [request.headers["content-type"] for request in done.requests] == ["application/json"] * 2


def test_graphql_throws_the_errors_of_an_answer(way):
    table = {f"POST {API}/graphql": response({"data": None, "errors": [{"message": "no such owner"}]})}
    assert str(run("graphql.js", table, way).error) == "AggregateError: the query failed"


def signature(time: int, body: str) -> str:
    digest = hmac.new(b"whsec_correct horse battery staple", f"{time}.{body}".encode(), hashlib.sha256)
    return f"t={time},v1={digest.hexdigest()}"


def test_webhook(way):
    answer = '{"received": true}'
    table = {
        "POST https://shop.example.com/hooks": response(answer, headers={"Webhook-Signature": signature(5, answer)})
    }
    done = run("webhook.js", table, way)
    assert done.result is True
    (request,) = done.requests
    assert json.loads(request.body)["event"] == "order.paid"
    assert request.headers["webhook-signature"] == signature(int(NOW.timestamp()), request.body)


@pytest.mark.parametrize("header", [{}, {"Webhook-Signature": "t=5"}, {"Webhook-Signature": signature(5, "other")}])
def test_webhook_trusts_no_answer_that_is_not_signed(way, header):
    table = {"POST https://shop.example.com/hooks": response('{"received": true}', headers=header)}
    assert str(run("webhook.js", table, way).error) == "Error: the answer is not signed"


def test_csv(way):
    file = 'name,note\r\nAlice,"says ""hi"",\r\ntwice"\r\nBob,\r\n"Zoë 😀",last'
    table = {
        "https://files.example.com/people.csv": response(file.encode(), headers={"Content-Type": "text/csv"}),
        f"POST {API}/people": response("", status=201),
    }
    done = run("csv.js", table, way)
    assert done.result == {"saved": 3}
    assert [json.loads(request.body) for request in done.requests[1:]] == [
        [{"name": "Alice", "note": 'says "hi",\r\ntwice'}, {"name": "Bob", "note": ""}],
        [{"name": "Zoë 😀", "note": "last"}],
    ]


@pytest.mark.parametrize("seed", [None, 1, 2])
def test_fan_out_asks_for_five_at_a_time_in_whatever_order_they_are_answered(way, seed):
    def price(request):
        number = int(request.url.rpartition("%20")[2])
        return response("", status=404) if number == 3 else After(60 - number, response({"cents": number}))

    done = run("fan-out.js", {f"{API}/prices/*": price}, way, seed=seed)
    assert done.result == {"total": sum(range(12)) - 3, "failed": ["product 3: 404"]}
    assert sorted(done.urls) == sorted(f"{API}/prices/product%20{number}" for number in range(12))
    # Eleven take about a minute each, five at a time.
    assert timedelta(seconds=100) < done.elapsed < timedelta(seconds=181)


def test_every_example_is_tested():
    text = Path(__file__).read_text()
    assert all(f'"{path.name}"' in text for path in EXAMPLES.glob("*.js"))


def approval(way, *events):
    table = {
        f"{API}/invoices/7": response({"id": 7, "amount": 42, "approver": "alice@example.com"}),
        "https://mail.example.com/send": response({}),
        f"{API}/payments": response({}),
    }
    answers = Answers(
        table,
        tools={"sequential.eventUrl": lambda args: f"https://sequential.example.com/events/{args['name']}"},
        events={"approved": in_turn(*events)},
    )
    return run_program((EXAMPLES / "approval.js").read_text(), answers, **way)


def test_approval_pays_when_the_link_was_followed(way):
    done = approval(way, {"ok": True, "by": "Alice"})
    assert done.result == {"invoice": 7, "paid": True, "by": "Alice"}
    mail, payment = (json.loads(request.body) for request in done.requests[1:])
    assert mail["link"] == "https://sequential.example.com/events/approved"
    assert payment == {"invoice": 7}


def test_approval_reminds_once_a_day_and_pays_nothing_without_an_answer(way):
    done = approval(way, NEVER, NEVER, NEVER)
    assert done.result == {"invoice": 7, "paid": False, "by": None}
    assert [json.loads(request.body)["subject"] for request in done.requests[1:]] == [
        "Approve 42 EUR?",
        "Day 1: still waiting",
        "Day 2: still waiting",
    ]
    assert done.elapsed == timedelta(days=3)


def test_approval_on_the_second_day(way):
    done = approval(way, NEVER, {"ok": False, "by": "Bob"})
    assert done.result == {"invoice": 7, "paid": False, "by": "Bob"}
    assert len(done.requests) == 3
