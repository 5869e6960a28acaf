"""`crypto` and `crypto.subtle`: vectors of the standards, Python on the other side, keys at a pause."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, x25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from support import run_cut, suspended
from webcrypto_programs import (
    CURVES,
    HASHES,
    PASSWORD,
    crypto,
    pkcs8,
    refused,
    rsa_key,
    spki,
    with_helpers,
)

from sequential_core.pending import ValueAnswer
from sequential_core.vm import program as programs

# --- Crypto ------------------------------------------------------------------------------------------


def test_random_values_fill_the_array_and_only_it():
    assert crypto("""
        const all = new Uint8Array(48), part = new BigUint64Array(all.buffer, 16, 2);
        [crypto.getRandomValues(part) === part, hex(all.slice(0, 16)) === '00'.repeat(16), part[0] !== part[1],
         hex(all.slice(32)) === '00'.repeat(16), crypto.getRandomValues(new Uint8Array(0)).length,
         crypto.getRandomValues(new Uint8ClampedArray(65536)).some((n) => n > 0),
           crypto.getRandomValues(new Int16Array(9)).length]
    """) == [True, True, True, True, 0, True, 9]


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("new Float32Array(1)", "TypeMismatchError"),
        ("new Float64Array(1)", "TypeMismatchError"),
        ("new DataView(new ArrayBuffer(8))", "TypeMismatchError"),
        ("new Uint8Array(65537)", "QuotaExceededError"),
        ("new Uint32Array(16385)", "QuotaExceededError"),
        ("new ArrayBuffer(8)", "TypeError"),
        ("[1, 2]", "TypeError"),
        ("", "TypeError"),
        ("{ length: 4 }", "TypeError"),
        ("new Uint8Array(new ArrayBuffer(8, { maxByteLength: 16 }))", "TypeError"),
    ],
)
def test_random_values_are_for_integers_and_for_64_kib(given, name):
    assert refused(f"crypto.getRandomValues({given})") == name


def test_uuids_are_of_version_4():
    made = crypto("[1, 2, 3, 4].map(() => crypto.randomUUID())")
    assert len(set(made)) == 4
    for each in made:
        head, _, version, variant, _ = each.split("-")
        assert (len(each), len(head), version[0], variant[0] in "89ab") == (36, 8, "4", True)


def test_two_resumptions_of_a_state_share_no_random_numbers():
    paused = suspended(
        with_helpers("""
        await PAUSE(); const key = await s.generateKey({ name: 'HMAC', hash: 'SHA-256' }, true, ['sign']);
        [crypto.randomUUID(), hex(crypto.getRandomValues(new Uint8Array(16))), hex(await s.exportKey('raw', key))]
    """)
    )
    both = [programs.resume(paused.state, {1: ValueAnswer(None)}).result for _ in range(2)]
    assert not set(both[0]) & set(both[1])


def test_the_classes_cannot_be_constructed_and_look_as_they_should():
    assert crypto("""
        const key = await s.importKey('raw', new Uint8Array(16), 'AES-GCM', true, ['decrypt', 'encrypt', 'encrypt']);
        const thrown = (f) => { try { f(); } catch (e) { return e.name; } };
        [thrown(() => new Crypto()), thrown(() => new SubtleCrypto()), thrown(() => new CryptoKey()), `${crypto}`,
          `${s}`, `${key}`,
         crypto.subtle === s, key instanceof CryptoKey, key.type, key.extractable, key.algorithm, key.usages,
         key.usages === key.usages && key.algorithm === key.algorithm, Object.keys(key), JSON.stringify(key),
         thrown(() => crypto.getRandomValues.call({}, new Uint8Array(1))), await refusal(() => s.digest.call({},
           'SHA-1', utf8(''))),
         thrown(() => Object.getOwnPropertyDescriptor(CryptoKey.prototype, 'type').get.call({})),
           Object.keys(globalThis).includes('crypto')]
    """) == [
        *["TypeError"] * 3, "[object Crypto]", "[object SubtleCrypto]", "[object CryptoKey]",
        True, True, "secret", True, {"name": "AES-GCM", "length": 128}, ["encrypt", "decrypt"],
        True, [], "{}", "TypeError", "TypeError", "TypeError", False,
    ]  # fmt: skip


# --- Vectors of the standards --------------------------------------------------------------------------

ABC = {
    "SHA-1": "a9993e364706816aba3e25717850c26c9cd0d89d",
    "SHA-256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    "SHA3-256": "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532",
}


def test_digests():
    names = ["SHA-1", "SHA-256", "SHA-384", "SHA-512", "SHA3-256", "SHA3-384", "SHA3-512"]
    made = crypto(
        """
        const made = {};
        for (const name of names) made[name] = hex(await s.digest({ name: name.toLowerCase() }, utf8('abc')));
        made
        """,
        names=names,
    )
    assert made == {
        name: hashlib.new(name.lower().replace("sha-", "sha").replace("-", "_"), b"abc").hexdigest() for name in names
    }
    assert made | ABC == made


@pytest.mark.parametrize(
    ("name", "expected"),
    [  # RFC 2202 and 4231, test case 2
        ("SHA-1", "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
        ("SHA-256", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
        (
            "SHA-384",
            "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649",
        ),
        (
            "SHA-512",
            (
                "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
                "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"
            ),
        ),
    ],
)
def test_hmac(name, expected):
    assert crypto(
        """
        const key = await s.importKey('raw', utf8('Jefe'), { name: 'hmac', hash }, false, ['sign', 'verify']);
        const data = utf8('what do ya want for nothing?'), made = await s.sign('HMAC', key, data);
        [hex(made), await s.verify('HMAC', key, made, data), await s.verify('HMAC', key, made, utf8('?')),
         await s.verify('HMAC', key, new Uint8Array(made, 0, 8), data)]
        """,
        hash=name,
    ) == [expected, True, False, False]


def test_aes_gcm():
    # McGrew and Viega, test case 4; the tag is cut for a shorter tagLength.
    result = crypto("""
        const key = await s.importKey('raw', bytes('feffe9928665731c6d6a8f9467308308'), 'AES-GCM', true, ['encrypt',
          'decrypt']);
        const plain = bytes('d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72' +
          '1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39');
        const params = { name: 'AES-GCM', iv: bytes('cafebabefacedbaddecaf888'),
          additionalData: bytes('feedfacedeadbeeffeedfacedeadbeefabaddad2') };
        const made = await s.encrypt(params, key, plain), short = await s.encrypt({ ...params, tagLength: 96 }, key,
          plain);
        const broken = new Uint8Array(made.slice(0)); broken[0] ^= 1;
        [hex(made), hex(short) === hex(made).slice(0, -8), hex(await s.decrypt(params, key, made)) === hex(plain),
         hex(await s.decrypt({ ...params, tagLength: 96 }, key, short)) === hex(plain),
           await refusal(() => s.decrypt(params, key, broken)),
         await refusal(() => s.decrypt({ ...params, additionalData: utf8('') }, key, made)),
           await refusal(() => s.decrypt(params, key, utf8('x')))]
    """)
    assert result == [
        ("42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac97"
        "3d58e0915bc94fbc3221a5db94fae95ae7121a47"),
        True, True, True, "OperationError", "OperationError", "OperationError",
    ]  # fmt: skip


def test_aes_cbc_and_ctr():
    # NIST SP 800-38A, F.2.1 and F.5.1
    assert crypto("""
        const raw = bytes('2b7e151628aed2a6abf7158809cf4f3c'), plain = bytes('6bc1bee22e409f96e93d7e117393172a');
        const cbc = await s.importKey('raw', raw, 'AES-CBC', true, ['encrypt', 'decrypt']);
        const ctr = await s.importKey('raw', raw, 'AES-CTR', true, ['encrypt', 'decrypt']);
        const iv = bytes('000102030405060708090a0b0c0d0e0f'), counter = bytes('f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff');
        const one = await s.encrypt({ name: 'AES-CBC', iv }, cbc, plain), two = await s.encrypt({ name: 'AES-CTR',
          counter, length: 64 }, ctr, plain);
        // A counter of 8 bits goes from ff to 00, and leaves the other bits.
        const zeros = new Uint8Array(32), wrapped = await s.encrypt({ name: 'AES-CTR', counter, length: 8 }, ctr,
          zeros);
        const next = await s.encrypt({ name: 'AES-CTR', counter: bytes('f0f1f2f3f4f5f6f7f8f9fafbfcfdfe00'),
          length: 128 }, ctr, new Uint8Array(16));
        [hex(one).slice(0, 32), one.byteLength, hex(await s.decrypt({ name: 'AES-CBC', iv }, cbc, one)), hex(two),
         hex(await s.decrypt({ name: 'AES-CTR', counter, length: 64 }, ctr, two)),
           hex(wrapped).slice(32) === hex(next),
         await refusal(() => s.encrypt({ name: 'AES-CTR', counter, length: 1 }, ctr, new Uint8Array(33))),
         await refusal(() => s.decrypt({ name: 'AES-CBC', iv }, cbc, new Uint8Array(15)))]
    """) == [
        "7649abac8119b246cee98e9b12e9197d", 32, "6bc1bee22e409f96e93d7e117393172a", "874d6191b620e3261bef6864990db6ce",
        "6bc1bee22e409f96e93d7e117393172a", True, "OperationError", "OperationError",
    ]  # fmt: skip


def test_aes_kw():
    # RFC 3394, 4.1
    assert crypto("""
        const kek = await s.importKey('raw', bytes('000102030405060708090a0b0c0d0e0f'), 'AES-KW', false, ['wrapKey',
          'unwrapKey']);
        const key = await s.importKey('raw', bytes('00112233445566778899aabbccddeeff'), 'AES-CBC', true, ['encrypt']);
        const wrapped = await s.wrapKey('raw', key, kek, 'AES-KW');
        const back = await s.unwrapKey('raw', wrapped, kek, 'AES-KW', 'AES-CBC', true, ['encrypt']);
        const asJwk = await s.wrapKey('jwk', key, kek, 'AES-KW'), again = await s.unwrapKey('jwk', asJwk, kek,
          'AES-KW', 'AES-CBC', true, ['encrypt']);
        [hex(wrapped), hex(await s.exportKey('raw', back)), hex(await s.exportKey('raw', again)),
         await refusal(() => s.unwrapKey('raw', new Uint8Array(24), kek, 'AES-KW', 'AES-CBC', true, ['encrypt']))]
    """) == [
        "1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5", *["00112233445566778899aabbccddeeff"] * 2, "OperationError",
    ]  # fmt: skip


def test_pbkdf2_and_hkdf():
    # RFC 6070, RFC 7914 (11), RFC 5869 (A.1)
    assert crypto("""
        const password = await s.importKey('raw', utf8('password'), 'PBKDF2', false, ['deriveBits']);
        const passwd = await s.importKey('raw', utf8('passwd'), 'PBKDF2', false, ['deriveBits']);
        const ikm = await s.importKey('raw', bytes('0b'.repeat(22)), 'HKDF', false, ['deriveBits', 'deriveKey']);
        const hkdf = { name: 'HKDF', hash: 'SHA-256', salt: bytes('000102030405060708090a0b0c'),
          info: bytes('f0f1f2f3f4f5f6f7f8f9') };
        const aes = await s.deriveKey(hkdf, ikm, { name: 'AES-GCM', length: 128 }, true, ['encrypt']);
        const mac = await s.deriveKey(hkdf, ikm, { name: 'HMAC', hash: 'SHA-256' }, true, ['sign']);
        [hex(await s.deriveBits({ name: 'PBKDF2', hash: 'SHA-1', salt: utf8('salt'), iterations: 1 }, password, 160)),
         hex(await s.deriveBits({ name: 'PBKDF2', hash: 'SHA-1', salt: utf8('salt'), iterations: 4096 }, password,
           160)),
         hex(await s.deriveBits({ name: 'PBKDF2', hash: 'SHA-256', salt: utf8('salt'), iterations: 1 }, passwd, 512)),
         hex(await s.deriveBits(hkdf, ikm, 42 * 8)), hex(await s.exportKey('raw', aes)), mac.algorithm.length,
         (await s.deriveBits(hkdf, ikm, 0)).byteLength]
    """) == [
        "0c60c80f961f0e71f3a9b524af6012062fe037a6", "4b007901b765489abead49d926f721d065a429c1",
        ("55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"
        "49ca9cccf179b645991664b39d77ef317c71b845b1e30bd509112041d3a19783"),
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        "3cb25f25faacd57a90434f64d0362f2a", 512, 0,
    ]  # fmt: skip


def test_ed25519():
    # RFC 8032, 7.1, test 2
    assert crypto("""
        const secret = '4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb';
        const point = '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c';
        const jwk = { kty: 'OKP', crv: 'Ed25519', d: url(bytes(secret)), x: url(bytes(point)) };
        const key = await s.importKey('jwk', jwk, 'Ed25519', true, ['sign']), open = await s.importKey('raw',
          bytes(point), 'Ed25519', true, ['verify']);
        const made = await s.sign('Ed25519', key, bytes('72'));
        [hex(made), await s.verify('Ed25519', open, made, bytes('72')), await s.verify('Ed25519', open, made,
          bytes('73')),
         await s.verify('Ed25519', open, bytes('00'), bytes('72')), (await s.exportKey('jwk', key)).d === jwk.d]
    """) == [
        ("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"),
        True, False, False, True,
    ]  # fmt: skip


PAYLOAD = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"


def test_json_web_signatures():
    # RFC 7515, A.1 and A.3
    assert crypto(
        """
        const k = 'AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow';
        const oct = { kty: 'oct', k };
        const mac = await s.importKey('jwk', oct, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']);
        const point = { kty: 'EC', crv: 'P-256', x: 'f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU',
          y: 'x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0' };
        const open = await s.importKey('jwk', point, { name: 'ECDSA', namedCurve: 'P-256' }, false, ['verify']);
        const signature = unurl('DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXF' +
          'CgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q');
        [url(await s.sign('HMAC', mac, utf8('eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.' + payload))),
         await s.verify({ name: 'ECDSA', hash: 'SHA-256' }, open, signature, utf8('eyJhbGciOiJFUzI1NiJ9.' + payload)),
         await s.verify({ name: 'ECDSA', hash: 'SHA-256' }, open, signature, utf8('eyJhbGciOiJFUzI1NiJ9.'))]
        """,
        payload=PAYLOAD,
    ) == ["dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", True, False]


# --- Python on the other side -----------------------------------------------------------------------------


@pytest.mark.parametrize("hash_name", HASHES)
@pytest.mark.parametrize("name", ["RSASSA-PKCS1-v1_5", "RSA-PSS"])
def test_rsa_signatures(name, hash_name):
    key, algorithm = rsa_key(), HASHES[hash_name]
    scheme = padding.PSS(padding.MGF1(algorithm), 20) if name == "RSA-PSS" else padding.PKCS1v15()
    theirs = key.sign(b"data", scheme, algorithm)
    made, valid, invalid = crypto(
        """
        const how = { name, saltLength: 20 }, kind = { name, hash };
        const own = await s.importKey('pkcs8', bytes(pkcs8), kind, false, ['sign']), open = await s.importKey('spki',
          bytes(spki), kind, true, ['verify']);
        [hex(await s.sign(how, own, utf8('data'))), await s.verify(how, open, bytes(theirs), utf8('data')),
         await s.verify(how, open, bytes(theirs), utf8('Data'))]
        """,
        pkcs8=pkcs8(key), spki=spki(key), name=name, hash=hash_name, theirs=theirs.hex(),
    )  # fmt: skip
    key.public_key().verify(bytes.fromhex(made), b"data", scheme, algorithm)
    assert (valid, invalid) == (True, False)


@pytest.mark.parametrize(("hash_name", "label"), [("SHA-1", b""), ("SHA-256", b"label"), ("SHA-512", b"\0")])
def test_rsa_encryption(hash_name, label):
    key, algorithm = rsa_key(), HASHES[hash_name]
    scheme = padding.OAEP(padding.MGF1(algorithm), algorithm, label)
    theirs = key.public_key().encrypt(b"secret", scheme)
    made, decrypted, bad, long = crypto(
        """
        const how = { name: 'RSA-OAEP', label: bytes(label) }, kind = { name: 'RSA-OAEP', hash };
        const own = await s.importKey('pkcs8', bytes(pkcs8), kind, false, ['decrypt']),
          open = await s.importKey('spki', bytes(spki), kind, true, ['encrypt']);
        [hex(await s.encrypt(how, open, utf8('answer'))), hex(await s.decrypt(how, own, bytes(theirs))),
         await refusal(() => s.decrypt({ ...how, label: utf8('other') }, own, bytes(theirs))),
         await refusal(() => s.encrypt(how, open, new Uint8Array(256)))]
        """,
        pkcs8=pkcs8(key), spki=spki(key), hash=hash_name, label=label.hex(), theirs=theirs.hex(),
    )  # fmt: skip
    assert key.decrypt(bytes.fromhex(made), scheme) == b"answer"
    assert (bytes.fromhex(decrypted), bad, long) == (b"secret", "OperationError", "OperationError")


@pytest.mark.parametrize("curve", CURVES)
def test_ecdsa_signatures_are_r_and_s(curve):
    key = ec.generate_private_key(CURVES[curve])
    size = (key.key_size + 7) // 8
    theirs = b"".join(
        n.to_bytes(size, "big") for n in decode_dss_signature(key.sign(b"data", ec.ECDSA(HASHES["SHA-384"])))
    )
    made, valid, invalid, short = crypto(
        """
        const how = { name: 'ECDSA', hash: 'SHA-384' }, kind = { name: 'ECDSA', namedCurve };
        const own = await s.importKey('pkcs8', bytes(pkcs8), kind, false, ['sign']), open = await s.importKey('spki',
          bytes(spki), kind, true, ['verify']);
        [hex(await s.sign(how, own, utf8('data'))), await s.verify(how, open, bytes(theirs), utf8('data')),
         await s.verify(how, open, bytes(theirs), utf8('Data')), await s.verify(how, open, bytes(theirs).slice(1),
           utf8('data'))]
        """,
        pkcs8=pkcs8(key), spki=spki(key), namedCurve=curve, theirs=theirs.hex(),
    )  # fmt: skip
    data = bytes.fromhex(made)
    numbers = (int.from_bytes(part, "big") for part in (data[:size], data[size:]))
    key.public_key().verify(encode_dss_signature(*numbers), b"data", ec.ECDSA(HASHES["SHA-384"]))
    assert (len(data), valid, invalid, short) == (2 * size, True, False, False)


@pytest.mark.parametrize("curve", [*CURVES, "X25519"])
def test_shared_secrets(curve):
    if curve == "X25519":
        own, other = x25519.X25519PrivateKey.generate(), x25519.X25519PrivateKey.generate()
        secret = own.exchange(other.public_key())
    else:
        own, other = (ec.generate_private_key(CURVES[curve]) for _ in range(2))
        secret = own.exchange(ec.ECDH(), other.public_key())
    result = crypto(
        """
        const name = curve === 'X25519' ? curve : 'ECDH', kind = { name, namedCurve: curve };
        const own = await s.importKey('pkcs8', bytes(pkcs8), kind, false, ['deriveBits', 'deriveKey']),
          open = await s.importKey('spki', bytes(spki), kind, true, []);
        const how = { name, public: open }, other = (await s.generateKey({ name: 'ECDH', namedCurve: 'P-256' },
          false, ['deriveBits'])).publicKey;
        const key = await s.deriveKey(how, own, { name: 'AES-GCM', length: 256 }, true, ['encrypt']);
        [hex(await s.deriveBits(how, own)), hex(await s.deriveBits(how, own, 11)), hex(await s.exportKey('raw', key)),
         await refusal(() => s.deriveBits(how, own, 10000)), await refusal(() => s.deriveBits({ name, public: own },
           own, 8)),
         await refusal(() => s.deriveBits({ name, public: 1 }, own, 8)),
           curve === 'P-256' ? '' : await refusal(() => s.deriveBits({ name, public: other }, own, 8))]
        """,
        curve=curve, pkcs8=pkcs8(own), spki=spki(other),
    )  # fmt: skip
    eleven = bytes([secret[0], secret[1] & 0b11100000])
    assert result[:3] == [secret.hex(), eleven.hex(), secret[:32].hex()]
    assert result[3:6] == ["OperationError", "InvalidAccessError", "TypeError"]
    assert result[6] in {"", "InvalidAccessError"}


KEYS = {
    "RSASSA-PKCS1-v1_5": (rsa_key, {"hash": "SHA-256"}, ["sign"], ["verify"]),
    "RSA-PSS": (rsa_key, {"hash": "SHA-512"}, ["sign"], ["verify"]),
    "RSA-OAEP": (rsa_key, {"hash": "SHA-1"}, ["decrypt", "unwrapKey"], ["encrypt", "wrapKey"]),
    "ECDSA": (lambda: ec.generate_private_key(ec.SECP521R1()), {"namedCurve": "P-521"}, ["sign"], ["verify"]),
    "ECDH": (lambda: ec.generate_private_key(ec.SECP384R1()), {"namedCurve": "P-384"}, ["deriveBits"], []),
    "Ed25519": (ed25519.Ed25519PrivateKey.generate, {}, ["sign"], ["verify"]),
    "X25519": (x25519.X25519PrivateKey.generate, {}, ["deriveKey", "deriveBits"], []),
}


@pytest.mark.parametrize("name", KEYS)
def test_keys_are_the_same_in_every_format(name):
    make, params, own, other = KEYS[name]
    key = make()
    private, public, formats, described = crypto(
        """
        const kind = { name, ...params }, formats = [];
        const key = await s.importKey('pkcs8', bytes(pkcs8), kind, true, own), jwk = await s.exportKey('jwk', key);
        const again = await s.importKey('jwk', jwk, kind, true, own), open = await s.importKey('spki', bytes(spki),
          kind, true, other);
        const openJwk = await s.exportKey('jwk', open), back = await s.importKey('jwk', openJwk, kind, true, other);
        const { d, p, q, dp, dq, qi, alg, ext, key_ops, ...rest } = jwk, shared = JSON.stringify(rest);
        for (const name of Object.keys(rest)) formats.push(rest[name] === openJwk[name]);
        formats.push(hex(await s.exportKey('spki', back)) === spki, key_ops.join(), ext, openJwk.key_ops.join());
        if (!name.startsWith('RSA')) {
          const raw = await s.importKey('raw', await s.exportKey('raw', open), kind, true, other);
          formats.push(hex(await s.exportKey('spki', raw)) === spki);
        }
        const wrong = [await refusal(() => s.exportKey('spki', key)), await refusal(() => s.exportKey('pkcs8',
          open)), await refusal(() => s.exportKey('raw', key))];
        [hex(await s.exportKey('pkcs8', again)), hex(await s.exportKey('spki', open)), formats.concat(wrong),
          [key.type, open.type, alg ?? null]]
        """,
        name=name, params=params, own=own, other=other, pkcs8=pkcs8(key), spki=spki(key),
    )  # fmt: skip
    numbers = serialization.load_der_private_key(bytes.fromhex(private), None)
    assert pkcs8(numbers) == pkcs8(key)
    assert public == spki(key)
    raw = "NotSupportedError" if name.startswith("RSA") else "InvalidAccessError"
    assert [each for each in formats if each is not True] == [
        ",".join(own), ",".join(other), "InvalidAccessError", "InvalidAccessError", raw,
    ]  # fmt: skip
    algs = {"RSASSA-PKCS1-v1_5": "RS256", "RSA-PSS": "PS512", "RSA-OAEP": "RSA-OAEP", "Ed25519": "Ed25519"}
    assert described == ["private", "public", algs.get(name)]


def test_generated_keys_work():
    assert crypto("""
        const pairs = [], data = utf8('data');
        for (const [name, params] of [['ECDSA', { namedCurve: 'P-384' }], ['Ed25519'], ['RSA-PSS', { hash: 'SHA-256',
          modulusLength: 2048, publicExponent: bytes('010001') }]]) {
          const { privateKey, publicKey } = await s.generateKey({ name, ...params }, false, ['sign', 'verify']);
          const how = { name, hash: 'SHA-256', saltLength: 32 };
          pairs.push(await s.verify(how, publicKey, await s.sign(how, privateKey, data), data),
            privateKey.extractable, publicKey.extractable, privateKey.usages, publicKey.usages);
          if (name === 'RSA-PSS') pairs.push(publicKey.algorithm.modulusLength,
            hex(publicKey.algorithm.publicExponent), publicKey.algorithm.hash.name);
        }
        const mac = await s.generateKey({ name: 'HMAC', hash: 'SHA-512', length: 12 }, true, ['sign']);
        pairs.concat([mac.algorithm.length, (await s.exportKey('raw', mac)).byteLength,
          new Uint8Array(await s.exportKey('raw', mac))[1] & 15,
          (await s.exportKey('jwk', mac)).alg])
    """) == [*[True, False, True, ["sign"], ["verify"]] * 3, 2048, "010001", "SHA-256", 12, 2, 0, "HS512"]


# --- Pauses ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extractable", ["true", "false"])
def test_keys_of_each_kind_live_across_a_pause(extractable):
    code = with_helpers(
        f"""
        const e = {extractable}, data = utf8('data'), iv = new Uint8Array(16);
        const mac = await s.importKey('raw', utf8('secret'), {{ name: 'HMAC', hash: 'SHA-256' }}, e, ['sign',
          'verify']);
        const aes = await s.generateKey({{ name: 'AES-CBC', length: 192 }}, e, ['encrypt', 'decrypt']);
        const made = await s.encrypt({{ name: 'AES-CBC', iv }}, aes, data), signed = await s.sign('HMAC', mac, data);
        const own = await s.importKey('pkcs8', bytes(pkcs8), {{ name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }}, e,
          ['sign']);
        const ed = await s.generateKey('Ed25519', e, ['sign', 'verify']), x = await s.generateKey('X25519', e,
          ['deriveBits']);
        const word = {PASSWORD}, how = {{ name: 'PBKDF2', hash: 'SHA-1', salt: data, iterations: 1 }},
          bits = hex(await s.deriveBits(how, word, 64));
        const before = await s.sign('RSASSA-PKCS1-v1_5', own, data), later = s.digest('SHA-1', data);
        await PAUSE();
        [hex(await s.sign('HMAC', mac, data)) === hex(signed), hex(await s.decrypt({{ name: 'AES-CBC', iv }}, aes,
          made)) === hex(data),
         hex(await s.sign('RSASSA-PKCS1-v1_5', own, data)) === hex(before), await s.verify('Ed25519', ed.publicKey,
           await s.sign('Ed25519', ed.privateKey, data), data),
         hex(await s.deriveBits({{ name: 'X25519', public: x.publicKey }}, x.privateKey, 256)).length,
           hex(await s.deriveBits(how, word, 64)) === bits,
         mac.extractable, mac.usages, mac.algorithm, own.algorithm.modulusLength, hex(await later).slice(0, 8)]
        """,
        pkcs8=pkcs8(rsa_key()),
    )
    run = run_cut(code)
    assert run.pauses == 1
    assert run.result == [
        True, True, True, True, 64, True, extractable == "true", ["sign", "verify"],
        {"name": "HMAC", "hash": {"name": "SHA-256"}, "length": 48}, 2048, hashlib.sha1(b"data").hexdigest()[:8],
    ]  # fmt: skip


def test_a_key_costs_a_state_little():
    bare = len(suspended(with_helpers("await PAUSE()")).state)
    make = "const key = await s.importKey('raw', utf8('0123456789abcdef'), 'AES-GCM', false, ['encrypt']);"
    keyed = len(suspended(with_helpers(f"{make} await PAUSE(); key.type")).state)
    assert keyed - bare < 1500
