"""The harness with real servers: what starts and stops processes can only be shown with processes.

These are no unit tests, so the rule against sleeping does not hold for them: waiting for a process to end sleeps inside
the standard library. They lie here because the code they test does; nothing of raycache or Ray runs in them.
"""

from __future__ import annotations

import pytest

from tests.support import require_program


@pytest.fixture(autouse=True)
def no_sleeping() -> None:
    """Takes the place of the rule for unit tests."""


@pytest.fixture(autouse=True)
def redis_is_installed() -> None:
    for name in ("redis-server", "redis-benchmark", "redis-cli"):
        require_program(name, "redis-server")
