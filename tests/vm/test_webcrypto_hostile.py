"""`crypto` and `crypto.subtle`: what is refused, what would take too long, and who wants to see a key.

A call that is refused is one line of a table.
"""

# ruff: noqa: E501  # calls in JavaScript, one a line

from __future__ import annotations

import base64
import hashlib
import hmac
import importlib
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from support import answered, failed
from webcrypto_programs import (
    AES,
    FIXED,
    IKM,
    PASSWORD,
    b64url,
    crypto,
    pkcs8,
    refused,
    rsa_key,
    spki,
    with_helpers,
)

from sequential_core.limits import MIB, Limits
from sequential_core.model import ErrorKind
from sequential_core.pending import ValueAnswer
from sequential_core.vm import host
from sequential_core.vm import program as programs

# --- Errors ----------------------------------------------------------------------------------------------

GCM = "{ name: 'AES-GCM', iv: new Uint8Array(12) }"
OCT = "kty: 'oct', k: 'AAAAAAAAAAAAAAAAAAAAAA'"
HMAC = "{ name: 'HMAC', hash: 'SHA-256' }"

ERRORS = [
    # Names and parameters
    ("s.digest('MD5', utf8(''))", "NotSupportedError"),
    ("s.digest('\\u017fHA-1', utf8(''))", "NotSupportedError"),
    ("s.digest('__proto__', utf8(''))", "NotSupportedError"),
    ("s.digest({}, utf8(''))", "TypeError"),
    ("s.digest(Symbol('SHA-1'), utf8(''))", "TypeError"),
    ("s.digest('SHA-1')", "TypeError"),
    ("s.digest('SHA-1', 'text')", "TypeError"),
    ("s.digest('SHA-1', [1])", "TypeError"),
    ("s.digest('SHA-1', new Uint8Array(new ArrayBuffer(8, { maxByteLength: 16 })))", "TypeError"),
    ("s.digest({ get name() { throw new TypeError('mine') } }, utf8(''))", "TypeError"),
    ("s.encrypt('AES-GCM', KEY, utf8(''))", "TypeError"),
    ("s.encrypt({ name: 'AES-GCM', iv: 'text' }, KEY, utf8(''))", "TypeError"),
    ("s.encrypt({ name: 'AES-GCM', iv: new Uint8Array(12), tagLength: 256 }, KEY, utf8(''))", "TypeError"),
    ("s.encrypt({ name: 'AES-GCM', iv: new Uint8Array(12), tagLength: 8 }, KEY, utf8(''))", "OperationError"),
    ("s.encrypt({ name: 'AES-GCM', iv: new Uint8Array(0) }, KEY, utf8(''))", "OperationError"),
    ("s.encrypt({ name: 'AES-GCM', iv: new Uint8Array(1000000) }, KEY, utf8(''))", "OperationError"),
    ("s.encrypt({ name: 'AES-GCM', get iv() { throw new RangeError('mine') } }, KEY, utf8(''))", "RangeError: mine"),
    ("s.generateKey({ name: 'AES-GCM', length: NaN }, true, ['encrypt'])", "TypeError"),
    ("s.generateKey({ name: 'AES-GCM', length: -1 }, true, ['encrypt'])", "TypeError"),
    ("s.generateKey({ name: 'AES-GCM', length: 1n }, true, ['encrypt'])", "TypeError"),
    ("s.generateKey({ name: 'AES-GCM', length: 100 }, true, ['encrypt'])", "OperationError"),
    ("s.generateKey({ name: 'HMAC', hash: 'SHA-256', length: 0 }, true, ['sign'])", "OperationError"),
    ("s.generateKey({ name: 'HMAC', hash: 'SHA-256', length: 2 ** 32 - 1 }, true, ['sign'])", "OperationError"),
    ("s.generateKey({ name: 'HMAC', hash: 'SHA3-256' }, true, ['sign'])", "NotSupportedError"),
    ("s.generateKey({ name: 'HMAC' }, true, ['sign'])", "TypeError"),
    ("s.generateKey({ name: 'ECDSA', namedCurve: 'secp256k1' }, true, ['sign'])", "NotSupportedError"),
    ("s.generateKey('PBKDF2', false, ['deriveBits'])", "NotSupportedError"),
    ("s.encrypt({ name: 'AES-CBC', iv: new Uint8Array(15) }, CBC, utf8(''))", "OperationError"),
    ("s.encrypt({ name: 'AES-CTR', counter: new Uint8Array(16), length: 0 }, CTR, utf8(''))", "OperationError"),
    ("s.encrypt({ name: 'AES-CTR', counter: new Uint8Array(15), length: 64 }, CTR, utf8(''))", "OperationError"),
    # Keys and usages
    (f"s.encrypt({GCM}, {{}}, utf8(''))", "TypeError"),
    (f"s.decrypt({GCM}, KEY, new Uint8Array(16))", "InvalidAccessError"),
    ("s.encrypt({ name: 'AES-CBC', iv: new Uint8Array(16) }, KEY, utf8(''))", "InvalidAccessError"),
    ("s.generateKey({ name: 'AES-GCM', length: 128 }, true, [])", "SyntaxError"),
    ("s.generateKey({ name: 'AES-GCM', length: 128 }, true, ['sign'])", "SyntaxError"),
    ("s.generateKey({ name: 'AES-GCM', length: 128 }, true, ['fly'])", "TypeError"),
    ("s.generateKey({ name: 'AES-GCM', length: 128 }, true, 5)", "TypeError"),
    ("s.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['verify'])", "SyntaxError"),
    ("s.generateKey({ name: 'ECDH', namedCurve: 'P-256' }, true, ['sign'])", "SyntaxError"),
    ("s.importKey('raw', new Uint8Array(16), 'AES-GCM', true, [])", "SyntaxError"),
    ("s.importKey('raw', new Uint8Array(16), 'AES-KW', true, ['encrypt'])", "SyntaxError"),
    ("s.importKey('raw', utf8('p'), 'PBKDF2', true, ['deriveBits'])", "SyntaxError"),
    ("s.importKey('raw', utf8('p'), 'HKDF', false, ['sign'])", "SyntaxError"),
    ("s.exportKey('raw', FIXED)", "InvalidAccessError"),
    ("s.exportKey('jwk', FIXED)", "InvalidAccessError"),
    ("s.exportKey('pkcs8', KEY)", "NotSupportedError"),
    ("s.exportKey('pem', KEY)", "TypeError"),
    (f"s.exportKey('raw', {PASSWORD})", "NotSupportedError"),
    # Imports
    ("s.importKey('raw', new Uint8Array(15), 'AES-GCM', true, ['encrypt'])", "DataError"),
    ("s.importKey('raw', 'text', 'AES-GCM', true, ['encrypt'])", "TypeError"),
    ("s.importKey('raw', {}, 'AES-GCM', true, ['encrypt'])", "TypeError"),
    ("s.importKey('jwk', new Uint8Array(16), 'AES-GCM', true, ['encrypt'])", "TypeError"),
    ("s.importKey('spki', new Uint8Array(16), 'AES-GCM', true, ['encrypt'])", "NotSupportedError"),
    ("s.importKey('jwk', {}, 'AES-GCM', true, ['encrypt'])", "DataError"),
    ("s.importKey('jwk', { kty: 'oct' }, 'AES-GCM', true, ['encrypt'])", "DataError"),
    ("s.importKey('jwk', { kty: 'oct', k: '$$$$' }, 'AES-GCM', true, ['encrypt'])", "DataError"),
    ("s.importKey('jwk', { kty: 'oct', k: 'AAAAA' }, 'AES-GCM', true, ['encrypt'])", "DataError"),
    ("s.importKey('jwk', { kty: 'oct', k: 'AAAA' }, 'AES-GCM', true, ['encrypt'])", "DataError"),
    (f"s.importKey('jwk', {{ {OCT}, alg: 'A256GCM' }}, 'AES-GCM', true, ['encrypt'])", "DataError"),
    (f"s.importKey('jwk', {{ {OCT}, use: 'sig' }}, 'AES-GCM', true, ['encrypt'])", "DataError"),
    (f"s.importKey('jwk', {{ {OCT}, key_ops: ['decrypt'] }}, 'AES-GCM', true, ['encrypt'])", "DataError"),
    (f"s.importKey('jwk', {{ {OCT}, key_ops: ['encrypt', 'encrypt'] }}, 'AES-GCM', true, ['encrypt'])", "DataError"),
    (f"s.importKey('jwk', {{ {OCT}, key_ops: 5 }}, 'AES-GCM', true, ['encrypt'])", "TypeError"),
    (f"s.importKey('jwk', {{ {OCT}, ext: false }}, 'AES-GCM', true, ['encrypt'])", "DataError"),
    (f"s.importKey('raw', new Uint8Array(0), {HMAC}, true, ['sign'])", "DataError"),
    ("s.importKey('raw', new Uint8Array(2), { ...HMAC, length: 8 }, true, ['sign'])", "DataError"),
    ("s.importKey('raw', new Uint8Array(2), { ...HMAC, length: 17 }, true, ['sign'])", "DataError"),
    ("s.importKey('raw', new Uint8Array(31), 'Ed25519', true, ['verify'])", "DataError"),
    ("s.importKey('raw', new Uint8Array(65).fill(4), { name: 'ECDH', namedCurve: 'P-256' }, true, [])", "DataError"),
    ("s.importKey('pkcs8', new Uint8Array(40), 'Ed25519', true, ['sign'])", "DataError"),
    ("s.importKey('pkcs8', bytes(ecPrivate), 'Ed25519', true, ['sign'])", "DataError"),
    ("s.importKey('pkcs8', bytes(ecPrivate), { name: 'ECDSA', namedCurve: 'P-384' }, true, ['sign'])", "DataError"),
    ("s.importKey('pkcs8', bytes(ecPrivate).slice(0, -9), { name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign'])", "DataError"),
    ("s.importKey('spki', bytes(ecPublic), { name: 'ECDSA', namedCurve: 'P-521' }, true, ['verify'])", "DataError"),
    ("s.importKey('spki', new Uint8Array(1000000), { name: 'ECDSA', namedCurve: 'P-521' }, true, ['verify'])", "DataError"),
    ("s.importKey('jwk', { kty: 'RSA', n: 'AQ', e: 'AQAB' }, { name: 'RSA-PSS', hash: 'SHA-1' }, true, ['verify'])", "DataError"),
    ("s.importKey('jwk', { kty: 'RSA', n: 'A'.repeat(1e6), e: 'AQAB' }, { name: 'RSA-PSS', hash: 'SHA-1' }, true, ['verify'])", "DataError"),
    ("s.importKey('jwk', { kty: 'RSA', n: '_'.repeat(400), e: '_w', d: '_w' }, { name: 'RSA-PSS', hash: 'SHA-1' }, true, ['sign'])", "DataError"),
    ("s.importKey('jwk', { kty: 'RSA', n: 'AQ', e: 'AQAB', oth: [] }, { name: 'RSA-PSS', hash: 'SHA-1' }, true, ['verify'])", "NotSupportedError"),
    ("s.importKey('jwk', { kty: 'OKP', crv: 'X25519', x: 'AA' }, 'Ed25519', true, ['verify'])", "DataError"),
    # Derivation
    (f"s.deriveBits({{ name: 'PBKDF2', hash: 'SHA-1', salt: utf8(''), iterations: 0 }}, {PASSWORD}, 8)", "OperationError"),
    (f"s.deriveBits({{ name: 'PBKDF2', hash: 'SHA-1', salt: utf8(''), iterations: 1 }}, {PASSWORD})", "OperationError"),
    (f"s.deriveBits({{ name: 'PBKDF2', hash: 'SHA-1', salt: utf8(''), iterations: 1 }}, {PASSWORD}, 9)", "OperationError"),
    (f"s.deriveKey({{ name: 'PBKDF2', hash: 'SHA-1', salt: utf8(''), iterations: 1 }}, {PASSWORD}, 'HKDF', false, ['deriveBits'])", "OperationError"),
    (f"s.deriveBits({{ name: 'HKDF', hash: 'SHA-256', salt: utf8(''), info: utf8('') }}, {IKM}, 8 * 8168)", "OperationError"),
    (f"s.deriveBits({{ name: 'HKDF', hash: 'SHA-256', salt: utf8(''), info: utf8('') }}, {PASSWORD}, 8)", "InvalidAccessError"),
]  # fmt: skip


