"""What `crypto` and `crypto.subtle` compute with Python alone: digests, HMAC, PBKDF2, secrets as JSON Web Keys.

`webcrypto_ciphers` and `webcrypto_keys` have the rest, with the package `cryptography`. The front, with the checks of
the Web Cryptography API, is in the guest: `prelude/crypto.js`. Arguments come from there, so their types are right and
nothing else is. Whatever fails is refused with a message of ours.

An operation runs to its end before anybody looks at the budget of CPU time. So whatever could take long for few bytes
is bounded here, to about a second: see docs/webcrypto.md.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import uuid

from sequential_core.vm.host import Operation, Refusal

# The names of the Web Cryptography API, and those of hashlib.
HASHES = {
    "SHA-1": "sha1",
    "SHA-256": "sha256",
    "SHA-384": "sha384",
    "SHA-512": "sha512",
    "SHA3-256": "sha3_256",
    "SHA3-384": "sha3_384",
    "SHA3-512": "sha3_512",
}

# Iterations times blocks of the answer: 0.6 to 1 s (2 shared cores, OpenSSL 3). What OWASP recommends is within:
# 1,300,000 for SHA-1, 600,000 for SHA-256, 210,000 for SHA-512.
MOST_ITERATIONS = {"SHA-1": 2_000_000, "SHA-256": 2_000_000, "SHA-384": 1_000_000, "SHA-512": 1_000_000}

# What is hashed once for each block of a derived secret, in all.
MOST_DERIVATION_BYTES = 64 << 20

_BASE64URL = re.compile(r"[A-Za-z0-9_-]*")


def from_base64url(text: str) -> bytes:
    """The bytes of a member of a JSON Web Key (RFC 7515, 2: no padding).

    Raises:
        Refusal: a DataError.
    """
    if _BASE64URL.fullmatch(text) is None or len(text) % 4 == 1:
        raise Refusal("DataError", "A member of the JSON Web Key is not base64url")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def to_base64url(data: bytes) -> str:
    """A member of a JSON Web Key."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def bound_derivation(hash_name: str, length: int, repeated: int) -> int:
    """How many blocks of a hash `length` bytes take, `repeated` bytes being hashed for each.

    Raises:
        Refusal: an OperationError, if that is too much work.
    """
    blocks = -(-length // hashlib.new(HASHES[hash_name]).digest_size)
    if blocks * repeated > MOST_DERIVATION_BYTES:
        raise Refusal(
            "OperationError", f"Salt, info and length are too large: deriving may hash {MOST_DERIVATION_BYTES} bytes"
        )
    return blocks


def _digest(hash_name: str, data: bytes) -> bytes:
    return hashlib.new(HASHES[hash_name], data).digest()


def _hmac(hash_name: str, key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, HASHES[hash_name])


def _hmac_verify(hash_name: str, key: bytes, signature: bytes, data: bytes) -> str:
    return "1" if hmac.compare_digest(_hmac(hash_name, key, data), signature) else ""


def _pbkdf2(hash_name: str, password: bytes, salt: bytes, iterations: str, length: str) -> bytes:
    count, size = int(iterations), int(length)
    if count == 0:
        raise Refusal("OperationError", "PBKDF2 takes at least one iteration")
    blocks = bound_derivation(hash_name, size, len(salt))
    if count * blocks > MOST_ITERATIONS[hash_name]:
        raise Refusal(
            "OperationError",
            f"PBKDF2 with {hash_name} may take {MOST_ITERATIONS[hash_name]} iterations here, "
            f"for all {blocks} blocks of the answer together",
        )
    # OpenSSL wants at least one byte.
    return hashlib.pbkdf2_hmac(HASHES[hash_name], password, salt, count, size) if size else b""


def _uuid() -> str:
    return str(uuid.uuid4())  # os.urandom


def _jwk_secret(k: str) -> bytes:
    return from_base64url(k)


def _secret_jwk(secret: bytes) -> str:
    return json.dumps({"kty": "oct", "k": to_base64url(secret)}, separators=(",", ":"))


# The guest's own TextDecoder is made of what the code can change, and would show it a key.


def _encode(text: str) -> bytes:
    return text.encode()


def _decode(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Refusal("DataError", "The unwrapped bytes are no JSON Web Key") from None


OPERATIONS: dict[str, Operation] = {
    "decode": _decode,
    "digest": _digest,
    "encode": _encode,
    "hmac": _hmac,
    "hmac_verify": _hmac_verify,
    "jwk_secret": _jwk_secret,
    "pbkdf2": _pbkdf2,
    "secret_jwk": _secret_jwk,
    "uuid": _uuid,
}
