"""The key that signs callbacks and the URLs of events: a secret of AWS Secrets Manager."""

from __future__ import annotations

import threading

from sequential_core.driver.keys import read_key
from sequential_core.storage import aws


class SigningKey:
    """Reads the key when it is first needed, and keeps it: with SnapStart, no snapshot has it.

    Args:
        secret: ARN of the secret; None: there is no key.
    """

    def __init__(self, secret: str | None) -> None:
        self._secret = secret
        self._key: bytes | None = None
        self._lock = threading.Lock()

    def __call__(self) -> bytes | None:
        """The key; None if there is none.

        Raises:
            StorageBusyError, StorageError: it could not be read.
            ConfigurationError: what the secret has is no key.
        """
        if self._secret is None:
            return None
        with self._lock:
            if self._key is None:
                with aws.errors():
                    answer = aws.client("secretsmanager").get_secret_value(SecretId=self._secret)
                self._key = read_key(answer["SecretString"], self._secret)
            return self._key