@pytest.fixture(scope="module")
def error_names():
    """What each call of ERRORS is rejected with."""
    calls = ",\n".join(f"async () => ({call})" for call, _ in ERRORS)
    key = ec.generate_private_key(ec.SECP256R1())
    return crypto(
        f"""
        const KEY = {AES}, FIXED = {FIXED}, HMAC = {HMAC}, names = [];
        const CBC = await s.importKey('raw', new Uint8Array(16), 'AES-CBC', true, ['encrypt']);
        const CTR = await s.importKey('raw', new Uint8Array(16), 'AES-CTR', true, ['encrypt']);
        for (const call of [{calls}]) names.push(await refusal(call));
        names
        """,
        ecPrivate=pkcs8(key),
        ecPublic=spki(key),
    )


@pytest.mark.parametrize("index", range(len(ERRORS)), ids=[call for call, _ in ERRORS])
def test_what_is_refused(index, error_names):
    assert error_names[index] == ERRORS[index][1]


def test_errors_are_rejections_and_say_nothing_of_the_host():
    messages = crypto(
        """
        const said = async (promise) => { try { await promise; } catch (e) { return e.name + e.message + e.stack; } };
        const rsa = { name: 'RSA-PSS', hash: 'SHA-512' };
        const own = await s.importKey('pkcs8', bytes(pkcs8), rsa, false, ['sign']);
        [await said(s.digest()), await said(s.sign({ ...rsa, saltLength: 4294967295 }, own, utf8(''))),
         await said(s.importKey('pkcs8', new Uint8Array([48, 130, 1, 0, 2, 1, 0, 48, 13, 6, 9, 42, 134, 72, 134, 247,
           13, 1, 1, 1, 5, 0]), rsa, true, ['sign'])),
         await said(s.importKey('raw', bytes('04' + '11'.repeat(64)), { name: 'ECDSA', namedCurve: 'P-256' }, true,
           ['verify']))]
        """,
        pkcs8=pkcs8(rsa_key()),
    )
    assert [message.partition("Error")[0] for message in messages] == ["Type", "Operation", "Data", "Data"]
    for message in messages:
        assert not any(word in message for word in ("cryptography", "Python", ".py", "openssl", "rust", "error:"))


