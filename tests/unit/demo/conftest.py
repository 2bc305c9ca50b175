"""A database of a few dozen airports on a known grid, and a cache that is a dict."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from raycache.demo.database import AirportDatabase, build

GRID = 7


def record(lat: float, lon: float, country: str, elevation: float) -> dict[str, Any]:
    code = f"{lat:+06.2f}{lon:+07.2f}"
    return {"icao": code, "iata": "", "name": f"at {code}", "city": "", "subd": "", "country": country,
            "elevation": elevation, "lat": lat, "lon": lon, "tz": f"Zone/{country}"}  # fmt: skip


@pytest.fixture
def records() -> list[dict[str, Any]]:
    """49 airports, one degree apart, around the equator; the western ones in AA, the eastern ones in BB."""
    steps = range(-(GRID // 2), GRID // 2 + 1)
    return [record(lat, lon, "AA" if lon < 0 else "BB", 100.0 * (lat + 3)) for lat in steps for lon in steps]


@pytest.fixture
def database(records: list[dict[str, Any]], tmp_path: Path) -> Iterator[AirportDatabase]:
    path = tmp_path / "grid.sqlite"
    build(path, records)
    opened = AirportDatabase(path)
    yield opened
    opened.close()
