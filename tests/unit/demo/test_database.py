"""The query's answers against a plain computation, on a grid and on a sample of the real airports."""

from __future__ import annotations

import math
import random
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from raycache.demo.database import EARTH_RADIUS_KM, AirportDatabase, Question, build, load_records
from raycache.errors import CallerError

GRID_CENTRE = 24


def haversine_km(a: Mapping[str, Any], b: Mapping[str, Any]) -> float:
    """The textbook formula, written another way than the database's."""
    lat_a, lat_b = math.radians(a["lat"]), math.radians(b["lat"])
    half = math.sin((lat_b - lat_a) / 2) ** 2
    half += math.cos(lat_a) * math.cos(lat_b) * math.sin(math.radians(b["lon"] - a["lon"]) / 2) ** 2
    return 2 * EARTH_RADIUS_KM * math.asin(math.sqrt(half))


def test_the_nearest_are_the_neighbours_on_the_grid(database: AirportDatabase) -> None:
    # One degree of latitude, or of longitude at the equator, is 111.195 km; the diagonal 157.25.
    answer = database.answer(Question(GRID_CENTRE, 170))
    assert answer["airport"]["country"] == "BB"
    assert answer["radius_km"] == 170
    distances = [neighbour["distance_km"] for neighbour in answer["nearest"]]
    assert distances == pytest.approx([111.195] * 4 + [157.25] * 4, abs=0.01)
    assert distances == sorted(distances)


def test_countries_are_summed_up(database: AirportDatabase) -> None:
    countries = database.answer(Question(GRID_CENTRE, 170))["countries"]
    assert [country["country"] for country in countries] == ["BB", "AA"]
    east, west = countries
    # Of the 8 around the centre 3 lie west of it; the grid has 21 in the west, 28 in the east.
    assert (east["airports"], west["airports"]) == (5, 3)
    assert (east["share"], west["share"]) == (5 / 28, 3 / 21)
    assert (west["mean_ft"], west["highest_ft"], west["record_ft"]) == (300.0, 400.0, 600.0)
    assert east["timezones"] == 1


def test_a_radius_that_reaches_nobody(database: AirportDatabase) -> None:
    answer = database.answer(Question(0, 100))
    assert (answer["nearest"], answer["countries"]) == ([], [])


def test_an_airport_that_is_not_there(database: AirportDatabase) -> None:
    with pytest.raises(KeyError, match="no airport number 49"):
        database.answer(Question(49, 100))


def test_it_is_open_for_reading_only(database: AirportDatabase) -> None:
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        database._connection.execute("DELETE FROM airport")


def test_different_questions_have_different_keys() -> None:
    keys = {Question(airport, radius).key for airport in range(30) for radius in range(1, 30)}
    assert len(keys) == 30 * 29


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[Mapping[str, Any]], AirportDatabase]]:
    records = load_records()
    path: Path = tmp_path_factory.mktemp("demo") / "airports.sqlite"
    build(path, records)
    database = AirportDatabase(path)
    yield records, database
    database.close()


def test_the_real_airports_are_all_there(real: tuple[list[Mapping[str, Any]], AirportDatabase]) -> None:
    records, database = real
    assert database.airports() == len(records) > 20_000
    answer = database.answer(Question([record["icao"] for record in records].index("KJFK"), 50))
    assert answer["airport"]["name"].startswith("John F Kennedy")
    assert "KLGA" in [neighbour["code"] for neighbour in answer["nearest"]]


def test_answers_equal_a_plain_computation(real: tuple[list[Mapping[str, Any]], AirportDatabase]) -> None:
    records, database = real
    rng = random.Random(7)
    for number in rng.sample(range(len(records)), 5):
        answer = database.answer(Question(number, 300))
        near = [
            (haversine_km(records[number], other), other["icao"], other["country"])
            for i, other in enumerate(records)
            if i != number
        ]
        near = sorted(entry for entry in near if entry[0] <= 300)
        assert sum(country["airports"] for country in answer["countries"]) == len(near)
        found = [neighbour["distance_km"] for neighbour in answer["nearest"]]
        # Airports on one spot differ by metres only, within what the two formulas differ by.
        assert found == pytest.approx([distance for distance, _, _ in near[:10]], abs=0.2)
        assert {country["country"] for country in answer["countries"]} == {country for _, _, country in near}


def test_a_missing_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "airportsdata", None)
    with pytest.raises(CallerError, match=r"pip install 'raycache\[demo\]'"):
        load_records()
