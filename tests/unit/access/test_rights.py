"""What rules come to: commands by name and category, keys by pattern, walks by the beginning of their pattern."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from raycache.access.rights import Catalogue, Rights, literal_prefix
from raycache.access.user import READ, WRITE, RuleError, new_user


def starts_with(pattern: bytes) -> Callable[[bytes], object]:
    """Patterns of these tests are literal, or end with a star."""
    if pattern.endswith(b"*"):
        return lambda key: key.startswith(pattern[:-1])
    return lambda key: key == pattern


CATALOGUE = Catalogue({"get": ["read", "fast"], "mget": ["read"], "set": ["write"], "config": ["admin"],
                       "config|get": ["admin"], "config|set": ["admin", "dangerous"]}, starts_with)


def rights(*rules: str) -> Rights:
    return Rights(new_user("ada").with_rules(rules), CATALOGUE)


@pytest.mark.parametrize(("rules", "allowed"), [
    ([], set()),
    (["+@read"], {"get", "mget"}),
    (["+@read", "-mget"], {"get"}),
    (["-mget", "+@read"], {"get", "mget"}),
    (["+config"], {"config", "config|get", "config|set"}),
    (["+config", "-config|set"], {"config", "config|get"}),
    (["+config|get"], {"config|get"}),
    (["+@all", "-@dangerous", "-@write"], {"get", "mget", "config", "config|get"}),
    (["+@all", "-@all", "+get"], {"get"}),
    (["+@pubsub"], set()),
])
def test_commands(rules: list[str], allowed: set[str]) -> None:
    assert rights(*rules).commands == allowed


@pytest.mark.parametrize("rule", ["+nothing", "-@nothing", "+config|nothing", "+conf"])
def test_rules_about_what_does_not_exist(rule: str) -> None:
    user = new_user("ada").with_rules(["+get", rule])
    with pytest.raises(RuleError, match="Unknown command or category"):
        CATALOGUE.check(user)
    assert Rights(user, CATALOGUE).commands == {"get"}  # what another version knows counts nothing


def test_keys() -> None:
    ours = rights("~user:*", "%R~pub:*", "%W~log:*", "~one")
    both = READ | WRITE
    assert [ours.may_use(key, both) for key in (b"user:1", b"pub:1", b"log:1", b"one", b"ones", b"")] == [
        True, False, False, True, False, False]
    assert ours.may_use(b"pub:1", READ)
    assert not ours.may_use(b"log:1", READ)
    assert ours.may_use(b"log:1", WRITE)
    assert ours.may_use(b"log:1", 0)
    assert not ours.may_use(b"else", 0)
    assert not ours.has_all_keys
    assert rights("allkeys").has_all_keys
    assert not rights("%R~*").has_all_keys


def test_two_halves_in_two_patterns_are_no_whole() -> None:
    ours = rights("%R~a*", "%W~ab*")
    assert ours.may_use(b"ab", READ)
    assert ours.may_use(b"ab", WRITE)
    assert not ours.may_use(b"ab", READ | WRITE)  # as in Redis


@pytest.mark.parametrize(("pattern", "may"), [
    (b"user:*", True), (b"user:1?", True), (b"user:\\*", True), (b"*", False), (b"use*", False), (b"[u]ser:*", False),
    (b"\\user:*", False), (b"pub:*", True), (b"one", False),
])
def test_walks(pattern: bytes, may: bool) -> None:
    assert rights("~user:*", "%R~pub:*", "~one").may_walk(pattern, READ) is may


def test_walks_need_the_right_kind_of_right() -> None:
    assert not rights("%R~pub:*").may_walk(b"pub:*", WRITE)
    assert rights("allkeys").may_walk(b"*", READ | WRITE)


def test_the_beginning_of_a_pattern() -> None:
    assert [literal_prefix(one) for one in (b"a*", b"a?b", b"[ab]", b"a\\*", b"abc")] == [b"a", b"a", b"", b"a", b"abc"]
