"""Answers from outside: checked whole, before a program sees anything of them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from enum import Enum
from typing import Any

from sequential_core.errors import InvalidAnswerError
from sequential_core.pending import (
    BASE64,
    Answer,
    ErrorAnswer,
    NoAnswer,
    Pending,
    RequestKind,
    ResponseAnswer,
    ValueAnswer,
)

#: JSON that is nested deeper than this is refused: parsers recurse, here and in the guest.
MAX_JSON_DEPTH = 500


class Unset(Enum):
    """Tells a parameter that was left out from one that is None, which is JSON's null."""

    UNSET = "unset"


UNSET = Unset.UNSET

# RFC 9110, section 5.6.2 and 5.5, as the Fetch standard narrows them.
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_HEADER_VALUE = re.compile(r"[^\x00\r\n]*")

_RESPONSE_FIELDS = {
    "status": "status",
    "statusText": "status_text",
    "headers": "headers",
    "body": "body",
    "bodyEncoding": "body_encoding",
    "url": "url",
    "redirected": "redirected",
}


def make_answer(
    fetch_response: Any = UNSET, response: Mapping[str, Any] | ResponseAnswer | None = None, error: str | None = None
) -> Answer | NoAnswer:
    """The answer that a caller gave in one of three ways, or in none, not yet checked by `check_answer`.

    Raises:
        InvalidAnswerError: it was given in several ways, or is no response.
    """
    given = [
        name
        for name, there in (
            ("fetchResponse", fetch_response is not UNSET),
            ("response", response is not None),
            ("error", error is not None),
        )
        if there
    ]
    if not given:
        return NoAnswer()
    if len(given) > 1:
        kinds = ", ".join(given)
        raise InvalidAnswerError(
            f"one of fetchResponse, response and error is needed, not several kinds at once: {kinds}"
        )
    if response is not None:
        return response if isinstance(response, ResponseAnswer) else _response(response)
    if error is not None:
        return ErrorAnswer(error)
    return ValueAnswer(fetch_response)


def _response(given: object) -> ResponseAnswer:
    if not isinstance(given, Mapping):
        raise InvalidAnswerError(f"response must be an object, not {type(given).__name__}")
    unknown = sorted(str(name) for name in given if name not in _RESPONSE_FIELDS)
    if unknown:
        raise InvalidAnswerError(f"response has unknown fields: {', '.join(unknown)[:200]}")
    fields = {_RESPONSE_FIELDS[name]: value for name, value in given.items()}
    body = fields.get("body")
    if isinstance(body, (bytes, bytearray, memoryview)):
        if fields.get("body_encoding") is not None:
            raise InvalidAnswerError("response.bodyEncoding says what a body of text is, and the body is bytes")
        fields.update(body=base64.b64encode(body).decode(), body_encoding=BASE64)
    elif body is not None and not isinstance(body, str):
        fields["body"] = _to_json(body)  # what was meant is plain
    if isinstance(fields.get("headers"), Mapping):
        fields["headers"] = dict(fields["headers"])
    return ResponseAnswer(**fields)


def check_answer(answer: Answer | NoAnswer, limit_bytes: int) -> Answer | NoAnswer:
    """The answer, if a program can take it.

    Raises:
        InvalidAnswerError: it is not JSON, nested too deeply, too large, or no response.
    """
    match answer:
        case ValueAnswer(value):
            size = len(_to_json(value))
        case ResponseAnswer():
            _check_response(answer)
            size = len(_to_json(asdict(answer)))
        case ErrorAnswer(message):
            if not isinstance(message, str):
                raise InvalidAnswerError(f"error must be a string, not {type(message).__name__}")
            size = len(_to_json(message))
        case NoAnswer():
            size = 0
    if size > limit_bytes:
        raise InvalidAnswerError(f"it has {size} bytes; the limit is {limit_bytes}")
    return answer


def check_answer_kind(answer: Answer | NoAnswer, request: Pending) -> None:
    """Raises InvalidAnswerError if no request of that kind takes such an answer."""
    if isinstance(answer, ResponseAnswer) and request.kind is not RequestKind.FETCH:
        raise InvalidAnswerError(f"only fetch takes a response, and request {request.id} is of kind {request.kind}")
    if isinstance(answer, ErrorAnswer) and request.kind is RequestKind.EVENT:
        raise InvalidAnswerError(f"an event has a value and never an error, and request {request.id} waits for one")


def _check_response(answer: ResponseAnswer) -> None:
    def expect(condition: bool, problem: str) -> None:
        if not condition:
            raise InvalidAnswerError(f"response.{problem}")

    status = answer.status
    whole = isinstance(status, int) and not isinstance(status, bool)
    expect(whole and 200 <= status <= 599, "status must be a number from 200 to 599")
    expect(isinstance(answer.status_text, str), "statusText must be a string")
    expect(isinstance(answer.url, str), "url must be a string")
    expect(isinstance(answer.redirected, bool), "redirected must be true or false")
    expect(answer.body is None or isinstance(answer.body, str), "body must be a string or null")
    expect(answer.body_encoding in (None, BASE64), "bodyEncoding must be null or base64")
    if answer.body_encoding == BASE64:
        expect(answer.body is None or _is_base64(answer.body), "body is not base64")
    expect(isinstance(answer.headers, Mapping), "headers must be an object")
    for name, value in answer.headers.items():
        expect(isinstance(name, str) and _TOKEN.fullmatch(name) is not None, "headers has an invalid name")
        values = value if isinstance(value, list) else [value]
        expect(bool(values) and all(_is_header_value(each) for each in values), "headers has an invalid value")


def _is_header_value(value: object) -> bool:
    return isinstance(value, str) and _HEADER_VALUE.fullmatch(value) is not None and max(value, default="") <= "ÿ"


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return False
    return True


def answer_digest(answer: Answer | NoAnswer) -> str:
    """What two equal answers, which were checked, have in common: eight bytes of SHA-256, in hexadecimal."""
    value = answer.value if isinstance(answer, ValueAnswer) else asdict(answer)
    if isinstance(answer, ResponseAnswer) and answer.body_encoding is None:
        del value["body_encoding"]  # earlier versions had none, and tasks remember their digests
    # Through JSON and back, all keys are strings, and can be sorted.
    text = json.dumps([type(answer).__name__, json.loads(json.dumps(value))], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _to_json(value: Any) -> str:
    try:
        text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    except RecursionError:
        raise InvalidAnswerError("it is nested too deeply") from None
    except (TypeError, ValueError) as error:
        raise InvalidAnswerError(f"it is not JSON: {error}") from None
    if nested_too_deeply(text):
        raise InvalidAnswerError("it is nested too deeply")
    return text


def nested_too_deeply(text: str, limit: int = MAX_JSON_DEPTH) -> bool:
    """Whether JSON text is nested deeper than so many levels."""
    if text.count("[") + text.count("{") <= limit:
        return False
    depth = 0
    for match in _BRACKET_OR_STRING.finditer(text):
        mark = match.group()[0]
        if mark in "[{":
            depth += 1
            if depth > limit:
                return True
        elif mark in "]}":
            depth -= 1
    return False


# Possessive: a long string must not leave a place to come back to for each of its characters.
_BRACKET_OR_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+"|[\[\]{}]', re.DOTALL)
