"""Settings of the tests of storages."""

from __future__ import annotations

from aws.fixtures import (  # noqa: F401  # pytest finds fixtures by their names here
    aws_environment,
    bucket,
    ministack,
    moto_aws,
    shared_ministack,
    table,
)
