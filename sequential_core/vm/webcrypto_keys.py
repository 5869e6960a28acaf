"""Pairs of keys for `crypto.subtle`, see `webcrypto`: RSA, elliptic curves, Ed25519, X25519.

A key is kept in the guest, as the DER of a SubjectPublicKeyInfo or of a PrivateKeyInfo, and comes here with every call.
One that comes from outside is checked once, when it is imported; of the others only this module's own output comes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from sequential_core.vm.host import Operation, Refusal
from sequential_core.vm.webcrypto import from_base64url, to_base64url
from sequential_core.vm.webcrypto_ciphers import HASHES

# Checking that the primes of a private key are some takes 0.06 s for 2048 bits, 0.36 s for 4096 and 5 s for 8192; and
# where one of them is much longer than the other, as in no real key, 2.5 s for 3824. Of a public key there is little to
# check; OpenSSL bounds its exponent to 64 bits where the modulus is long.
_LEAST_RSA_BITS, _MOST_PRIVATE_RSA_BITS, _MOST_PUBLIC_RSA_BITS = 1024, 4096, 8192
_MOST_PRIME_BITS = 2112

# Making one takes 0.05 s for 2048 bits and 0.4 s for 4096, three times that if one is unlucky.
_LEAST_MADE_RSA_BITS, _MOST_MADE_RSA_BITS = 2048, 4096

# Of a private key of 4096 bits: 2,376.
_MOST_DER_BYTES = 4096

# A key of another kind is refused before anything is computed of it: reading the private key of a large DSA group takes
# a second. The OBJECT IDENTIFIER of each kind in DER.
_KINDS = {
    "RSA": b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01",
    "EC": b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01",
    "Ed25519": b"\x06\x03\x2b\x65\x70",
    "X25519": b"\x06\x03\x2b\x65\x6e",
}
_SEQUENCE = rb"\x30(?:[\x00-\x7f]|\x81.|\x82..)"
_PUBLIC_HEADS = {kind: re.compile(_SEQUENCE * 2 + re.escape(oid), re.DOTALL) for kind, oid in _KINDS.items()}
_PRIVATE_HEADS = {
    kind: re.compile(_SEQUENCE + rb"\x02\x01[\x00\x01]" + _SEQUENCE + re.escape(oid), re.DOTALL)
    for kind, oid in _KINDS.items()
}

_CURVES: dict[str, ec.EllipticCurve] = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}
_CURVE_NAMES = {curve.name: name for name, curve in _CURVES.items()}

_PUBLIC_CLASSES: dict[str, Any] = {"Ed25519": ed25519.Ed25519PublicKey, "X25519": x25519.X25519PublicKey}
_PRIVATE_CLASSES: dict[str, Any] = {"Ed25519": ed25519.Ed25519PrivateKey, "X25519": x25519.X25519PrivateKey}

_Public = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | x25519.X25519PublicKey
_Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | x25519.X25519PrivateKey


@contextmanager
def _refusing(name: str, message: str) -> Iterator[None]:
    """Whatever OpenSSL finds wrong with its arguments is one refusal: its own words are the host's."""
    try:
        yield
    except (ValueError, TypeError, OverflowError, UnsupportedAlgorithm, InternalError):
        raise Refusal(name, message) from None


def _private(der: bytes) -> Any:
    """A key that was checked when it was imported."""
    return serialization.load_der_private_key(der, None, unsafe_skip_rsa_key_validation=True)


def _public(der: bytes) -> Any:
    return serialization.load_der_public_key(der)


def _spki(key: _Public) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _pkcs8(key: _Private) -> bytes:
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


# --- Making and importing keys ---


