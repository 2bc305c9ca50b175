"""What all tests share: waiting for something real, and saying which comparison server is missing."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable

import pytest


def wait_until(what: Callable[[], object], deadline_s: float = 10.0, message: str = "") -> None:
    """Wait until `what` returns something true. Wait only for what was first shown to be false."""
    end_s = time.monotonic() + deadline_s
    while not what():
        if time.monotonic() > end_s:
            raise AssertionError(message or f"not within {deadline_s} s")
        time.sleep(0.01)


def require_program(name: str, package: str) -> str:
    """Return the path of a comparison program; skip where it is missing, but fail under CI=true."""
    path = shutil.which(name)
    if path is None:
        reason = f"{name} is not installed; Debian has it in {package}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return path
