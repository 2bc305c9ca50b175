"""A PostgreSQL for the session, and a Ray of its own for the tests that kill shards."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.stores.postgres import Postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with Postgres() as server:
        yield server
