"""What the guest asks of the host: what must not run in the guest, or cannot.

The prelude calls `host(operation, ...)`, see `prelude/host.js`. An operation is a function of strings and bytes; it
keeps nothing between two calls, since the next may come from another process. It reads no environment, no network, and
no file but the tables of time zones. And it must end soon: the budget of CPU time is only looked at when it has
returned.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable
from typing import cast

Value = str | bytes | None
Operation = Callable[..., Value]

# Web Cryptography API, 10.1.1: more bytes at a time are a QuotaExceededError.
_MOST_RANDOM_BYTES = 65536


class Refusal(Exception):
    """The operation cannot be carried out. The code sees an exception of that name: a TypeError or a DOMException."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name
        self.message = message


def perform(operation: str, arguments: list[Value]) -> Value:
    """Performs an operation. Trailing arguments that were not given are None.

    Raises:
        Refusal: the operation refuses its arguments.
    """
    while arguments and arguments[-1] is None:
        arguments.pop()
    try:
        return _operation(operation)(*arguments)
    except (Refusal, MemoryError):
        raise
    except Exception as error:
        # A mistake of ours. The code learns that it cannot have this, and may go on; the operator finds out why.
        import logging  # 5 ms, for what should not happen

        logging.getLogger(__name__).exception("the operation %s failed", operation)
        raise Refusal("OperationError", "The operation failed") from error


def _operation(name: str) -> Operation:
    if name in _OPERATIONS:
        return _OPERATIONS[name]
    family, _, rest = name.partition(".")
    return cast("Operation", importlib.import_module(_FAMILIES[family]).OPERATIONS[rest])


def _random(count: str) -> bytes:
    return os.urandom(min(int(count), _MOST_RANDOM_BYTES))


def _idna_to_ascii(domain: str) -> str:
    """A domain in ASCII, '' if it has none: UTS 46 without transitional processing (URL standard, 3.3)."""
    import idna  # 20 ms, and few names need it

    labels = []
    try:
        for label in idna.uts46_remap(domain, std3_rules=False, transitional=False).split("."):
            if label.startswith("xn--"):
                decoded = label[4:].encode().decode("punycode")
                if not decoded or decoded.isascii() or idna.uts46_remap(decoded, False, False) != decoded:
                    return ""
            elif not label.isascii():
                label = "xn--" + label.encode("punycode").decode()
            labels.append(label)
    except (idna.IDNAError, UnicodeError):
        return ""
    return ".".join(labels)


def _zone_primary(name: str) -> str:
    """The primary name of a time zone, '' if there is no such zone."""
    from sequential_core.vm import zones  # few tasks need it

    return zones.primary(name)


def _zone_span(name: str, seconds: str) -> str:
    """The offset of a zone at that moment, when it began and when it ends: JSON, null for never."""
    from sequential_core.vm import zones

    span = zones.span(name, int(seconds))
    return json.dumps([span.offset, span.since, span.until])


def _utf8_encode(text: str) -> bytes:
    return text.encode(errors="replace")


def _utf8_decode(data: bytes) -> str:
    """Text of bytes, without a byte order mark; what is not UTF-8 is replaced, as the Encoding standard has it too."""
    return data.decode("utf-8-sig", errors="replace")


_OPERATIONS: dict[str, Operation] = {
    "idna.to_ascii": _idna_to_ascii,
    "random": _random,
    "zone.primary": _zone_primary,
    "zone.span": _zone_span,
    "utf8.decode": _utf8_decode,
    "utf8.encode": _utf8_encode,
}

# Modules with OPERATIONS of their own, imported when a task first needs one: most never do. The last two are made of
# `cryptography`, which takes 70 ms. Nor may a Lambda environment be frozen with it: see docs/webcrypto.md.
_FAMILIES = {
    "crypto": "sequential_core.vm.webcrypto",
    "cipher": "sequential_core.vm.webcrypto_ciphers",
    "key": "sequential_core.vm.webcrypto_keys",
}
