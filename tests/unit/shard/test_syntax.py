"""What COMMAND DOCS tells of arguments, held to what the commands themselves say: arities, keys, options."""

from __future__ import annotations

from typing import Any

import pytest

from raycache.shard.commands import TABLE
from raycache.shard.commands.command import Command
from raycache.shard.commands.syntax import SYNTAX, Argument, arguments_of, fewest
from tests.unit.shard.harness import Shard

ALL = {each.full_name: each for command in TABLE.values()
       for each in ([*command.subcommands.values()] or [command])}


def tree(name: str) -> tuple[Argument, ...]:
    return arguments_of(name, len(ALL[name].key_use))


def leaves(arguments: tuple[Argument, ...]) -> list[Argument]:
    return [leaf for one in arguments for leaf in (leaves(one.arguments) if one.arguments else [one])]


def test_only_commands_that_there_are() -> None:
    assert set(SYNTAX) <= set(ALL)


@pytest.mark.parametrize("command", ALL.values(), ids=lambda command: command.full_name)
def test_the_fewest_arguments_are_those_of_the_arity(command: Command) -> None:
    names = 2 if command.parent else 1
    arguments = tree(command.full_name)
    assert fewest(arguments) + names == command.min_argc
    may_be_more = any(one.is_optional or one.is_multiple for one in arguments) or command.full_name in (
        "client|kill", "rc.record", "rc.access", "quit")
    assert may_be_more == (command.arity < 0)


@pytest.mark.parametrize("command", [one for one in ALL.values() if one.first_key],
                         ids=lambda command: command.full_name)
def test_keys_stand_where_the_table_says(command: Command) -> None:
    words = _unrolled(tree(command.full_name))
    argv = [b"%d" % at for at in range(len(words) + (2 if command.parent else 1))]
    found = [word for word, one in zip(argv[-len(words):], words, strict=True) if one.type == "key"]
    assert found == command.keys(argv)
    assert {one.key_index for one in words if one.type == "key"} == set(range(len(command.key_use)))


def _unrolled(arguments: tuple[Argument, ...]) -> list[Argument]:
    """Return one for each word of the shortest call, or of one with everything twice that may come again."""
    words: list[Argument] = []
    for one in arguments:
        if not one.is_optional:
            words += (_unrolled(one.arguments) if one.type == "block" else [one]) * (2 if one.is_multiple else 1)
    return words


@pytest.mark.parametrize("command", [one for one in ALL.values() if not one.first_key],
                         ids=lambda command: command.full_name)
def test_what_has_no_keys_names_none(command: Command) -> None:
    assert all(one.type != "key" for one in leaves(tree(command.full_name)))


def test_a_tree() -> None:
    key, value, condition, get, expiry = tree("set")
    assert (key.type, key.key_index, value.type) == ("key", 0, "string")
    assert [(one.type, one.token) for one in condition.arguments] == [("pure-token", "NX"), ("pure-token", "XX")]
    assert (condition.type, condition.is_optional, get) == ("oneof", True, Argument("get", "pure-token", "GET", True))
    assert [(one.type, one.token) for one in expiry.arguments] == [
        ("integer", "EX"), ("integer", "PX"), ("unix-time", "EXAT"), ("unix-time", "PXAT"), ("pure-token", "KEEPTTL")]
    (pairs,) = tree("mset")
    assert (pairs.type, pairs.is_multiple, [one.type for one in pairs.arguments]) == ("block", True, ["key", "string"])
    assert [one.key_index for one in tree("rename")] == [0, 1]


@pytest.mark.parametrize("protocol", [2, 3])
def test_on_the_wire(protocol: int) -> None:
    shard = Shard()
    if protocol == 3:
        shard.run("HELLO 3")
    found: Any = shard.run("COMMAND DOCS GETEX")
    told = _as_dict(_as_dict(found)[b"getex"])
    key, options = told[b"arguments"]
    assert _as_dict(key) == {b"name": b"key", b"type": b"key", b"key_spec_index": 0}
    options = _as_dict(options)
    assert (options[b"type"], [*options[b"flags"]]) == (b"oneof", [b"optional"])
    assert [_as_dict(one)[b"token"] for one in options[b"arguments"]] == [b"EX", b"PX", b"EXAT", b"PXAT", b"PERSIST"]
    assert b"arguments" not in _as_dict(_as_dict(shard.run("COMMAND DOCS DBSIZE"))[b"dbsize"])


def _as_dict(value: Any) -> dict[Any, Any]:
    return value if isinstance(value, dict) else dict(zip(value[::2], value[1::2], strict=True))
