"""A fresh shard for each test."""

from __future__ import annotations

import pytest

from tests.unit.shard.harness import Shard


@pytest.fixture
def shard() -> Shard:
    return Shard()
