"""Programs that use `crypto`, and keys for them."""

from __future__ import annotations

import base64
import functools
import json

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from support import DEFAULT, completed

from sequential_core.limits import Limits

HELPERS = """
const s = crypto.subtle, hex = (b) => new Uint8Array(b).toHex(), bytes = (t) => Uint8Array.fromHex(t);
const utf8 = (t) => new TextEncoder().encode(t), url = (b) => new Uint8Array(b).toBase64({ alphabet: 'base64url',
  omitPadding: true });
const unurl = (t) => Uint8Array.fromBase64(t, { alphabet: 'base64url' });
const refusal = async (f) => {
  try { await f(); return 'nothing'; }
  catch (e) { return e instanceof DOMException || e instanceof TypeError ? e.name : `${e}`; }
};
const PAUSE = () => fetch('http://a/');
"""


def crypto(code: str, limits: Limits = DEFAULT, **values: object) -> object:
    """The result of a program that has the helpers and these constants."""
    return completed(with_helpers(code, **values), limits)


def with_helpers(code: str, **values: object) -> str:
    return HELPERS + "".join(f"const {name} = {json.dumps(value)};\n" for name, value in values.items()) + code


def refused(call: str, **values: object) -> object:
    """The name of what a call is rejected with."""
    return crypto(f"await refusal(async () => ({call}))", **values)


def b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@functools.cache
def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


def pkcs8(key) -> str:
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).hex()


def spki(key) -> str:
    return (
        key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo).hex()
    )


CURVES = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}
HASHES = {"SHA-1": hashes.SHA1(), "SHA-256": hashes.SHA256(), "SHA-384": hashes.SHA384(), "SHA-512": hashes.SHA512()}

# Keys as expressions of JavaScript.
AES = "await s.importKey('raw', new Uint8Array(16), 'AES-GCM', true, ['encrypt'])"
FIXED = "await s.importKey('raw', new Uint8Array(16), 'AES-GCM', false, ['encrypt'])"
PASSWORD = "await s.importKey('raw', utf8('p'), 'PBKDF2', false, ['deriveBits', 'deriveKey'])"
IKM = "await s.importKey('raw', utf8('p'), 'HKDF', false, ['deriveBits', 'deriveKey'])"
