"""What the HTTP door counts: by cluster, class and status, and in the words of the other doors."""

from __future__ import annotations

from typing import Any

import pytest

from raycache.metrics.histogram import Histogram
from serve_app.admission import Admission
from serve_app.classes import class_of_all, note
from serve_app.clusters import Clusters
from serve_app.door import Door
from serve_app.figures import HttpFigures
from serve_app.settings import HttpSettings


def told(figures: HttpFigures, cluster: str) -> dict[tuple[str, ...], Any]:
    """Return a cluster's samples by name and labels, a histogram as its count and its sum."""
    return {(one.family.name, *one.labels): (one.value.count, one.value.sum_s) if isinstance(one.value, Histogram)
            else one.value for one in figures.samples()[cluster].all}


def test_requests_are_counted_and_measured_by_class_and_status() -> None:
    figures = HttpFigures()
    for status, took_s in ((200, 0.5), (404, 0.25), (503, 1.0)):
        figures.answered("c", "read", status, took_s)
    figures.answered("c", "write", 0, 2.0)
    figures.answered("", "", 404, 0.001)
    assert told(figures, "c") == {
        ("raycache_commands_total", "http", "", "read"): 3, ("raycache_commands_total", "http", "", "write"): 1,
        ("raycache_command_errors_total", "http", "", "read"): 1,
        ("raycache_command_errors_total", "http", "", "write"): 1,
        ("raycache_command_duration_seconds", "http", "", "read"): (3, 1.75),
        ("raycache_command_duration_seconds", "http", "", "write"): (1, 2.0),
        **{("raycache_http_requests_total", code): 1 for code in ("200", "404", "499", "503")}}
    assert told(figures, "") == {("raycache_http_requests_total", "404"): 1}


@pytest.mark.parametrize(("commands", "class_"), [
    (["GET a"], "read"), (["SET a 1", "incr a"], "write"), (["GET a", "MGET a b"], "read_many"),
    (["GET a", "DEL a"], "write_many"), (["NOSUCH"], "unknown"), (["PING", "GET a"], "read_many"),
    (["CONFIG GET port"], "admin")])
def test_the_class_of_commands_in_one_request(commands: list[str], class_: str) -> None:
    assert class_of_all([line.encode().split() for line in commands]) == class_


class _Found(Clusters):
    """Clusters of which there are handles on "a" and "b"."""

    def __init__(self, default: str = "") -> None:
        super().__init__(default=default)
        self._handles = dict.fromkeys(("a", "b"))  # type: ignore[assignment]


def endpoint() -> None:
    """Stands for the function of a route."""


@pytest.mark.parametrize(("scope", "cluster"), [
    ({"endpoint": endpoint, "path_params": {"cluster": "b"}}, "b"),
    ({"endpoint": endpoint, "path_params": {"cluster": "anything"}}, ""),
    ({"endpoint": endpoint, "path_params": {}}, ""), ({}, ""), ({"raycache.class": "write", "path_params": {}}, "a")])
def test_only_clusters_that_are_known_have_figures_of_their_own(scope: dict[str, Any], cluster: str) -> None:
    door = Door(HttpSettings(), _Found("a"), Admission(HttpSettings()))
    door.classes[endpoint] = "read"
    door.answered(scope, 200, 0.1)
    assert list(door.figures.samples()) == [cluster]


def test_a_route_s_own_word_counts() -> None:
    door = Door(HttpSettings(), _Found(), Admission(HttpSettings()))
    door.classes[endpoint] = "read"
    scope: dict[str, Any] = {"endpoint": endpoint, "path_params": {"cluster": "a"}}
    note(scope, "write_many")
    door.answered(scope, 200, 0.1)
    assert ("raycache_commands_total", "http", "", "write_many") in told(door.figures, "a")
