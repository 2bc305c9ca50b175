"""Dates, times, durations and zones as short lists of plain numbers and text.

What lives here: the fields that make each of them come back equal, `fold` and zone included. What does not: the
bytes around them (`frames.py`). A zone is None, a fixed offset (as Python itself pickles it) or a zoneinfo key;
other tzinfo classes (pytz, dateutil) are refused, because their meaning lives in their own code. Pure, any thread.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from raycache.codec.refusal import unsupported


def delta_fields(value: timedelta) -> list[int]:
    """Return days, seconds and microseconds, as Python normalises them."""
    return [value.days, value.seconds, value.microseconds]


def delta_from(fields: list[int]) -> timedelta:
    """The inverse of `delta_fields`."""
    days, seconds, microseconds = fields
    return timedelta(days, seconds, microseconds)


def zone_fields(zone: tzinfo | None) -> Any:
    """Return None, a zoneinfo key, or [days, seconds, microseconds] of the offset, and a name where one was given.

    Raises:
        UnsupportedTypeError: any other tzinfo.
    """
    if zone is None:
        return None
    if type(zone) is ZoneInfo and zone.key is not None:
        return zone.key
    if type(zone) is timezone:
        offset, *name = zone.__getinitargs__()  # type: ignore[attr-defined]
        return [*delta_fields(offset), *name]
    raise unsupported(zone)


def zone_from(fields: Any) -> tzinfo | None:
    """The inverse of `zone_fields`; zoneinfo.ZoneInfoNotFoundError where this machine lacks the zone."""
    if fields is None:
        return None
    if isinstance(fields, str):
        return ZoneInfo(fields)
    return timezone(delta_from(fields[:3]), *fields[3:])


def datetime_fields(value: datetime) -> list[Any]:
    """Return year to microsecond, fold and zone."""
    return [
        value.year, value.month, value.day, value.hour, value.minute, value.second, value.microsecond,
        value.fold, zone_fields(value.tzinfo),
    ]  # fmt: skip


def datetime_from(fields: list[Any]) -> datetime:
    """The inverse of `datetime_fields`."""
    year, month, day, hour, minute, second, microsecond, fold, zone = fields
    return datetime(year, month, day, hour, minute, second, microsecond, zone_from(zone), fold=fold)


def time_fields(value: time) -> list[Any]:
    """Return hour to microsecond, fold and zone."""
    return [value.hour, value.minute, value.second, value.microsecond, value.fold, zone_fields(value.tzinfo)]


def time_from(fields: list[Any]) -> time:
    """The inverse of `time_fields`."""
    hour, minute, second, microsecond, fold, zone = fields
    return time(hour, minute, second, microsecond, zone_from(zone), fold=fold)


def date_fields(value: date) -> list[int]:
    """Return the proleptic Gregorian ordinal; day 1 is 0001-01-01."""
    return [value.toordinal()]


def date_from(fields: list[int]) -> date:
    """The inverse of `date_fields`."""
    return date.fromordinal(fields[0])
