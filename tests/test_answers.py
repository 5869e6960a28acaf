from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sequential_core.answers import (
    MAX_JSON_DEPTH,
    UNSET,
    answer_digest,
    check_answer,
    make_answer,
    nested_too_deeply,
)
from sequential_core.errors import InvalidAnswerError
from sequential_core.pending import ErrorAnswer, NoAnswer, ResponseAnswer, ValueAnswer

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@pytest.mark.parametrize(
    ("given_", "answer"),
    [
        ({"fetch_response": 1}, ValueAnswer(1)),
        ({"fetch_response": None}, ValueAnswer(None)),
        ({"error": ""}, ErrorAnswer("")),
        ({"response": {}}, ResponseAnswer()),
        ({"response": ResponseAnswer(404)}, ResponseAnswer(404)),
        (
            {
                "response": {
                    "status": 404,
                    "statusText": "No",
                    "headers": {"a": "1"},
                    "body": "b",
                    "url": "u",
                    "redirected": True,
                }
            },
            ResponseAnswer(404, "No", {"a": "1"}, "b", "u", True),
        ),
        ({"response": {"body": None}}, ResponseAnswer(body=None)),
        ({"response": {"body": {"a": [1]}}}, ResponseAnswer(body='{"a":[1]}')),
        ({"response": {"body": 0}}, ResponseAnswer(body="0")),
        ({"response": {"body": "0"}}, ResponseAnswer(body="0")),
        ({"response": {"body": ""}}, ResponseAnswer(body="")),
    ],
)
def test_an_answer_is_given_in_one_of_three_ways(given_, answer):
    assert make_answer(**given_) == answer
    assert check_answer(answer, 1000) is answer


@pytest.mark.parametrize(
    ("given_", "named"),
    [
        ({"fetch_response": None, "error": "x"}, "fetchResponse, error"),
        ({"response": {}, "error": ""}, "response, error"),
        ({"fetch_response": 1, "response": {}, "error": ""}, "fetchResponse, response, error"),
    ],
)
def test_several_answers_at_once_are_refused(given_, named):
    with pytest.raises(InvalidAnswerError, match=named):
        make_answer(**given_)


@given(value=_json)
def test_every_json_value_is_an_answer(value):
    answer = ValueAnswer(value)
    assert check_answer(answer, 1 << 20) is answer
    assert answer_digest(answer) == answer_digest(ValueAnswer(json.loads(json.dumps(value))))


@given(one=_json, other=_json)
def test_answers_have_one_digest_if_their_json_is_one(one, other):
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (answer_digest(ValueAnswer(one)) == answer_digest(ValueAnswer(other))) is same


def test_answers_of_different_kinds_have_different_digests():
    answers = [
        ValueAnswer(None),
        ValueAnswer("x"),
        ValueAnswer({"message": "x"}),
        ErrorAnswer("x"),
        ResponseAnswer(),
        ResponseAnswer(body="x"),
        ResponseAnswer(status=201),
        ResponseAnswer(status_text="x"),
        ResponseAnswer(headers={"a": "x"}),
        ResponseAnswer(url="x"),
        ResponseAnswer(redirected=True),
    ]
    assert len({answer_digest(answer) for answer in answers}) == len(answers)


@pytest.mark.parametrize("value", ["x" * 98, [1] * 49 + [10], {"a": "x" * 92}, "é" * 16 + "xx"])
def test_size_is_that_of_the_json(value):
    size = len(json.dumps(value, separators=(",", ":")))
    assert check_answer(ValueAnswer(value), size)
    with pytest.raises(InvalidAnswerError, match=f"{size} bytes; the limit is {size - 1}"):
        check_answer(ValueAnswer(value), size - 1)


@pytest.mark.parametrize("status", [200, 204, 304, 404, 599])
def test_status_from_200_to_599(status):
    assert check_answer(ResponseAnswer(status), 1000)


