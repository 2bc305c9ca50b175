"""Shared by all tests: how Hypothesis runs, that no test leaves loggers quieter than it found them, and what runs
beside what (`lanes`)."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

from tests import lanes

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


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> lanes.Lanes:
    config.option.loadscopereorder = False
    return lanes.Lanes(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: lanes.rank(item.nodeid))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Thousands of tests are a million objects that stay to the end: no collection need look at them again."""
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """One of several processes that has come to what only computes stays behind those that wait."""
    if hasattr(item.config, "workerinput") and lanes.is_computing(item.nodeid):
        os.nice(max(0, lanes.NICENESS - os.nice(0)))
