"""The signing key of an installation: of callbacks, and of URLs that take an event.

As text it is written as Standard Webhooks has it, "whsec_" and base64, which is what receivers give to their library.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import secrets
import stat
from pathlib import Path

from sequential_core.driver.signing import LEAST_KEY_BYTES
from sequential_core.errors import ConfigurationError, OperatorError
from sequential_core.storage.url import data_directory

ENVIRONMENT_VARIABLE = "SEQUENTIAL_SIGNING_KEY"

_PREFIX = "whsec_"
_FILE = "signing-key"


def signing_key() -> bytes:
    """The key of SEQUENTIAL_SIGNING_KEY, or else of a file in the user's data directory, which is made if need be.

    Raises:
        ConfigurationError: the variable, or the file, has no key.
        OperatorError: the file cannot be read or made, or others can read it.
    """
    if given := os.environ.get(ENVIRONMENT_VARIABLE):
        return read_key(given, ENVIRONMENT_VARIABLE)
    try:
        path = data_directory() / _FILE
        return _of_file(path) if path.exists() else _made(path)
    except OSError as error:
        raise OperatorError(
            f"no signing key can be read or made in the user's data directory; set {ENVIRONMENT_VARIABLE}"
        ) from error


def read_key(text: str, source: str) -> bytes:
    """The key that a text is: base64 behind "whsec_", or else the text itself.

    Args:
        text: white space around it does not count.
        source: where it comes from, for the error.

    Raises:
        ConfigurationError: it is no base64, or has fewer than 32 bytes.
    """
    text = text.strip()
    if text.startswith(_PREFIX):
        try:
            key = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
        except (ValueError, binascii.Error):
            raise ConfigurationError(source, f"behind {_PREFIX} it must be base64") from None
    else:
        key = text.encode()
    if len(key) < LEAST_KEY_BYTES:
        raise ConfigurationError(source, f"a signing key has at least {LEAST_KEY_BYTES} bytes")
    return key


def write_key(key: bytes) -> str:
    """The text of a key, for those who check signatures."""
    return _PREFIX + base64.b64encode(key).decode()


def _of_file(path: Path) -> bytes:
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise OperatorError(f"others may use the signing key {path}; let only its owner read it (chmod 600)")
    return read_key(path.read_text(encoding="ascii", errors="replace"), str(path))


def _made(path: Path) -> bytes:
    """A new key, in the file; or the one of another process that was quicker."""
    made = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(write_key(secrets.token_bytes(LEAST_KEY_BYTES)) + "\n")
            file.flush()
            os.fsync(file.fileno())
        # Whole or not at all, and never in the place of another: what was signed with that one must stay good.
        with contextlib.suppress(FileExistsError):
            os.link(made, path)
    finally:
        made.unlink()
    return _of_file(path)
