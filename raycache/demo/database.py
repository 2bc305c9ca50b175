"""The demo's database: every airport in the `airportsdata` package, in SQLite, and one question worth caching.

What lives here: building the file, opening it, and the question: which airports lie within so many kilometres of this
one, per country, and which ten are nearest. What does not: who asks (`reader`) and in what order (`workload`).
A connection belongs to the thread that opened it. No Ray, no cache.

The query is written as one would write it: the latitude index narrows the search to a band, the rest is arithmetic on
every row of the band and a join for the countries. It costs milliseconds because the work is there to be done.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from raycache.errors import CallerError

EARTH_RADIUS_KM = 6371.0088
"""Mean radius (IUGG)."""

KM_PER_DEGREE = math.pi * EARTH_RADIUS_KM / 180
"""Along a meridian."""

NEAREST = 10
"""How many neighbours a report names."""

_SCHEMA = """
CREATE TABLE country (code TEXT PRIMARY KEY, airports INTEGER NOT NULL, highest_ft REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE airport (
    id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE, iata TEXT NOT NULL, name TEXT NOT NULL, city TEXT NOT NULL,
    region TEXT NOT NULL, country TEXT NOT NULL REFERENCES country (code), tz TEXT NOT NULL, elevation_ft REAL NOT NULL,
    lat REAL NOT NULL, lon REAL NOT NULL, x REAL NOT NULL, y REAL NOT NULL, z REAL NOT NULL
);
"""

# x, y, z is the airport's place on a sphere of radius 1, so that a scalar product (the cosine of the angle between two
# places) replaces trigonometry, which not every build of SQLite has.
_WITHIN = """
    SELECT b.*, a.x * b.x + a.y * b.y + a.z * b.z AS cosine
    FROM airport AS a JOIN airport AS b ON b.lat BETWEEN a.lat - :degrees AND a.lat + :degrees
    WHERE a.id = :id AND b.id <> a.id AND a.x * b.x + a.y * b.y + a.z * b.z >= :least
"""

_NEAREST = f"""
    SELECT code, name, country, cosine FROM ({_WITHIN}) ORDER BY cosine DESC, code LIMIT {NEAREST}
"""

_PER_COUNTRY = f"""
    SELECT near.country, count(*) AS airports, 1.0 * count(*) / country.airports AS share,
           avg(near.elevation_ft) AS mean_ft, max(near.elevation_ft) AS highest_ft, country.highest_ft AS record_ft,
           count(DISTINCT near.tz) AS timezones
    FROM ({_WITHIN}) AS near JOIN country ON country.code = near.country
    GROUP BY near.country ORDER BY airports DESC, near.country
"""


class Question(NamedTuple):
    """What is asked of the database: the surroundings of one airport."""

    airport: int
    """Row number, 0 for the first."""
    radius_km: int

    @property
    def key(self) -> str:
        """The cache key of the answer."""
        return f"surroundings:{self.airport}:{self.radius_km}"


class AirportDatabase:
    """The database, open for reading.

    Args:
        path: a file that `build` made.
    """

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
        self._connection.row_factory = sqlite3.Row

    def airports(self) -> int:
        """How many airports there are."""
        (count,) = self._connection.execute("SELECT count(*) FROM airport").fetchone()
        return int(count)

    def answer(self, question: Question) -> dict[str, Any]:
        """Return the report on one airport's surroundings: plain dicts, lists, texts and numbers.

        Raises:
            KeyError: there is no such airport.
        Cost: milliseconds; it reads every airport of the latitude band, twice.
        """
        airport = self._connection.execute("SELECT * FROM airport WHERE id = ?", (question.airport,)).fetchone()
        if airport is None:
            raise KeyError(f"no airport number {question.airport}")
        place = {
            "id": question.airport,
            "degrees": question.radius_km / KM_PER_DEGREE,
            "least": math.cos(question.radius_km / EARTH_RADIUS_KM),
        }
        return {
            "airport": {name: airport[name] for name in ("code", "iata", "name", "city", "region", "country", "tz")},
            "radius_km": question.radius_km,
            "nearest": [_neighbour(row) for row in self._connection.execute(_NEAREST, place)],
            "countries": [dict(row) for row in self._connection.execute(_PER_COUNTRY, place)],
        }

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _neighbour(row: sqlite3.Row) -> dict[str, Any]:
    """Turn a row with a cosine into one with a distance in kilometres."""
    distance_km = EARTH_RADIUS_KM * math.acos(min(1.0, row["cosine"]))
    return {"code": row["code"], "name": row["name"], "country": row["country"], "distance_km": round(distance_km, 3)}


def load_records() -> list[Mapping[str, Any]]:
    """Return the 28,000 real airports of the `airportsdata` package, in a stable order.

    Raises:
        CallerError: the package is not installed; the text says how to get it.
    """
    try:
        import airportsdata
    except ModuleNotFoundError as error:
        raise CallerError("the demo needs the airports of a package: pip install 'raycache[demo]'") from error
    airports = airportsdata.load("ICAO")
    return [airports[code] for code in sorted(airports)]


def build(path: Path, records: list[Mapping[str, Any]]) -> int:
    """Write the database to `path`, which must not exist; return the number of airports."""
    connection = sqlite3.connect(path)
    try:
        # Nobody needs this file after a crash: it is made anew from the package.
        connection.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;" + _SCHEMA)
        connection.executemany("INSERT INTO country VALUES (?, ?, ?)", _countries(records))
        columns = ", ".join("?" * 14)
        connection.executemany(f"INSERT INTO airport VALUES ({columns})", _rows(records))
        connection.execute("CREATE INDEX airport_lat ON airport (lat)")
        connection.execute("ANALYZE")
        connection.commit()
    finally:
        connection.close()
    return len(records)


def _countries(records: list[Mapping[str, Any]]) -> list[tuple[str, int, float]]:
    """Summarise the records per country: code, airports, highest elevation in feet."""
    elevations: dict[str, list[float]] = {}
    for record in records:
        elevations.setdefault(record["country"], []).append(record["elevation"])
    return [(code, len(all_ft), max(all_ft)) for code, all_ft in sorted(elevations.items())]


def _rows(records: list[Mapping[str, Any]]) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of `airport`, numbered from 0."""
    texts = ("icao", "iata", "name", "city", "subd", "country", "tz")
    for number, record in enumerate(records):
        lat, lon = math.radians(record["lat"]), math.radians(record["lon"])
        place = (math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat))
        yield number, *(record[name] for name in texts), record["elevation"], record["lat"], record["lon"], *place
