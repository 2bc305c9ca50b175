"""Shared by all tests: how Hypothesis runs. The rest is in `tests.support`."""

from __future__ import annotations

from hypothesis import settings

# How long an example takes says something of the machine, not of the code.
settings.register_profile("raycache", deadline=None)
settings.load_profile("raycache")
