"""docs/metrics.md lists every metric and every class, each as the code has it."""

from __future__ import annotations

import re
from pathlib import Path

from raycache.metrics.families import FAMILIES
from raycache.shard.classes import CLASSES

TEXT = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text()


def test_every_metric_is_listed_as_it_is() -> None:
    listed = re.findall(r"^\| `(raycache_\w+)` \| (\w+) \| (.+?) \| (.+) \|$", TEXT, re.MULTILINE)
    assert listed == [(family.name, family.kind, ", ".join(f"`{label}`" for label in family.labels) or "-", family.help)
                      for family in FAMILIES]


def test_every_class_is_listed_as_it_is() -> None:
    assert re.findall(r"^\| `(\w+)` \| ([^|]+) \|$", TEXT, re.MULTILINE) == list(CLASSES.items())
