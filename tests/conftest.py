"""Shared by all tests: how Hypothesis runs, and that no test leaves loggers quieter than it found them."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from hypothesis import settings

# How long an example takes says something of the machine, not of the code.
settings.register_profile("raycache", deadline=None)
settings.load_profile("raycache")


@pytest.fixture(autouse=True)
def same_log_levels() -> Iterator[None]:
    """The command line silences these for its process, and that is the tests' when one calls it directly."""
    loggers = [logging.getLogger(name) for name in ("ray", "raycache")]
    before = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)