@pytest.mark.parametrize(
    "headers", [{}, {"a": ""}, {"X-A_b.c!#$%&'*+^`|~9": "\t é\xff \x7f"}, {"Set-Cookie": "a=b; c"}]
)
def test_headers_of_the_fetch_standard(headers):
    assert check_answer(ResponseAnswer(headers=headers), 1000)


@pytest.mark.parametrize(
    "headers",
    [{"a:": "1"}, {"é": "1"}, {"a": "\x00"}, {"a": "\r"}, {"a": "Ā"}, {"a": None}, {"a": {}}, {1: "1"}, {"a b": ""}],
)
def test_headers_that_are_none(headers):
    with pytest.raises(InvalidAnswerError, match=r"response\.headers has an invalid"):
        check_answer(ResponseAnswer(headers=headers), 1000)


def _depth(value):
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0


@given(value=_json)
def test_depth_counts_brackets_and_not_those_in_strings(value):
    padding = MAX_JSON_DEPTH - _depth(value)
    text = json.dumps(value)
    assert not nested_too_deeply("[" * padding + text + "]" * padding)
    assert nested_too_deeply("[" * (padding + 1) + text + "]" * (padding + 1))


@pytest.mark.parametrize(
    "value", ["[" * 1000, '"' + "[{" * 1000, "\\" * 7 + '"[' * 1000, [[]] * 1000, {"[" * 600: "]\\"}, [{}, []] * 400]
)
def test_many_brackets_are_not_deep(value):
    assert not nested_too_deeply(json.dumps(value))


@pytest.mark.parametrize("body", [b"\xff\x00", bytearray(b"\xff\x00"), memoryview(b"\xff\x00")])
def test_a_body_of_bytes_becomes_base64(body):
    assert make_answer(response={"body": body}) == ResponseAnswer(body="/wA=", body_encoding="base64")


def test_a_body_of_bytes_is_in_no_other_encoding():
    with pytest.raises(InvalidAnswerError, match="the body is bytes"):
        make_answer(response={"body": b"x", "bodyEncoding": "base64"})


@pytest.mark.parametrize(
    ("response", "problem"),
    [
        ({"body": "no base64!", "bodyEncoding": "base64"}, "body is not base64"),
        ({"body": "/wA", "bodyEncoding": "base64"}, "body is not base64"),
        ({"body": "/w\u0100=", "bodyEncoding": "base64"}, "body is not base64"),
        ({"body": "x", "bodyEncoding": "gzip"}, "bodyEncoding must be"),
        ({"body": "x", "bodyEncoding": 1}, "bodyEncoding must be"),
        ({"headers": {"set-cookie": []}}, "invalid value"),
        ({"headers": {"set-cookie": ["a=1", 2]}}, "invalid value"),
        ({"headers": {"set-cookie": ["a=1", "b\n"]}}, "invalid value"),
        ({"headers": {"set-cookie": ("a=1",)}}, "invalid value"),
    ],
)
def test_a_response_whose_encoding_or_headers_are_wrong_is_refused(response, problem):
    with pytest.raises(InvalidAnswerError, match=problem):
        check_answer(make_answer(response=response), 1000)


def test_a_header_may_come_several_times():
    answer = make_answer(response={"headers": {"set-cookie": ["a=1", "b=2"]}})
    assert check_answer(answer, 1000) == ResponseAnswer(headers={"set-cookie": ["a=1", "b=2"]})


def test_no_answer_is_one_too():
    assert check_answer(make_answer(), 1) == check_answer(make_answer(UNSET), 1) == NoAnswer()
    assert answer_digest(NoAnswer()) != answer_digest(ValueAnswer(None))


def test_the_digest_of_an_answer_stays_what_it_was():
    # Of a task that it stored: a repetition of that answer is still known as one.
    assert answer_digest(ResponseAnswer(404, "No", {"a": "1"}, "b")) == "403c44e4e73d70d0"
