from __future__ import annotations

import pytest
from aws.emulators import REGION, client, create_bucket, create_table
from contracts.storage import StorageContract

from sequential_core.storage.dynamodb import DynamoDBStorage


class TestDynamoDBStorageOnMoto(StorageContract):
    @pytest.fixture
    def storage(self, moto_aws, clock):
        table = create_table(client("dynamodb", None), "tasks")
        bucket = create_bucket(client("s3", None), "states")
        return DynamoDBStorage(table, bucket=bucket, region=REGION, clock=clock)


class TestDynamoDBStorageOnMinistack(StorageContract):
    @pytest.fixture
    def storage(self, ministack, table, bucket, clock):
        return DynamoDBStorage(table, bucket=bucket, region=REGION, endpoint=ministack.url, clock=clock)
