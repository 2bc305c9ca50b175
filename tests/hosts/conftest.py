"""Several machines for the tests in this folder: skipped where they cannot be had, but not under CI=true with root."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from raycache.testing.hosts import Hosts, why_unavailable


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    if reason := why_unavailable():
        if os.environ.get("CI") == "true" and os.geteuid() == 0:
            pytest.fail(reason)
        pytest.skip(reason)
    with Hosts() as running:
        yield running
