"""A document in few bytes, for storages that are paid for by size.

    offset  bytes
    0       1      1, the version of the dictionary below; the JSON of a document begins with "{" instead
    1       32     SHA-256 of the code; zeros: it is none, and the JSON has what stands in its place
    33             size of the JSON, LEB128
                   the JSON, zstd without a magic number, with that dictionary

A document of one pending request has 730 bytes of JSON, most of which are the same in each: 100 when packed. What
`Beside` has is left out, `codeSha256` as well, and `updatedAt` if it is one `ttl` before the expiry, as it mostly is.
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import zstandard

from sequential_core.checks import to_rfc3339
from sequential_core.dictionary import Dictionary
from sequential_core.errors import StorageFormatError

_VERSION = 1
_HASH_BYTES = 32
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SIZE = 1 + _HASH_BYTES
_MOST_SIZE_BYTES = 4  # 256 MiB, far above what a document may have

# Stays as it is: documents that are stored were compressed with it. Another one is another version.
_WORDS = (
    '"kind":"engine"cancelled"hop_limit"duration_limit"driver"result_not_json"result_limit"request_limit"'
    'pending_requests_limit"stack_limit"memory_limit"state_limit"cpu_limit","name":"LimitError","message":"the state '
    'has more than bytes"DeadlockError","message":"the code awaits what nothing can settle: no request or timer is '
    'pending"'
    '"RangeError"SyntaxError"ReferenceError"TypeError"AggregateError"TimeoutError"AbortError"'
    '"keptEvents":[{"name":"paid","value":{"ok":true}}],"drive":{"policy":{"answers":"response","attempts":3,'
    '"timeoutSeconds":10.0,"allowedHosts":["api.example.com"]},"dueAt":"2026-01-01T00:00:00.000000Z","claim":null,'
    '"retries":[],"startedAt":"2026-01-01T00:00:00.000000Z","hops":1,"shown":"eJ","history":[],"log":[]}'
    '"status":"completed","result":{"id":1,"name":"a"},"errorDetail":null,"fetchRequests":[],"timers":[],'
    '"pausedState":null,"logs":[{"level":"log","message":"a"},{"level":"error","message":"a"},{"level":"warn"'
    '"status":"error","result":null,"errorDetail":{"kind":"exception","name":"Error","message":"failed","line":1,'
    '"column":1,"stack":"at <anonymous> (task.js:1:1)\\nat async main (task.js:2:1)\\nat <eval> (task.js:3:1)"},'
    '"fetchRequests":[],"timers":[],"pausedState":null,"logs":[],"ttl":7200.0,"retain":86400.0,"language":"typescript"'
    '{"name":"n","status":"paused","result":null,"errorDetail":null,"fetchRequests":[],"toolCalls":[{"id":1,'
    '"kind":"tool","name":"search","args":{"query":"a","id":1,"text":"b"}}],"eventWaits":[{"id":2,"kind":"event",'
    '"name":"approved"}],"timers":[{"id":1,"kind":"timer","dueAt":"2026-01-01T00:00:00.000000Z"},{"id":2,"kind":"timer",'
    '"dueAt":"2026-01-01T00:00:00.000000Z"}],"pausedState":{"line":1,"column":1,"hops":1,"requests":1,"pending":[1,2],'
    '"stateBytes":1000,"timers":1,"wakeAt":"2026-01-01T00:00:00.000000Z"},"logs":[],'
    '"fetchRequests":[{"id":1,"kind":"fetch","url":"http://localhost/","method":"POST","headers":{"content-type":'
    '"application/json","authorization":"Bearer ","accept":"application/json"},"body":"{\\"id\\":1,\\"text\\":\\"a'
    '\\"}","bodyEncoding":null,"redirect":"follow"},{"id":2,"kind":"fetch","url":"https://hooks","method":"PUT","headers":'
    '{"content-type":"text/plain;charset=UTF-8","PATCH","DELETE","bodyEncoding":"base64","redirect":"manual"}'
    '{"name":null,"status":"paused","result":null,"errorDetail":null,"fetchRequests":[{"id":2,"kind":"fetch",'
    '"url":"https://www.example.org/api/v1/users?page=1","method":"GET","headers":{},"body":null,"bodyEncoding":null,'
    '"redirect":"follow"},{"id":3,"kind":"fetch","url":"https://api.github.com/","method":"GET","headers":{},'
    '"body":null,"bodyEncoding":null,"redirect":"follow"}],"timers":[],"pausedState":{"line":1,"column":20,"hops":2,'
    '"requests":2,"pending":[2],"stateBytes":600,"timers":0,"wakeAt":null},"logs":[],"updatedAt":"2026-01-01T00:00:00'
    '.000000Z","ttl":7200.0,"retain":null,"language":"javascript","taken":[[1,1,"0123456789abcdef"],[2,2,"'
    '"]],"positions":[[1,20]]}{"name":null,"status":"paused","result":null,"errorDetail":null,"fetchRequests":[{"id":1,'
    '"kind":"fetch","url":"https://api.","method":"GET","headers":{},"body":null,"bodyEncoding":null,'
    '"redirect":"follow"}],"timers":[],"pausedState":{"line":1,"column":20,"hops":1,"requests":1,"pending":[1],'
    '"stateBytes":500,"timers":0,"wakeAt":null},"logs":[],"updatedAt":"2026-","ttl":7200.0,"retain":null,'
    '"language":"javascript","codeSha256":"","taken":[],"positions":[[1,20]]}'
)


@functools.cache
def _dictionary() -> Dictionary:
    return Dictionary(_WORDS.encode("ascii"))


@dataclass(frozen=True, slots=True)
class Beside:
    """What a storage keeps of a task beside its document."""

    id: str
    revision: int
    created_at: datetime
    expires_at: datetime | None

    def fields(self) -> dict[str, Any]:
        """As the document has them."""
        expires = None if self.expires_at is None else to_rfc3339(self.expires_at)
        created = to_rfc3339(self.created_at)
        return {"id": self.id, "revision": self.revision, "createdAt": created, "expiresAt": expires}

    def usual_update(self, ttl_seconds: float) -> str | None:
        """When the task was updated if it expires one `ttl` later."""
        try:
            return None if self.expires_at is None else to_rfc3339(self.expires_at - timedelta(seconds=ttl_seconds))
        except OverflowError:  # before the year 1
            return None


def pack(document: dict[str, Any], beside: Beside) -> bytes:
    """The bytes of a document, without what is kept beside it."""
    left_out, sha256 = set(beside.fields()), bytes(_HASH_BYTES)
    if _SHA256.fullmatch(document["codeSha256"]):
        left_out.add("codeSha256")
        sha256 = bytes.fromhex(document["codeSha256"])
    if document["updatedAt"] == beside.usual_update(document["ttl"]):
        left_out.add("updatedAt")
    kept = {name: value for name, value in document.items() if name not in left_out}
    raw = json.dumps(kept, separators=(",", ":")).encode("ascii")
    size, number = bytearray(), len(raw)
    while number > 0x7F:
        size.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([_VERSION]) + sha256 + bytes([*size, number]) + _dictionary().compress(raw)


def unpack(content: bytes, beside: Beside) -> dict[str, Any]:
    """The document that `pack` made these bytes of.

    Raises:
        StorageFormatError: they are of a later version, or damaged.
    """
    if content[:1] != bytes([_VERSION]):
        raise StorageFormatError("it holds a document that this version cannot read")
    size, at = _size(content)
    try:
        # One byte more than there should be, so that a longer one is seen.
        raw = _dictionary().decompress(content[at:], size + 1)
        if len(raw) != size:
            raise StorageFormatError("it holds a document that is damaged")
        kept = json.loads(raw)
        usual = {"codeSha256": content[1:_SIZE].hex(), "updatedAt": beside.usual_update(kept["ttl"])}
        return {**usual, **kept, **beside.fields()}
    except (zstandard.ZstdError, MemoryError, ValueError, KeyError, TypeError) as error:
        raise StorageFormatError("it holds a document that is damaged") from error


def _size(content: bytes) -> tuple[int, int]:
    size = 0
    for place, byte in enumerate(content[_SIZE : _SIZE + _MOST_SIZE_BYTES]):
        size |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return size, _SIZE + place + 1
    raise StorageFormatError("it holds a document that is damaged")
