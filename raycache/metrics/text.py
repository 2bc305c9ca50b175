"""Samples as Prometheus' text format 0.0.4.

What lives here: writing that. What does not: which metrics there are (`families`), serving it
(`raycache.gateway.scrape`). Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from raycache.metrics.families import FAMILIES, Sample
from raycache.metrics.histogram import Histogram

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_ESCAPES: Final = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


def written(samples: Iterable[Sample], constant: Mapping[str, str]) -> str:
    """Return the text: family after family, each with its help and type, all its samples together.

    Args:
        constant: labels that every sample gets, before its own.
    """
    by_name: dict[str, list[Sample]] = {}
    for sample in samples:
        by_name.setdefault(sample.family.name, []).append(sample)
    lines: list[str] = []
    for family in FAMILIES:
        if (found := by_name.get(family.name)) is None:
            continue
        lines.append(f"# HELP {family.name} {family.help}")
        lines.append(f"# TYPE {family.name} {family.kind}")
        for sample in found:
            labels = {**constant, **dict(zip(family.labels, sample.labels, strict=True))}
            if isinstance(sample.value, Histogram):
                lines += _histogram(family.name, labels, sample.value)
            else:
                lines.append(f"{family.name}{_labels(labels)} {number(sample.value)}")
    return "\n".join(lines) + "\n" if lines else ""


def _histogram(name: str, labels: Mapping[str, str], histogram: Histogram) -> list[str]:
    lines = [f"{name}_bucket{_labels({**labels, 'le': number(bound_s)})} {count}"
             for bound_s, count in histogram.cumulated()]
    shown = _labels(labels)
    return [*lines, f"{name}_sum{shown} {number(histogram.sum_s)}", f"{name}_count{shown} {histogram.count}"]


def _labels(labels: Mapping[str, str]) -> str:
    """Return the labels in braces; empty ones are the same as none, and left out."""
    pairs = [f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels.items() if value]
    return f"{{{','.join(pairs)}}}" if pairs else ""


def number(value: float) -> str:
    """Return a number as Prometheus reads it, exactly."""
    if value == float("inf"):
        return "+Inf"
    return str(int(value)) if float(value).is_integer() and abs(value) < 2**53 else repr(float(value))
