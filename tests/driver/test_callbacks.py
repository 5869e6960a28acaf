"""Who is told the outcome of a driven task: once, signed, and again until somebody takes it."""

import base64
import hashlib
import hmac
import json
from datetime import timedelta

import httpx
import pytest
from driver.programs import Driven, in_turn, reply

from sequential_core.driver import Driver, Ended, Fetcher, Waiting
from sequential_core.driver.signing import callback_key
from sequential_core.errors import InvalidRequestError

KEY = b"k" * 32
URL = "https://callback.test/done?of=me"


def told(driven):
    return [request for request in driven.site.seen if request.url.host == "callback.test"]


def test_the_outcome_is_posted_once_and_signed():
    driven = Driven(in_turn(reply({"id": 7}), reply()), signing_key=KEY)
    task = driven.run("(await fetch('https://api.test/')).id", callback_url=URL)
    (request,) = told(driven)
    assert (request.method, str(request.url)) == ("POST", URL)
    body = json.loads(request.content)
    assert (body["id"], body["status"], body["result"]) == (task.id, "completed", 7)
    assert "vmState" not in body
    signed = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + request.content
    expected = base64.b64encode(hmac.new(callback_key(KEY), signed, hashlib.sha256).digest()).decode()
    assert request.headers["webhook-signature"] == f"v1,{expected}"
    assert task.drive.callback.delivered_at == driven.clock()
    assert task.drive.due_at is None
    assert isinstance(driven.driver.drive(task.id), Ended)
    assert len(told(driven)) == 1


@pytest.mark.parametrize(
    "code", ["throw new RangeError('bad')", "setInterval(() => 0, 1000)", "await waitForEvent('never')"]
)
def test_an_outcome_that_is_an_error_is_told_too(code):
    driven = Driven(signing_key=KEY)
    driven.run(code, {"hops": 3, "duration": 3600}, callback_url=URL)
    assert [json.loads(request.content)["status"] for request in told(driven)] == ["error"]


def test_a_task_that_is_cancelled_is_told_by_the_next_driver():
    driven = Driven(signing_key=KEY)
    task = driven.flow.execute("await sleep(3600e3)", drive=True, callback_url=URL)
    driven.flow.cancel_task(task.id)
    assert driven.storage.due(driven.clock()) == (task.id,)
    driven.driver.drive(task.id)
    assert [json.loads(request.content)["errorDetail"]["kind"] for request in told(driven)] == ["cancelled"]
    assert driven.storage.due(driven.clock()) == ()


def test_what_nobody_takes_is_tried_seven_times_with_one_id_and_then_no_more():
    driven = Driven(in_turn(reply(status=500)), signing_key=KEY)
    began = driven.clock()
    task = driven.run("1", callback_url=URL)
    assert len(told(driven)) == 7
    assert len({request.headers["webhook-id"] for request in told(driven)}) == 1
    assert driven.clock() - began == timedelta(hours=8, minutes=36, seconds=5)
    assert task.drive.callback.delivered_at is None
    assert "status 500" in task.drive.callback.problem
    assert task.drive.due_at is None


def test_a_receiver_that_comes_back_is_told():
    driven = Driven(in_turn(httpx.ConnectError("down"), reply(status=503), reply(status=204)), signing_key=KEY)
    task = driven.run("1", callback_url=URL)
    assert (len(told(driven)), task.drive.callback.attempts, task.drive.callback.problem) == (3, 3, None)


def test_nobody_is_told_any_more_once_the_outcome_is_gone():
    driven = Driven(in_turn(reply(status=500)), signing_key=KEY)
    driven.run("1", callback_url=URL, retain=60)
    assert len(told(driven)) == 2, "at once and after five seconds; a minute later there is no task"


def test_a_redirect_is_not_followed_with_the_outcome():
    driven = Driven(lambda _: httpx.Response(307, headers={"location": "https://else.test/"}), signing_key=KEY)
    driven.run("1", callback_url=URL)
    assert {request.url.host for request in driven.site.seen} == {"callback.test"}


def test_a_callback_to_this_machine_is_refused():
    driven = Driven()
    driver = Driver(driven.flow, fetcher=Fetcher(), signing_key=KEY)
    task = driven.flow.execute("1", drive=True, callback_url="http://169.254.169.254/latest")
    assert isinstance(driver.drive(task.id), Waiting)
    callback = driven.flow.get_task(task.id).drive.callback
    assert callback.delivered_at is None
    assert "169.254" not in callback.problem.partition(": ")[2]


def test_without_a_key_nothing_is_told_and_the_task_says_why():
    driven = Driven()
    task = driven.run("1", callback_url=URL)
    assert told(driven) == []
    assert task.drive.callback.problem == "the installation has no signing key"


@pytest.mark.parametrize("url", ["/relative", "ftp://a.test/", "https://a.test/ b", "https://é.test/", 7])
def test_what_is_no_url_is_refused_at_once(url):
    driven = Driven()
    with pytest.raises(InvalidRequestError):
        driven.flow.execute("1", drive=True, callback_url=url)
    with pytest.raises(InvalidRequestError):
        driven.flow.execute("1", callback_url=URL)