def _generate(kind: str, parameter: str, exponent: bytes = b"") -> bytes:
    if kind == "RSA":
        bits, number = int(parameter), int.from_bytes(exponent, "big")
        if not _LEAST_MADE_RSA_BITS <= bits <= _MOST_MADE_RSA_BITS:
            raise Refusal(
                "OperationError", f"modulusLength must be {_LEAST_MADE_RSA_BITS} to {_MOST_MADE_RSA_BITS} bits here"
            )
        if number not in {3, 65537}:
            raise Refusal("OperationError", "publicExponent must be 3 or 65537")
        with _refusing("OperationError", "The key cannot be generated"):
            return _pkcs8(rsa.generate_private_key(number, bits))
    if kind == "EC":
        return _pkcs8(ec.generate_private_key(_CURVES[parameter]))
    return _pkcs8(_PRIVATE_CLASSES[kind].generate())


def _public_of(der: bytes) -> bytes:
    return _spki(_private(der).public_key())


def _import(format_: str, kind: str, data: bytes | str, parameter: str = "") -> bytes:
    """The DER of a key of a kind; `parameter` is the curve of an EC key."""
    if isinstance(data, str):
        return _import_jwk(kind, json.loads(data), parameter)
    if len(data) > _MOST_DER_BYTES:
        raise Refusal("DataError", f"A key may have {_MOST_DER_BYTES} bytes")
    if format_ == "pkcs8":
        return _import_pkcs8(kind, data, parameter)
    with _refusing("DataError", "The key cannot be read"):
        if format_ == "raw":
            if kind == "EC":
                return _spki(ec.EllipticCurvePublicKey.from_encoded_point(_CURVES[parameter], data))
            return _spki(_PUBLIC_CLASSES[kind].from_public_bytes(data))
        if _PUBLIC_HEADS[kind].match(data) is None:
            raise Refusal("DataError", "The key is of another kind")
        return _checked_public(_public(data), parameter)


def _import_pkcs8(kind: str, data: bytes, parameter: str) -> bytes:
    if _PRIVATE_HEADS[kind].match(data) is None:
        raise Refusal("DataError", "The key is of another kind, or encrypted")
    with _refusing("DataError", "The key cannot be read"):
        key = _private(data)
        _check_curve(key, parameter)
        if isinstance(key, rsa.RSAPrivateKey):
            return _checked_rsa(key.private_numbers())
        return _pkcs8(key)


def _checked_public(key: Any, parameter: str) -> bytes:
    _check_curve(key, parameter)
    if isinstance(key, rsa.RSAPublicKey):
        _check_rsa(key.key_size, _MOST_PUBLIC_RSA_BITS)
        numbers = key.public_numbers()
        rsa.RSAPublicNumbers(numbers.e, numbers.n).public_key()  # with the checks of the exponent
    return _spki(key)


def _check_curve(key: object, parameter: str) -> None:
    if isinstance(key, ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey) and (
        _CURVE_NAMES.get(key.curve.name) != parameter
    ):
        raise Refusal("DataError", "The key is of another curve")


def _checked_rsa(numbers: rsa.RSAPrivateNumbers) -> bytes:
    _check_rsa(numbers.public_numbers.n.bit_length(), _MOST_PRIVATE_RSA_BITS)
    if max(numbers.p.bit_length(), numbers.q.bit_length()) > _MOST_PRIME_BITS:
        raise Refusal("DataError", f"The primes may have {_MOST_PRIME_BITS} bits here")
    # Unlike reading them from DER, this compares sizes before OpenSSL looks for primes, for minutes if they are long.
    return _pkcs8(numbers.private_key())


def _check_rsa(bits: int, most: int) -> None:
    if not _LEAST_RSA_BITS <= bits <= most:
        raise Refusal("DataError", f"The modulus may have {_LEAST_RSA_BITS} to {most} bits here")


