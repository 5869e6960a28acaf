"""Signatures: of callbacks, so that their receiver knows who calls; of URLs that let their holder send one event.

Tokens are HMAC-SHA256 with the installation's signing key. Callbacks are signed with another key, which comes of it:
whoever receives them has that one, and must not be able to make tokens.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sequential_core.checks import from_rfc3339, to_rfc3339
from sequential_core.errors import InvalidEventTokenError
from sequential_core.model import Task

#: Shorter keys are refused: as long as what SHA-256 gives (RFC 2104, section 3).
LEAST_KEY_BYTES = 32

_EVENT = b"sequential event 1\n"
_CALLBACKS = b"sequential callbacks 1\n"
_DIGEST_BYTES = 16

# A longer token is none of ours: an id of 256 characters, of four bytes each, a name of 128, and the rest.
_MOST_CHARACTERS = 3000


@dataclass(frozen=True, slots=True)
class EventToken:
    """What the holder of a token may do: send this event to this task, until then.

    Attributes:
        created_at: of the task, so that a later one with its id is another.
    """

    task_id: str
    created_at: datetime
    name: str
    expires_at: datetime


def callback_key(signing_key: bytes) -> bytes:
    """The key of callbacks, which their receivers are given: a digest, from which no way leads back."""
    return hmac.digest(signing_key, _CALLBACKS, hashlib.sha256)


def webhook_headers(key: bytes, message_id: str, body: bytes, now: datetime) -> dict[str, str]:
    """The headers of a callback, signed as Standard Webhooks has it (standardwebhooks.com, "Signature scheme").

    Args:
        key: the `callback_key`.
        message_id: the same in all attempts.
        body: what is sent.
        now: the present.
    """
    timestamp = str(int(now.timestamp()))
    signed = hmac.digest(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{base64.b64encode(signed).decode()}",
    }


def event_token(key: bytes, task: Task, name: str, expires_at: datetime) -> str:
    """A token for `open_event_token`: base64url without padding, to stand in a URL."""
    content = [task.id, to_rfc3339(task.created_at), name, to_rfc3339(expires_at)]
    data = json.dumps(content, separators=(",", ":")).encode()
    return _text(_seal(key, data) + data)


def open_event_token(key: bytes, token: str, now: datetime) -> EventToken:
    """What a token lets its holder do.

    Raises:
        InvalidEventTokenError: it is not one of ours, or has expired.
    """
    try:
        if len(token) > _MOST_CHARACTERS:
            raise InvalidEventTokenError
        sealed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        raise InvalidEventTokenError from None
    if token != _text(sealed):
        raise InvalidEventTokenError  # the last character has bits that mean nothing: another text for the same bytes
    seal, data = sealed[:_DIGEST_BYTES], sealed[_DIGEST_BYTES:]
    if not hmac.compare_digest(seal, _seal(key, data)):
        raise InvalidEventTokenError
    content: Any = json.loads(data)
    task_id, created_at, name, expires_at = content
    opened = EventToken(task_id, from_rfc3339(created_at), name, from_rfc3339(expires_at))
    if opened.expires_at <= now:
        raise InvalidEventTokenError
    return opened


def _text(sealed: bytes) -> str:
    return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()


def _seal(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, _EVENT + data, hashlib.sha256)[:_DIGEST_BYTES]
