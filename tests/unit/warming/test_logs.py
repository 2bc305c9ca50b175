"""Keys out of the lines of logs, and the files they come from."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from raycache.warming.api import hot_keys
from raycache.warming.files import lines_of
from raycache.warming.logs import MAX_KEY_BYTES, KeyLog, LineReader, json_field, pattern, whole_lines

COMMON = '127.0.0.1 - ada [10/Oct/2025:13:55:36 +0000] "GET /users/{} HTTP/1.1" 200 2326\n'


@pytest.mark.parametrize(("reader", "line", "key"), [
    (whole_lines(), "  user:1 \n", "user:1"),
    (whole_lines(), "\n", None),
    (json_field("key"), '{"key": "a b"}', "a b"),
    (json_field("key"), '{"key": 17}', "17"),
    (json_field("key"), '{"key": true}', None),
    (json_field("key"), '{"key": ""}', None),
    (json_field("key"), '{"other": 1}', None),
    (json_field("key"), "[1]", None),
    (json_field("key"), "no json", None),
    (json_field("request.user.id"), '{"request": {"user": {"id": "7"}}}', "7"),
    (json_field("request.user.id"), '{"request": {"user": 7}}', None),
    (json_field("a.b"), '{"a.b": "dotted", "a": {"b": "nested"}}', "dotted"),
    (pattern(r'"GET /users/(\d+)'), COMMON.format(42), "42"),
    (pattern(r'"GET /users/(\d+)'), COMMON.format("x"), None),
    (pattern(r"(GET) /(?P<key>\w+)/"), COMMON.format(42), "users"),
    (pattern(r"GET (/none)?"), COMMON.format(42), None),
])  # fmt: skip
def test_what_a_line_stands_for(reader: LineReader, line: str, key: str | None) -> None:
    assert reader(line) == key


def test_lines_without_a_key_are_counted_and_templates_filled_in() -> None:
    log = KeyLog(pattern(r"/users/(\w+)"), "user:{}:v2")
    lines = [COMMON.format(1), "noise\n", COMMON.format("x" * MAX_KEY_BYTES), COMMON.format("ü")]
    assert list(log.keys(lines)) == [b"user:1:v2", "user:ü:v2".encode()]
    assert (log.lines, log.without_key) == (4, 2)


@pytest.mark.parametrize("template", ["user", "{}{}", ""])
def test_a_template_has_one_place(template: str) -> None:
    with pytest.raises(ValueError, match="template"):
        KeyLog(whole_lines(), template)


@pytest.mark.parametrize("regex", ["(", "GET", ""])
def test_a_pattern_needs_a_group(regex: str) -> None:
    with pytest.raises(ValueError, match=r"group|regular"):
        pattern(regex)


def test_a_json_field_needs_a_name() -> None:
    with pytest.raises(ValueError, match="no name"):
        json_field("")


def test_gzip_is_told_by_its_bytes_not_by_its_name_and_bytes_survive(tmp_path: Path) -> None:
    plain, packed = tmp_path / "a.gz", tmp_path / "b.log"
    plain.write_bytes(b"one\n\xff\xfe\n")
    packed.write_bytes(gzip.compress(b"one\ntwo"))
    assert hot_keys([plain, packed]).keys[0].key == b"one"
    assert {one.key for one in hot_keys([plain, packed]).keys} == {b"one", b"\xff\xfe", b"two"}


def test_a_gzip_file_that_was_cut_off_gives_what_it_has(tmp_path: Path) -> None:
    path = tmp_path / "cut.gz"
    text = "".join(f"line {number}\n" for number in range(20_000))
    path.write_bytes(gzip.compress(text.encode())[:-2000])
    lines = list(lines_of([path]))
    assert 0 < len(lines) < 20_000
    assert lines == text.splitlines(keepends=True)[: len(lines)]


def test_a_gzip_file_that_is_damaged_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "bad.gz"
    data = bytearray(gzip.compress(b"x\n" * 5000 + bytes(range(256)) * 50))
    data[40:80] = bytes(40)
    path.write_bytes(data)
    with pytest.raises(OSError):  # noqa: PT011  # gzip's own say different things
        list(lines_of([path]))


def test_the_hot_keys_of_several_logs(tmp_path: Path) -> None:
    one, two = tmp_path / "one.log", tmp_path / "two.log"
    one.write_text(COMMON.format(1) * 3 + COMMON.format(2) + "noise\n")
    two.write_text(COMMON.format(2) * 4 + COMMON.format(3))
    found = hot_keys([one, two], pattern=r"/users/(\d+)", template="user:{}", top=2)
    assert [(each.key, each.count) for each in found.keys] == [(b"user:2", 5), (b"user:1", 3)]
    assert (found.lines, found.without_key, found.error_bound) == (10, 1, 0)
    sketched = hot_keys([one, two], pattern=r"/users/(\d+)", template="user:{}", top=1, counters=1)
    assert sketched.error_bound == 9


def test_what_makes_no_sense_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not both"):
        hot_keys([], field="key", pattern="(x)")
    with pytest.raises(ValueError, match="at least 1"):
        hot_keys([], top=0)
    with pytest.raises(FileNotFoundError):
        hot_keys([tmp_path / "nobody"])