def _import_jwk(kind: str, jwk: Mapping[str, str], parameter: str) -> bytes:
    with _refusing("DataError", "The JSON Web Key is not valid"):
        if kind == "RSA":
            return _import_rsa(jwk)
        if jwk.get("crv") != parameter:
            raise Refusal("DataError", "The crv of the JSON Web Key does not fit")
        x = _member(jwk, "x")
        if kind == "EC":
            curve = _CURVES[parameter]
            size = (curve.key_size + 7) // 8
            y = _member(jwk, "y")
            if len(x) != size or len(y) != size:
                raise Refusal("DataError", "The x or y of the JSON Web Key has the wrong length")
            point = ec.EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), curve)
            if "d" not in jwk:
                return _spki(point.public_key())
            d = _member(jwk, "d")
            if len(d) != size:
                raise Refusal("DataError", "The d of the JSON Web Key has the wrong length")
            return _pkcs8(ec.EllipticCurvePrivateNumbers(int.from_bytes(d, "big"), point).private_key())
        if "d" not in jwk:
            return _spki(_PUBLIC_CLASSES[kind].from_public_bytes(x))
        key = _PRIVATE_CLASSES[kind].from_private_bytes(_member(jwk, "d"))
        if key.public_key().public_bytes_raw() != x:
            raise Refusal("DataError", "The x of the JSON Web Key is not that of its d")
        return _pkcs8(key)


def _import_rsa(jwk: Mapping[str, str]) -> bytes:
    is_private = "d" in jwk
    names = ("n", "e", "d", "p", "q", "dp", "dq", "qi") if is_private else ("n", "e")
    numbers = {name: int.from_bytes(_member(jwk, name), "big") for name in names}
    _check_rsa(numbers["n"].bit_length(), _MOST_PRIVATE_RSA_BITS if is_private else _MOST_PUBLIC_RSA_BITS)
    public = rsa.RSAPublicNumbers(numbers["e"], numbers["n"])
    if not is_private:
        return _spki(public.public_key())
    d, p, q, dp, dq, qi = (numbers[name] for name in names[2:])
    return _checked_rsa(rsa.RSAPrivateNumbers(p, q, d, dp, dq, qi, public))


def _member(jwk: Mapping[str, str], name: str) -> bytes:
    text = jwk.get(name, "")
    if not text or len(text) > _MOST_DER_BYTES:
        raise Refusal("DataError", f"The {name} of the JSON Web Key is missing, or too long")
    return from_base64url(text)


# --- Exporting keys ---


def _raw(der: bytes) -> bytes:
    key = _public(der)
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    return cast("bytes", key.public_bytes_raw())


def _modulus(type_: str, der: bytes) -> bytes:
    """The length of an RSA key in bits, in two bytes; then its public exponent."""
    numbers = _rsa_public(type_, der).public_numbers()
    return numbers.n.bit_length().to_bytes(2, "big") + _bytes_of(numbers.e)


def _rsa_public(type_: str, der: bytes) -> rsa.RSAPublicKey:
    return cast("rsa.RSAPublicKey", _private(der).public_key() if type_ == "private" else _public(der))


