"""Several machines for the tests in this folder: skipped where they cannot be had, but not under CI=true with root."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from raycache.testing.hosts import Hosts, why_unavailable


def require_hosts() -> None:
    """Skip where there can be no hosts; but fail under CI=true as root, where only a fault can be in the way."""
    if reason := why_unavailable():
        if os.environ.get("CI") == "true" and os.geteuid() == 0:
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    require_hosts()
    with Hosts() as running:
        yield running
