"""Signatures of callbacks, and tokens that let their holder send one event."""

from __future__ import annotations

import base64
import hashlib
import hmac
import string
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sequential_core import MemoryStorage, create_flow
from sequential_core.driver.signing import callback_key, event_token, open_event_token, webhook_headers
from sequential_core.errors import InvalidEventTokenError

KEY = bytes(range(32))
NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


@pytest.fixture(scope="module")
def task():
    flow = create_flow(MemoryStorage(), clock=lambda: NOW)
    return flow.execute("await waitForEvent('paid')", id="order/ü")


def test_a_token_says_what_its_holder_may_do(task):
    opened = open_event_token(KEY, event_token(KEY, task, "paid", LATER), NOW)
    assert (opened.task_id, opened.created_at, opened.name, opened.expires_at) == ("order/ü", NOW, "paid", LATER)


def test_a_token_stands_in_a_url_as_it_is(task):
    assert set(event_token(KEY, task, "paid", LATER)) <= set(string.ascii_letters + string.digits + "-_")


def test_a_token_is_good_until_it_expires_and_not_at_that_instant(task):
    token = event_token(KEY, task, "paid", LATER)
    open_event_token(KEY, token, LATER - timedelta(microseconds=1))
    with pytest.raises(InvalidEventTokenError):
        open_event_token(KEY, token, LATER)


def test_a_token_that_was_altered_anywhere_is_none(task):
    token = event_token(KEY, task, "paid", LATER)
    for place in range(len(token)):
        for other in "A", "b", "-":
            altered = token[:place] + other + token[place + 1 :]
            if altered != token:
                with pytest.raises(InvalidEventTokenError):
                    open_event_token(KEY, altered, NOW)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_no_other_text_is_the_same_token(task, length):
    """The last character of base64 may have bits that mean nothing; a token that counts once must have one text."""
    token = event_token(KEY, task, "e" * length, LATER)
    for last in string.ascii_letters + string.digits + "-_":
        if last != token[-1]:
            with pytest.raises(InvalidEventTokenError):
                open_event_token(KEY, token[:-1] + last, NOW)
    for longer in (f"{token}=", f"{token}==", f" {token}", f"{token}\n"):
        with pytest.raises(InvalidEventTokenError):
            open_event_token(KEY, longer, NOW)


@pytest.mark.parametrize("token", ["", "A", "ü", "AAAA" * 8, "=" * 40, "A" * 4000, "\0", "%2F", "\ud800"])
def test_what_is_no_token_is_refused(token):
    with pytest.raises(InvalidEventTokenError):
        open_event_token(KEY, token, NOW)


def test_a_token_of_another_key_is_none(task):
    with pytest.raises(InvalidEventTokenError):
        open_event_token(bytes(32), event_token(KEY, task, "paid", LATER), NOW)


def test_tokens_differ_by_task_name_and_expiry(task):
    made_again = replace(task, created_at=NOW + timedelta(microseconds=1))
    tokens = {
        event_token(KEY, task, "paid", LATER),
        event_token(KEY, task, "paid", LATER + timedelta(microseconds=1)),
        event_token(KEY, task, "sent", LATER),
        event_token(KEY, made_again, "paid", LATER),
    }
    assert len(tokens) == 4


def test_a_callback_is_signed_as_standard_webhooks_says():
    """The signature of the specification's own description: HMAC-SHA256 of id, timestamp and body, with points."""
    headers = webhook_headers(KEY, "msg_1", b'{"a":1}', NOW)
    expected = hmac.new(KEY, f"msg_1.{int(NOW.timestamp())}.".encode() + b'{"a":1}', hashlib.sha256).digest()
    assert headers == {
        "webhook-id": "msg_1",
        "webhook-timestamp": "1767323045",
        "webhook-signature": "v1," + base64.b64encode(expected).decode(),
    }


def test_the_signature_of_a_callback_is_no_token(task):
    data = base64.urlsafe_b64decode(event_token(KEY, task, "paid", LATER) + "==")[16:]
    signature = webhook_headers(KEY, "", data, NOW)["webhook-signature"].partition(",")[2]
    forged = base64.urlsafe_b64encode(base64.b64decode(signature)[:16] + data).rstrip(b"=").decode()
    with pytest.raises(InvalidEventTokenError):
        open_event_token(KEY, forged, NOW)


def test_who_receives_callbacks_cannot_make_tokens(task):
    key = callback_key(KEY)
    assert len(key) == 32
    with pytest.raises(InvalidEventTokenError):
        open_event_token(KEY, event_token(key, task, "paid", LATER), NOW)