def _bytes_of(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def _jwk(type_: str, der: bytes) -> str:
    private = _private(der) if type_ == "private" else None
    public = _public(der) if private is None else private.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        fields = _rsa_jwk(private, public)
    elif isinstance(public, ec.EllipticCurvePublicKey):
        fields = _ec_jwk(private, public)
    else:
        crv = "Ed25519" if isinstance(public, ed25519.Ed25519PublicKey) else "X25519"
        fields = {"kty": "OKP", "crv": crv, "x": to_base64url(public.public_bytes_raw())}
        if private is not None:
            fields["d"] = to_base64url(private.private_bytes_raw())
    return json.dumps(fields, separators=(",", ":"))


def _rsa_jwk(private: rsa.RSAPrivateKey | None, public: rsa.RSAPublicKey) -> dict[str, str]:
    numbers = public.public_numbers()
    parts = {"n": numbers.n, "e": numbers.e}
    if private is not None:
        own = private.private_numbers()
        parts |= {"d": own.d, "p": own.p, "q": own.q, "dp": own.dmp1, "dq": own.dmq1, "qi": own.iqmp}
    return {"kty": "RSA"} | {name: to_base64url(_bytes_of(number)) for name, number in parts.items()}


def _ec_jwk(private: ec.EllipticCurvePrivateKey | None, public: ec.EllipticCurvePublicKey) -> dict[str, str]:
    size, point = (public.key_size + 7) // 8, public.public_numbers()
    parts = {"x": point.x, "y": point.y}
    if private is not None:
        parts["d"] = private.private_numbers().private_value
    coordinates = {name: to_base64url(number.to_bytes(size, "big")) for name, number in parts.items()}
    return {"kty": "EC", "crv": _CURVE_NAMES[public.curve.name]} | coordinates


# --- Using keys ---


# The options are the name of a hash and, of RSA-PSS, the length of the salt.


def _rsa_options(scheme: str, hash_name: str, salt_bytes: str = "0") -> tuple[Any, Any]:
    if scheme == "RSA-PSS":
        return padding.PSS(padding.MGF1(HASHES[hash_name]), int(salt_bytes)), HASHES[hash_name]
    return padding.PKCS1v15(), HASHES[hash_name]


def _sign(scheme: str, der: bytes, data: bytes, *options: str) -> bytes:
    key = _private(der)
    with _refusing("OperationError", "The data cannot be signed with this key"):
        if scheme == "Ed25519":
            return cast("bytes", key.sign(data))
        if scheme == "ECDSA":
            size = (key.curve.key_size + 7) // 8
            r, s = decode_dss_signature(key.sign(data, ec.ECDSA(HASHES[options[0]])))
            return r.to_bytes(size, "big") + s.to_bytes(size, "big")
        return cast("bytes", key.sign(data, *_rsa_options(scheme, *options)))


def _verify(scheme: str, der: bytes, signature: bytes, data: bytes, *options: str) -> str:
    key = _public(der)
    try:
        with _refusing("OperationError", "The signature cannot be verified with this key"):
            if scheme == "Ed25519":
                key.verify(signature, data)
            elif scheme == "ECDSA":
                size = (key.curve.key_size + 7) // 8
                if len(signature) != 2 * size:
                    return ""
                numbers = (int.from_bytes(part, "big") for part in (signature[:size], signature[size:]))
                key.verify(encode_dss_signature(*numbers), data, ec.ECDSA(HASHES[options[0]]))
            else:
                key.verify(signature, data, *_rsa_options(scheme, *options))
    except InvalidSignature:
        return ""
    return "1"


def _oaep(hash_name: str, label: bytes | None) -> padding.OAEP:
    return padding.OAEP(padding.MGF1(HASHES[hash_name]), HASHES[hash_name], label)


def _encrypt(der: bytes, data: bytes, hash_name: str, label: bytes | None = None) -> bytes:
    with _refusing("OperationError", "The data is too long for this key"):
        return cast("bytes", _public(der).encrypt(data, _oaep(hash_name, label)))


def _decrypt(der: bytes, data: bytes, hash_name: str, label: bytes | None = None) -> bytes:
    with _refusing("OperationError", "The data cannot be decrypted with this key"):
        return cast("bytes", _private(der).decrypt(data, _oaep(hash_name, label)))


def _agree(kind: str, own: bytes, other: bytes) -> bytes:
    key, public = _private(own), _public(other)
    with _refusing("OperationError", "The keys give no secret"):
        return cast("bytes", key.exchange(ec.ECDH(), public) if kind == "EC" else key.exchange(public))


OPERATIONS: dict[str, Operation] = {
    "agree": _agree,
    "decrypt": _decrypt,
    "encrypt": _encrypt,
    "generate": _generate,
    "import": _import,
    "jwk": _jwk,
    "modulus": _modulus,
    "public": _public_of,
    "raw": _raw,
    "sign": _sign,
    "verify": _verify,
}
