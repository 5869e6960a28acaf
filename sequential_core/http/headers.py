"""The header fields and the query of a request, read strictly: what is malformed is refused, never guessed at."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import parse_qsl

from starlette.datastructures import Headers

from sequential_core.checks import MAX_IDEMPOTENCY_KEY_LENGTH
from sequential_core.errors import InvalidRequestError
from sequential_core.http.problems import MediaTypeError

# RFC 6839, section 3.1: a subtype that ends in +json is JSON. The characters are those of RFC 9110, section 5.6.2.
_JSON = re.compile(r"application/(?:[!#$%&'*+\-.^_`|~0-9a-z]+\+)?json")


def check_json(headers: Headers) -> None:
    """Lets pass only a body that is said to be JSON in UTF-8, not compressed.

    That a body must be said to be JSON is also what keeps a foreign page from posting one: a browser asks us first
    (Fetch standard, CORS-preflight), and we do not allow it.

    Raises:
        MediaTypeError: it is not.
    """
    kinds = headers.getlist("content-type")
    if len(kinds) != 1:
        raise MediaTypeError("one Content-Type is needed: application/json")
    kind, *parameters = (part.strip(" \t").lower() for part in kinds[0].split(";"))
    if _JSON.fullmatch(kind) is None:
        raise MediaTypeError("the Content-Type must be application/json")
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "charset" and value.strip('"') not in ("utf-8", "utf8"):
            raise MediaTypeError("the charset must be utf-8")
    if any(coding.strip(" \t").lower() not in ("", "identity") for coding in headers.getlist("content-encoding")):
        raise MediaTypeError("the body must not be compressed")


# draft-ietf-httpapi-idempotency-key-header: a string of RFC 8941, in quotes. Many clients send a UUID as it is. A comma
# may join two header fields, so that it is allowed in quotes only.
_BARE_KEY = re.compile(r"[!#-+\--~]+")
_QUOTED_KEY = re.compile(r'"((?:[!#-\[\]-~]|\\["\\])+)"')
_MAX_KEY = MAX_IDEMPOTENCY_KEY_LENGTH

#: The same in JSON Schema.
KEY_PATTERN = rf'^(?:[!#-+\x2d-~]{{1,{_MAX_KEY}}}|"(?:[!#-\[\]-~]|\\["\\]){{1,{_MAX_KEY}}}")$'


def idempotency_key(headers: Headers) -> str | None:
    """The key that came with the request, or None.

    Raises:
        InvalidRequestError: it is not one, or there are several.
    """
    given = headers.getlist("idempotency-key")
    if not given:
        return None
    text = given[0].strip(" \t")
    key = text if _BARE_KEY.fullmatch(text) else None
    if quoted := _QUOTED_KEY.fullmatch(text):
        key = re.sub(r"\\(.)", r"\1", quoted[1])
    if key is None or len(given) > 1 or len(key) > _MAX_KEY:
        problem = f"it must be one string of 1 to {_MAX_KEY} visible ASCII characters, in quotes or not"
        raise InvalidRequestError("Idempotency-Key", problem)
    return key


# --- Preconditions ---------------------------------------------------------------------------------

# RFC 9110, section 8.8.3.
_ENTITY_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"[ \t]*(?:,|$)')
_BETWEEN = re.compile(r"[ \t,]*")
_REVISION = re.compile(r"[1-9][0-9]{0,15}")


def entity_tag(revision: int) -> str:
    """The entity tag of a task at a revision. It is strong: the representation changes only with the revision."""
    return f'"{revision}"'


@dataclass(frozen=True, slots=True)
class EntityTags:
    """What If-Match or If-None-Match has.

    Attributes:
        anything: it is `*`.
        strong, weak: the revisions that the tags name. A tag of another form is none of ours, and names nothing.
    """

    anything: bool
    strong: frozenset[int]
    weak: frozenset[int]

    def match(self, revision: int) -> bool:
        """By the strong comparison, as If-Match has it: a weak tag never matches."""
        return self.anything or revision in self.strong

    def match_weakly(self, revision: int) -> bool:
        """By the weak comparison, as If-None-Match has it."""
        return self.anything or revision in self.strong | self.weak


def entity_tags(headers: Headers, name: str) -> EntityTags | None:
    """The entity tags of a header field, or None if it is not there.

    Raises:
        InvalidRequestError: it is malformed.
    """
    given = headers.getlist(name)
    if not given:
        return None
    text = ",".join(given).strip(" \t")
    if text == "*":
        return EntityTags(anything=True, strong=frozenset(), weak=frozenset())
    found: list[tuple[str | None, str]] = []
    position = _BETWEEN.match(text).end()  # type: ignore[union-attr]  # it matches nothing too
    while position < len(text):
        tag = _ENTITY_TAG.match(text, position)
        if tag is None:
            break
        found.append((tag[1], tag[2]))
        position = _BETWEEN.match(text, tag.end()).end()  # type: ignore[union-attr]  # likewise
    if not found or position < len(text):
        raise InvalidRequestError(name, 'it must be * or entity tags such as "3"')
    ours = [(weak, int(opaque)) for weak, opaque in found if _REVISION.fullmatch(opaque)]
    return EntityTags(
        anything=False,
        strong=frozenset(revision for weak, revision in ours if not weak),
        weak=frozenset(revision for weak, revision in ours if weak),
    )


# --- The query -------------------------------------------------------------------------------------


def query(text: bytes, known: Collection[str]) -> dict[str, str]:
    """The parameters of a query.

    Raises:
        InvalidRequestError: one is not known, or comes twice, or is not UTF-8.
    """
    try:
        pairs = parse_qsl(text.decode("ascii"), keep_blank_values=True, errors="strict")
    except ValueError:
        raise InvalidRequestError("query", "it is malformed") from None
    unknown = sorted({name for name, _ in pairs} - set(known))
    if unknown:
        raise InvalidRequestError("query", f"unknown parameters: {', '.join(unknown)[:200]}")
    found = dict(pairs)
    if len(found) < len(pairs):
        raise InvalidRequestError("query", "each parameter may come once")
    return found
