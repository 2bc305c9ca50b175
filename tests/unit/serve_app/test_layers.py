"""Who may import whom in the HTTP door: its pure parts know no web framework, no Ray, no clock."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[3] / "serve_app"
PURE = ("settings", "problems", "admission", "classes", "figures", "commands/encoding", "commands/rights",
        "rest/batches", "rest/conditions", "rest/documented", "rest/lifetimes", "rest/negotiation", "rest/paths",
        "rest/representation")
WORLD = {"asyncio", "fastapi", "starlette", "ray", "socket", "threading", "time", "os", "subprocess"}
MAY_IMPORT_RAY = {"app.py", "starting.py"}


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(str(node.module).partition(".")[0])
    return names


@pytest.mark.parametrize("name", PURE)
def test_the_pure_parts_know_nothing_of_the_world(name: str) -> None:
    assert not imported(PACKAGE / f"{name}.py") & WORLD


def test_only_the_application_and_its_start_know_ray() -> None:
    found = {path.name for path in PACKAGE.rglob("*.py") if "ray" in imported(path) and "page" not in path.parts}
    assert found == MAY_IMPORT_RAY


def test_raycache_itself_needs_no_http() -> None:
    users = {path.name for path in (PACKAGE.parent / "raycache").rglob("*.py")
             if imported(path) & {"serve_app", "fastapi", "starlette"}}
    assert users == {"http.py"}
