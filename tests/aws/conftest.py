"""Settings of the tests against an emulated AWS."""

from __future__ import annotations

from aws.fixtures import (  # noqa: F401  # pytest finds fixtures by their names here
    aws_environment,
    bucket,
    ministack,
    moto_aws,
    proxy,
    shared_ministack,
    shared_proxy,
    table,
)
