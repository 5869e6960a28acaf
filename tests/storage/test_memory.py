from __future__ import annotations

import pytest
from contracts.storage import StorageContract

from sequential_core.storage.memory import MemoryStorage


class TestMemoryStorage(StorageContract):
    @pytest.fixture
    def storage(self, clock):
        return MemoryStorage(clock=clock)