# --- Bounds ------------------------------------------------------------------------------------------------


def timed(code: str, **values: object) -> float:
    begun = time.thread_time()
    crypto(code, **values)
    return time.thread_time() - begun


def test_iterations_are_bounded_with_all_blocks():
    derive = "s.deriveBits({ name: 'PBKDF2', hash: 'SHA-256', salt: utf8('s'), iterations }, KEY, bits)"
    message = crypto(f"""
        const KEY = {PASSWORD}, tell = async (iterations, bits) => {{
          try {{ await {derive}; return 'done'; }} catch (e) {{ return e.name + ': ' + e.message; }}
        }};
        [await tell(600000, 256), await tell(2000001, 8), await tell(4294967295, 8), await tell(1000000, 768),
          await tell(1, 2 ** 29)]
    """)
    limit = "OperationError: PBKDF2 with SHA-256 may take 2000000 iterations here"
    assert [each[: len(limit)] for each in message] == ["done", limit, limit, limit, limit]


@pytest.mark.parametrize(
    "call",
    [
        f"s.deriveBits({{ name: 'PBKDF2', hash: 'SHA-1', salt: new Uint8Array(1e7), iterations: 1 }}, {PASSWORD}, 8 * 200)",
        f"s.deriveBits({{ name: 'HKDF', hash: 'SHA-1', salt: utf8(''), info: new Uint8Array(1e7) }}, {IKM}, 8 * 5100)",
        "s.generateKey({ name: 'RSA-PSS', hash: 'SHA-1', modulusLength: 16384, publicExponent: bytes('010001') }, true, ['sign'])",
        "s.generateKey({ name: 'RSA-PSS', hash: 'SHA-1', modulusLength: 1024, publicExponent: bytes('010001') }, true, ['sign'])",
        "s.generateKey({ name: 'RSA-PSS', hash: 'SHA-1', modulusLength: 2048, publicExponent: new Uint8Array(1e6).fill(255) }, true, ['sign'])",
    ],
    ids=["salt", "info", "long modulus", "short modulus", "exponent"],
)  # fmt: skip
def test_what_would_take_long_is_refused(call):
    assert refused(call) == "OperationError"


