"""What arguments mean: integers, floats, expiry times, option words, exactly as strict as Redis.

What lives here: bytes to numbers, or the refusal. What does not: any command. Pure functions.
"""

from __future__ import annotations

from typing import Final

from raycache.shard.commands.command import NOT_AN_INTEGER, SYNTAX_ERROR, Refusal

INT64_MIN: Final = -(1 << 63)
INT64_MAX: Final = (1 << 63) - 1
_LONGEST_INT64: Final = 20  # "-9223372036854775808"


def int64(text: bytes) -> int | None:
    """Return the 64-bit integer that `text` spells canonically, else None: no blanks, no plus, no leading zeros."""
    if len(text) > _LONGEST_INT64:
        return None
    try:
        number = int(text)
    except ValueError:
        return None
    return number if INT64_MIN <= number <= INT64_MAX and b"%d" % number == text else None


def integer(text: bytes, refusal: str = NOT_AN_INTEGER) -> int:
    """Return the 64-bit integer in `text`.

    Raises:
        Refusal: it is none.
    """
    number = int64(text)
    if number is None:
        raise Refusal(refusal)
    return number


def check_database(text: bytes) -> None:
    """Refuse any database but 0.

    Raises:
        Refusal: not a 32-bit integer, or not 0.
    """
    number = integer(text)
    if not -(1 << 31) <= number < 1 << 31:
        raise Refusal("ERR value is out of range, value must between -2147483648 and 2147483647")
    if number != 0:
        raise Refusal("ERR DB index is out of range")


def invalid_expire(command: str) -> Refusal:
    """Return the refusal of an expiry time that is out of range for `command`."""
    return Refusal(f"ERR invalid expire time in '{command}' command")


def expiry_ms(text: bytes, unit_ms: int, base_ms: int, command: str) -> int:
    """Return the absolute expiry, unix milliseconds, of a SET-like option such as `EX 10`.

    Args:
        unit_ms: 1000 for seconds, 1 for milliseconds.
        base_ms: now for relative times, 0 for absolute ones.
    Raises:
        Refusal: not an integer, not positive, or out of range.
    """
    amount = integer(text)
    if amount <= 0 or amount * unit_ms > INT64_MAX or amount * unit_ms + base_ms > INT64_MAX:
        raise invalid_expire(command)
    return amount * unit_ms + base_ms


_TIME_OPTIONS: Final = {b"EX": (1000, True), b"PX": (1, True), b"EXAT": (1000, False), b"PXAT": (1, False)}


class StringOptions:
    """The options of SET and GETEX, checked against each other."""

    __slots__ = ("get", "keep_ttl", "nx", "persist", "time", "time_option", "xx")

    def __init__(self) -> None:
        self.nx = self.xx = self.get = self.keep_ttl = self.persist = False
        self.time_option = b""
        self.time = b""

    def expires_ms(self, now_ms: int, command: str) -> int | None:
        """Return the absolute expiry that was asked for, or None if none was."""
        if not self.time_option:
            return None
        unit_ms, relative = _TIME_OPTIONS[self.time_option]
        return expiry_ms(self.time, unit_ms, now_ms if relative else 0, command)


def set_options(words: list[bytes]) -> StringOptions:
    """Return SET's options from the words after the value.

    Raises:
        Refusal: an unknown word, or two that exclude each other.
    """
    options = StringOptions()
    rest = iter(words)
    for word in rest:
        name = word.upper()
        if name == b"NX" and not options.xx:
            options.nx = True
        elif name == b"XX" and not options.nx:
            options.xx = True
        elif name == b"GET":
            options.get = True
        elif name == b"KEEPTTL" and not options.time_option:
            options.keep_ttl = True
        elif name in _TIME_OPTIONS and not options.keep_ttl:
            _take_time(options, name, rest)
        else:
            raise Refusal(SYNTAX_ERROR)
    return options


def getex_options(words: list[bytes]) -> StringOptions:
    """Return GETEX's options from the words after the key.

    Raises:
        Refusal: an unknown word, or two that exclude each other.
    """
    options = StringOptions()
    rest = iter(words)
    for word in rest:
        name = word.upper()
        if name == b"PERSIST" and not options.time_option:
            options.persist = True
        elif name in _TIME_OPTIONS and not options.persist:
            _take_time(options, name, rest)
        else:
            raise Refusal(SYNTAX_ERROR)
    return options


def _take_time(options: StringOptions, name: bytes, rest: object) -> None:
    """Take the time that must follow `name`; the same option twice is allowed, two different ones are not."""
    time = next(rest, None)  # type: ignore[call-overload]
    if time is None or options.time_option not in (b"", name):
        raise Refusal(SYNTAX_ERROR)
    options.time_option, options.time = name, time
