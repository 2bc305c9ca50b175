"""Unit tests start no Ray and never sleep: either fails the test that tries."""

from __future__ import annotations

import sys
import time
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def no_sleeping(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a unit test must not sleep; hand in a clock and move it")

    monkeypatch.setattr(time, "sleep", refuse)


@pytest.fixture(autouse=True)
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a unit test must not start Ray")

    if "ray" in sys.modules:
        monkeypatch.setattr(sys.modules["ray"], "init", refuse, raising=False)
    if "raycache.actors.environment" in sys.modules:
        for name in ("ensure_initialized", "ensure_ray_running"):
            monkeypatch.setattr(sys.modules["raycache.actors.environment"], name, refuse)
