"""How values, slots and tables look."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from raycache.cli import output


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("text", b"text\n"),
        (b"\x00\xff", b"\x00\xff\n"),
        ({"a": [1, 2.5, None]}, b'{"a": [1, 2.5, null]}\n'),
        (True, b"true\n"),
        ({1, 2}, b"{1, 2}\n"),
        (datetime.date(2026, 1, 2), b"datetime.date(2026, 1, 2)\n"),
    ],
)
def test_values_for_people(value: Any, shown: bytes, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    output.write_value(value)
    assert capsysbinary.readouterr().out == shown


def test_values_for_programs() -> None:
    assert output.value_as_json("text") == '"text"'
    assert output.value_as_json(b"text") == '"text"'
    assert output.value_as_json({"a": b"b"}) == '{"a": "b"}'
    for value in ({1, 2}, b"\xff", float("nan")):
        with pytest.raises(ValueError, match="no JSON form"):
            output.value_as_json(value)


def test_a_table_in_a_pipe_is_neither_wrapped_nor_cut(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(("name", "size"), [("a" * 150, "1"), ("b", "1,000")])
    lines = capsys.readouterr().out.splitlines()
    assert [len(line) for line in lines[1:]] == [157, 157]
    assert lines[0].split() == ["name", "size"]
    assert lines[2].split() == ["b", "1,000"]


def test_shares() -> None:
    assert output.share_text(4096) == "4,096 (25.0%)"
