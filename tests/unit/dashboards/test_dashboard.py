"""The dashboard: valid as Grafana reads it, and every expression of metrics that there are."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from raycache.dashboards import build, install
from raycache.metrics.families import FAMILIES, HISTOGRAM

DASHBOARD: dict[str, Any] = json.loads(install.shipped())
TARGETS = [target for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]

EXPORTED = {
    build.ray_name(name): family.labels
    for family in FAMILIES
    for name in ([f"{family.name}{part}" for part in ("_bucket", "_sum", "_count")] if family.kind == HISTOGRAM
                 else [family.name])
}


def test_what_is_shipped_is_what_is_built() -> None:
    assert install.shipped() == build.as_json()


def test_it_has_what_ray_s_own_dashboards_have() -> None:
    """Ray's are loaded by the same provisioning: whatever all of them have at the top and in a panel, this one has."""
    import ray.dashboard.modules.metrics as ray_metrics

    (folder,) = ray_metrics.__path__
    base = json.loads((Path(folder) / "dashboards" / "default_grafana_dashboard_base.json").read_text())
    needed = {"annotations", "editable", "links", "panels", "refresh", "schemaVersion", "tags", "templating", "time",
              "timezone", "title", "uid", "version"}
    assert needed & base.keys() <= DASHBOARD.keys()
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,40}", DASHBOARD["uid"])
    sources = [one for one in DASHBOARD["templating"]["list"] if one["type"] == "datasource"]
    assert [one["query"] for one in sources] == ["prometheus"]


def test_panels_have_numbers_of_their_own_and_do_not_overlap() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({panel["title"] for panel in panels}) == len(panels)
    for one, other in combinations([panel["gridPos"] for panel in panels], 2):
        apart = (one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
                 or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"])
        assert apart, (one, other)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target["expr"][:60])
def test_each_expression_names_metrics_and_labels_that_there_are(target: dict[str, str]) -> None:
    expression = target["expr"]
    names = re.findall(r"ray_raycache_\w+", expression)
    assert names
    for name in names:
        assert name in EXPORTED, name
    known = {"cluster", "le"} | {label for name in names for label in EXPORTED[name]}
    used = {label.strip() for group in re.findall(r"by \(([^)]*)\)", expression) for label in group.split(",")}
    used |= set(re.findall(r"(\w+)=~?\"", expression))
    assert used <= known
    assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= used
    for opened, closed in ("()", "{}", "[]"):
        assert expression.count(opened) == expression.count(closed)
    for counter in re.findall(r"(ray_raycache_\w+_total)(?=\{)", expression):
        assert re.search(rf"(rate|increase)\({counter}", expression), "a counter is shown by its rate"


def test_it_is_written_where_it_is_wanted(tmp_path: Path) -> None:
    path = install.install(tmp_path)
    assert json.loads(path.read_text())["uid"] == build.UID
    with pytest.raises(FileNotFoundError):
        install.install(tmp_path / "absent")