def der(tag: int, data: bytes) -> bytes:
    size = len(data)
    return bytes([tag]) + (bytes([size]) if size < 128 else bytes([0x82, size >> 8, size & 255])) + data


def integer(number: int) -> bytes:
    return der(2, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def test_a_private_key_with_a_huge_prime_is_refused_before_anybody_looks_whether_it_is_one():
    numbers = rsa_key().private_numbers()
    parts = (0, numbers.public_numbers.n, 65537, numbers.d, 2**19937 - 1, numbers.q, 3, 3, 3)
    key = der(0x30, b"".join(integer(part) for part in parts))
    info = der(0x30, integer(0) + der(0x30, bytes.fromhex("06092a864886f70d0101010500")) + der(4, key))
    code = "await refusal(() => s.importKey('pkcs8', bytes(info), { name: 'RSA-PSS', hash: 'SHA-1' }, true, ['sign']))"
    begun = time.thread_time()
    assert crypto(code, info=info.hex()) == "DataError"
    assert time.thread_time() - begun < 1  # minutes, if OpenSSL looks


def test_long_private_keys_are_refused_and_long_public_ones_are_not():
    n = (1 << 8191) + 1
    jwk = {"kty": "RSA", "e": "AQAB", "n": b64url(n.to_bytes(1024, "big"))}
    assert crypto(
        """
        const kind = { name: 'RSA-PSS', hash: 'SHA-1' };
        [(await s.importKey('jwk', jwk, kind, true, ['verify'])).algorithm.modulusLength,
         await refusal(() => s.importKey('jwk', { ...jwk, d: jwk.n, p: jwk.n, q: 'AQ', dp: 'AQ', dq: 'AQ',
           qi: 'AQ' }, kind, true, ['sign']))]
        """,
        jwk=jwk,
    ) == [8192, "DataError"]


@pytest.mark.parametrize(
    "step",
    [
        f"await s.deriveBits({{ name: 'PBKDF2', hash: 'SHA-256', salt: utf8(''), iterations: 300000 }}, {PASSWORD}, 8);",
        "await s.generateKey({ name: 'RSA-PSS', hash: 'SHA-1', modulusLength: 2048, publicExponent: bytes('010001') }, true, ['sign']);",
        "await s.generateKey({ name: 'ECDSA', namedCurve: 'P-521' }, true, ['sign']);",
        "await s.digest('SHA-512', new Uint8Array(1e6));",
        "crypto.getRandomValues(new Uint8Array(65536));",
    ],
    ids=["PBKDF2", "RSA", "ECDSA", "digest", "random"],
)  # fmt: skip
def test_a_loop_of_expensive_operations_is_charged(step):
    begun = time.thread_time()
    error = failed(with_helpers(f"for (;;) {{ {step} }}"), Limits(cpu_seconds=0.3)).error
    assert error.kind is ErrorKind.CPU_LIMIT
    assert time.thread_time() - begun < 2


def test_large_data_is_a_matter_of_memory_only():
    result = crypto("""
        const key = await s.generateKey({ name: 'AES-GCM', length: 256 }, false, ['encrypt', 'decrypt']),
          iv = new Uint8Array(12);
        const made = await s.encrypt({ name: 'AES-GCM', iv }, key, new Uint8Array(8000000));
        [made.byteLength, (await s.digest('SHA-1', made)).byteLength]
    """)
    assert result == [8000016, 20]
    error = failed(with_helpers("await s.digest('SHA-1', new Uint8Array(11e6))"), Limits(memory_bytes=24 * MIB)).error
    assert error.kind is ErrorKind.MEMORY_LIMIT


def test_what_needs_no_cryptography_does_not_import_it():
    code = (
        "import sys; from sequential_core.vm import program as programs\n"
        "done = programs.start(\"const s = crypto.subtle; crypto.randomUUID(); const k = await s.generateKey({name: 'HMAC', "
        "hash: 'SHA-256'}, true, ['sign']); await s.sign('HMAC', k, await s.digest('SHA-1', new Uint8Array(1))); 1\")\n"
        "assert done.result == 1, done\n"
        "assert 'cryptography' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_operation_of_the_prelude_is_there():
    prelude = Path(host.__file__).parent / "prelude"
    asked = {
        name
        for path in prelude.glob("*.js")
        for name in re.findall(r"host\('((?:crypto|cipher|key)\.\w+)'", path.read_text())
    }
    there = {
        f"{family}.{name}"
        for family, module in host._FAMILIES.items()
        for name in importlib.import_module(module).OPERATIONS
    }
    assert asked == there


# --- Secrets ------------------------------------------------------------------------------------------------

# Puts traps wherever the code can reach, and notes every string and every number of bytes that passes one.
TRAPS = """
const seen = [''], note = (value) => {
  if (typeof value === 'string') seen.push(value);
  else if (value instanceof OwnUint8) seen.push(apply(OwnHex, value, []));
  else if (value instanceof OwnBuffer) seen.push(apply(OwnHex, new OwnUint8(value), []));
  else if (value !== null && typeof value === 'object') for (const key of ownKeys(value)) {
    const field = descriptorOf(value, key).value;
    if (typeof field === 'string') seen.push(field);
  }
};
const OwnUint8 = Uint8Array, OwnBuffer = ArrayBuffer, OwnHex = Uint8Array.prototype.toHex,
  getProto = Object.getPrototypeOf;
const { apply, ownKeys, getOwnPropertyDescriptor: descriptorOf, defineProperty: define } = Reflect;
const trap = (owner) => {
  for (const key of ownKeys(owner)) {
    const { value, get, set, configurable, writable } = descriptorOf(owner, key);
    if (key === 'constructor' || key === 'prototype' || (!configurable && !writable)) continue;
    if (typeof value === 'function') {
      const wrapped = function (...args) { if (busy) return apply(value, this, args); busy = true; try { note(this);
        for (let i = 0; i < args.length; i++) note(args[i]); } finally { busy = false; } return apply(value, this,
        args); };
      define(owner, key, { __proto__: null, value: wrapped, configurable: true, writable: true });
    } else if (get && configurable) {
      define(owner, key, { __proto__: null, get() { if (!busy) { busy = true; try { note(this);
        } finally { busy = false; } } return apply(get, this, []); }, set, configurable: true });
    }
  }
};
let busy = true;
const pollute = () => {
  for (const owner of [Array.prototype, Map.prototype, Set.prototype, Promise.prototype, String.prototype,
    RegExp.prototype, Function.prototype,
    ArrayBuffer.prototype, Uint8Array.prototype, getProto(Uint8Array.prototype), DataView.prototype,
      TextEncoder.prototype, TextDecoder.prototype, JSON, Reflect, Object, Array]) trap(owner);
  for (const name of ['kty', 'k', 'd', 'alg', 'ext', 'key_ops', 'use', 'name', 'hash', 'then', 'toJSON', 'get',
    'set', 'material', 'record', 'p', 'x', 'length', '0', 'alphabet'])
    define(Object.prototype, name, { __proto__: null, get() { if (!busy) { busy = true; try { note(this);
      } finally { busy = false; } } return undefined; }, set(v) { if (!busy) { busy = true; try { note(this);
      note(v); } finally { busy = false; } } }, configurable: true });
  for (const kind of [ArrayBuffer, Uint8Array]) {
    define(kind.prototype, 'constructor', { __proto__: null, get() { if (!busy) { busy = true; try { note(this);
      } finally { busy = false; } } return { [Symbol.species]: function (n) { const made = new kind(n);
      taken.push(made); return made; } }; }, configurable: true });
  }
};
const taken = [new OwnUint8(0)];
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_pollution_of_what_the_code_can_reach_reveals_no_key(when):
    secret = bytes(range(1, 33))
    wrapped = json.dumps({"kty": "oct", "k": b64url(secret), "key_ops": ["sign"], "ext": True}, separators=(",", ":"))
    outcome = answered(
        with_helpers(
            f"""
            {TRAPS}
            const ownHex = (b) => apply(OwnHex, new OwnUint8(b), []);
            const aes = await s.importKey('raw', new Uint8Array(32).fill(7), 'AES-GCM', false, ['encrypt',
              'unwrapKey', 'wrapKey']);
            const how = {{ __proto__: null, name: 'AES-GCM', iv: new Uint8Array(12), tagLength: 128,
              additionalData: new Uint8Array(0) }};
            const blob = await s.encrypt(how, aes, utf8(wrapped));
            const hmac = {{ __proto__: null, name: 'HMAC', hash: {{ __proto__: null, name: 'SHA-256' }},
              length: 256 }}, uses = ['sign'];
            {"pollute(); busy = false;" if when == "before" else ""}
            const key = await s.unwrapKey('jwk', blob, aes, how, hmac, false, uses);
            const other = await s.generateKey(hmac, true, uses);
            {"pollute(); busy = false;" if when == "after" else ""}
            const kept = await s.wrapKey('jwk', other, aes, how), raw = await s.wrapKey('raw', other, aes, how);
            const signature = await s.sign('HMAC', key, new Uint8Array(3));
            let failed = '';
            for (const f of ['raw', 'jwk']) for (const g of [() => s.exportKey(f, key), () => s.wrapKey(f, key, aes,
              how)])
              try {{ await g(); failed += 'leaked '; }} catch (e) {{ failed += e.name + ' '; }}
            busy = true;
            const before = seen.length;
            await PAUSE();
            const bytesOfOther = ownHex(await s.exportKey('raw', other));
            JSON.stringify([ownHex(signature), failed, seen, taken.map((b) => ownHex(b.buffer ?? b)), bytesOfOther])
            """,
            wrapped=wrapped,
        ),
        ValueAnswer(1),
    )
    assert isinstance(outcome, programs.Completed), outcome
    signature, refusals, seen, taken, other = json.loads(outcome.result)
    assert signature == hmac.digest(secret, b"\0\0\0", "sha256").hex()
    assert refusals.split() == ["InvalidAccessError"] * 4
    noted = "\n".join(seen + taken)
    assert len(seen) > 4  # the traps are sharp
    for key in (secret, bytes.fromhex(other)):
        for form in (key.hex(), b64url(key), base64.b64encode(key).decode().rstrip("=")):
            assert form not in noted


def test_the_algorithm_and_usages_that_the_code_changes_are_not_those_of_the_key():
    assert crypto("""
        const key = await s.importKey('raw', utf8('Jefe'), { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']);
        const before = hex(await s.sign('HMAC', key, utf8('a')));
        key.algorithm.hash.name = 'SHA-1'; key.algorithm.name = 'AES-GCM'; key.usages.push('verify');
        try { key.extractable = true; } catch {}
        Object.defineProperty(key, 'extractable', { value: true }); Object.defineProperty(key, 'type',
          { value: 'public' });
        [hex(await s.sign('HMAC', key, utf8('a'))) === before, await refusal(() => s.verify('HMAC', key, utf8(''),
          utf8('a'))), await refusal(() => s.exportKey('raw', key))]
    """) == [True, "InvalidAccessError", "InvalidAccessError"]


# --- Hostile arguments -----------------------------------------------------------------------------------------


def test_inputs_are_copied_at_the_call():
    assert crypto("""
        const data = utf8('abc'), whole = new Uint8Array([9, 97, 98, 99, 9]);
        const key = await s.importKey('raw', data, { name: 'HMAC', get hash() { data.fill(0); return 'SHA-256'; } },
          true, ['sign']);
        const promise = s.digest({ get name() { whole.fill(0); return 'SHA-1'; } }, whole.subarray(1, 4));
          whole.fill(1);
        const raw = await s.exportKey('raw', key); new Uint8Array(raw).fill(0);
        [hex(await promise), hex(await s.exportKey('raw', key)), hex(await s.digest('SHA-1',
          new DataView(utf8('xabcx').buffer, 1, 3)))]
    """) == [hashlib.sha1(b"abc").hexdigest(), "616263", hashlib.sha1(b"abc").hexdigest()]


def test_a_detached_buffer_is_empty():
    assert crypto("""
        const gone = (view) => { (view.buffer ?? view).transfer(); return view; };
        const made = [];
        for (const each of [new Uint8Array(4), new ArrayBuffer(4),
          new DataView(new ArrayBuffer(4))]) made.push(hex(await s.digest('SHA-1', gone(each))));
        made.push(crypto.getRandomValues(gone(new Uint8Array(4))).length, await refusal(() => s.importKey('raw',
          gone(new Uint8Array(16)), 'AES-GCM', true, ['encrypt'])));
        made
    """) == [*[hashlib.sha1(b"").hexdigest()] * 3, 0, "DataError"]


def test_pretenders_are_no_bytes_and_no_keys():
    assert (
        crypto("""
        const pretend = [Object.create(Uint8Array.prototype), Object.create(ArrayBuffer.prototype),
          new Proxy(new Uint8Array(4), {}), { byteLength: 4, buffer: new ArrayBuffer(4) }];
        const made = [];
        for (const each of pretend) made.push(await refusal(() => s.digest('SHA-1', each)));
        const key = await s.importKey('raw', utf8('k'), { name: 'HMAC', hash: 'SHA-1' }, true, ['sign']);
        for (const each of [Object.create(key), new Proxy(key, {}), Object.create(CryptoKey.prototype),
          { ...key }]) made.push(await refusal(() => s.sign('HMAC', each, utf8(''))));
        made
    """)
        == ["TypeError"] * 8
    )


def test_lists_that_do_not_end_end_with_the_budget():
    code = "await crypto.subtle.generateKey({ name: 'AES-GCM', length: 128 }, true, { *[Symbol.iterator]() { for (;;) yield 'encrypt'; } })"
    assert failed(code, Limits(cpu_seconds=0.2)).error.kind is ErrorKind.CPU_LIMIT


def test_unwrapped_bytes_that_are_no_key_are_data_errors():
    assert (
        crypto("""
        const aes = await s.generateKey({ name: 'AES-GCM', length: 128 }, false, ['encrypt', 'unwrapKey']),
          how = { name: 'AES-GCM', iv: new Uint8Array(12) };
        const made = [];
        for (const text of [utf8('no json'), utf8('null'), utf8('5'), utf8('[]'), utf8('{"kty":5}'),
          utf8('{"kty":"oct","k":{},"key_ops":1}'), bytes('ff'), utf8('')])
          made.push(await refusal(async () => s.unwrapKey('jwk', await s.encrypt(how, aes, text), aes, how,
            'AES-CBC', true, ['encrypt'])));
        made
    """)
        == ["DataError"] * 8
    )
