"""AES and HKDF for `crypto.subtle`, see `webcrypto`."""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap
from cryptography.hazmat.primitives.padding import PKCS7

from sequential_core.vm.host import Operation, Refusal
from sequential_core.vm.webcrypto import bound_derivation

HASHES: dict[str, hashes.HashAlgorithm] = {
    "SHA-1": hashes.SHA1(),  # noqa: S303  # the API has it
    "SHA-256": hashes.SHA256(),
    "SHA-384": hashes.SHA384(),
    "SHA-512": hashes.SHA512(),
}

_BLOCK_BYTES, _BLOCK_BITS = 16, 128

# Web Cryptography API, 29.4.1.
_TAG_BITS = (32, 64, 96, 104, 112, 120, 128)

# What OpenSSL takes.
_LEAST_GCM_IV_BYTES, _MOST_GCM_IV_BYTES = 8, 128

_UNDECRYPTABLE = "The data cannot be decrypted with this key"


def _gcm(iv: bytes, tag_bits: str) -> int:
    """The length of the tag in bytes."""
    if int(tag_bits) not in _TAG_BITS:
        raise Refusal("OperationError", f"tagLength must be one of {', '.join(map(str, _TAG_BITS))}")
    if not _LEAST_GCM_IV_BYTES <= len(iv) <= _MOST_GCM_IV_BYTES:
        raise Refusal("OperationError", f"The iv must have {_LEAST_GCM_IV_BYTES} to {_MOST_GCM_IV_BYTES} bytes")
    return int(tag_bits) // 8


def _gcm_encrypt(key: bytes, iv: bytes, data: bytes, tag_bits: str, additional: bytes = b"") -> bytes:
    length = _gcm(iv, tag_bits)
    encryptor = Cipher(algorithms.AES(key), modes.GCM(iv)).encryptor()
    encryptor.authenticate_additional_data(additional)
    encrypted = encryptor.update(data) + encryptor.finalize()
    return encrypted + encryptor.tag[:length]


def _gcm_decrypt(key: bytes, iv: bytes, data: bytes, tag_bits: str, additional: bytes = b"") -> bytes:
    length = _gcm(iv, tag_bits)
    if len(data) < length:
        raise Refusal("OperationError", _UNDECRYPTABLE)
    mode = modes.GCM(iv, data[len(data) - length :], min_tag_length=length)
    decryptor = Cipher(algorithms.AES(key), mode).decryptor()
    decryptor.authenticate_additional_data(additional)
    try:
        return decryptor.update(data[: len(data) - length]) + decryptor.finalize()
    except InvalidTag:
        raise Refusal("OperationError", _UNDECRYPTABLE) from None


def _cbc(key: bytes, iv: bytes) -> Cipher[modes.CBC]:
    if len(iv) != _BLOCK_BYTES:
        raise Refusal("OperationError", "The iv must have 16 bytes")
    return Cipher(algorithms.AES(key), modes.CBC(iv))


def _cbc_encrypt(key: bytes, iv: bytes, data: bytes) -> bytes:
    encryptor, padder = _cbc(key, iv).encryptor(), PKCS7(_BLOCK_BITS).padder()
    return encryptor.update(padder.update(data) + padder.finalize()) + encryptor.finalize()


def _cbc_decrypt(key: bytes, iv: bytes, data: bytes) -> bytes:
    decryptor, unpadder = _cbc(key, iv).decryptor(), PKCS7(_BLOCK_BITS).unpadder()
    try:
        return unpadder.update(decryptor.update(data) + decryptor.finalize()) + unpadder.finalize()
    except ValueError:
        raise Refusal("OperationError", _UNDECRYPTABLE) from None


def _ctr(key: bytes, counter: bytes, data: bytes, counter_bits: str) -> bytes:
    """Encrypts, or decrypts: only the last `counter_bits` of the counter count, and begin again at zero (28.4.1)."""
    bits = int(counter_bits)
    if len(counter) != _BLOCK_BYTES:
        raise Refusal("OperationError", "The counter must have 16 bytes")
    if not 1 <= bits <= _BLOCK_BITS:
        raise Refusal("OperationError", "The length of the counter must be 1 to 128 bits")
    if -(-len(data) // _BLOCK_BYTES) > 1 << bits:
        raise Refusal("OperationError", "The data is too long for the counter")
    value = int.from_bytes(counter, "big")
    mask = (1 << bits) - 1
    # OpenSSL's counter has 128 bits: it is set anew where ours begins again.
    before = min(len(data), ((1 << bits) - (value & mask)) * _BLOCK_BYTES)
    first = _ctr_run(key, counter, data[:before])
    if before == len(data):
        return first
    return first + _ctr_run(key, (value & ~mask).to_bytes(_BLOCK_BYTES, "big"), data[before:])


def _ctr_run(key: bytes, counter: bytes, data: bytes) -> bytes:
    encryptor = Cipher(algorithms.AES(key), modes.CTR(counter)).encryptor()
    return encryptor.update(data) + encryptor.finalize()


def _kw_wrap(key: bytes, data: bytes) -> bytes:
    try:
        return aes_key_wrap(key, data)
    except ValueError:
        raise Refusal("OperationError", "AES-KW wraps multiples of 8 bytes, at least 16") from None


def _kw_unwrap(key: bytes, data: bytes) -> bytes:
    try:
        return aes_key_unwrap(key, data)
    except (InvalidUnwrap, ValueError):
        raise Refusal("OperationError", "The data cannot be unwrapped with this key") from None


def _hkdf(hash_name: str, secret: bytes, salt: bytes, info: bytes, length: str) -> bytes:
    algorithm, size = HASHES[hash_name], int(length)
    if size > 255 * algorithm.digest_size:
        raise Refusal("OperationError", f"HKDF with {hash_name} gives at most {255 * algorithm.digest_size} bytes")
    bound_derivation(hash_name, size, len(info))
    return HKDF(algorithm, size, salt, info).derive(secret) if size else b""


OPERATIONS: dict[str, Operation] = {
    "cbc_decrypt": _cbc_decrypt,
    "cbc_encrypt": _cbc_encrypt,
    "ctr": _ctr,
    "gcm_decrypt": _gcm_decrypt,
    "gcm_encrypt": _gcm_encrypt,
    "hkdf": _hkdf,
    "kw_unwrap": _kw_unwrap,
    "kw_wrap": _kw_wrap,
}
