"""Reading figures as Prometheus does: from a gateway's port, and from the agent that each Ray node has."""

from __future__ import annotations

import urllib.request

import ray
from prometheus_client.parser import text_string_to_metric_families

from tests.support import wait_until

Figures = dict[tuple[str, frozenset[tuple[str, str]]], float]


def agent_url() -> str:
    """Return where the agent of the first Ray node exports metrics."""
    node = ray.nodes()[0]
    return f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"


def scraped(url: str) -> Figures:
    """Return every sample by its name and labels."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        text = answer.read().decode()
    return {(sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text) for sample in family.samples}


def total(figures: Figures, name: str, **labels: str) -> float:
    """Return the sum of all samples of a name that have these labels."""
    return sum(value for (sample, pairs), value in figures.items() if sample == name and labels.items() <= set(pairs))


def wait_for(url: str, wanted: list[tuple[str, dict[str, str], float]]) -> None:
    """Wait until all of these are exported at the same time: figures come in steps, and a scrape may be between two."""
    found = Figures()

    def missing() -> list[tuple[str, dict[str, str], float]]:
        return [(name, labels, total(found, name, **labels)) for name, labels, value in wanted
                if total(found, name, **labels) != value]

    def have_come() -> bool:
        nonlocal found
        found = scraped(url)
        return not missing()

    try:
        wait_until(have_come, 40)
    except AssertionError:
        raise AssertionError(f"of {wanted} these differ: {missing()}") from None
