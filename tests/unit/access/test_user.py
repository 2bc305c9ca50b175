"""Users and their rules: Redis' words, all or none, and no password anywhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raycache.access.user import READ, WRITE, RuleError, User, hash_of, new_user, user_of


def test_a_new_user_may_do_nothing() -> None:
    user = new_user("ada")
    assert (user.is_enabled, user.is_open, user.hashes, user.commands, user.patterns) == (
        False, False, (), ("-@all",), ())
    assert user.words() == [b"off", b"-@all"]


def test_rules_as_redis_writes_them() -> None:
    user = user_of("user alice on >pw ~user:* %R~pub:* +@read +select -keys")
    assert user.words() == [b"on", b"#" + hash_of(b"pw").encode(), b"~user:*", b"%R~pub:*", b"-@all", b"+@read",
                            b"+select", b"-keys"]
    assert user.patterns == ((READ | WRITE, b"user:*"), (READ, b"pub:*"))


def test_a_password_is_kept_as_its_hash_only_and_not_shown() -> None:
    user = new_user("ada").with_rules([b">open sesame"])
    assert user.hashes == (hash_of(b"open sesame"),)
    assert "sesame" not in repr(user)
    assert user.hashes[0] not in repr(user)
    assert user.with_rules(["<open sesame"]).hashes == ()
    assert user.with_rules(["!" + user.hashes[0]]).hashes == ()


def test_later_rules_win() -> None:
    user = new_user("ada").with_rules(["+@all", "-get", "+get", "nopass", ">a", "%R~x", "~x", "on", "off"])
    assert user.commands == ("+@all", "+get")
    assert (user.is_open, user.hashes, user.is_enabled) == (False, (hash_of(b"a"),), False)
    assert user.patterns == ((READ | WRITE, b"x"),)
    assert user.with_rules(["nopass"]).hashes == ()
    assert user.with_rules(["-@all"]).commands == ("-@all",)
    assert user.with_rules(["reset"]) == User("ada")


def test_rules_about_channels_change_nothing() -> None:
    assert new_user("ada").with_rules(["&news", "allchannels", "resetchannels", "clearselectors"]) == User("ada")


@pytest.mark.parametrize("rule", ["", "get", "+", "+g et", "@read", "#abc", "<unknown", "!" + "0" * 64, "~", "~a b",
                                  "%X~a", "%~a", "%R", "(~a +get)", "+get(", "~" + "a" * 5000])
def test_a_rule_that_makes_no_sense_is_refused_and_nothing_is_changed(rule: str) -> None:
    user = new_user("ada")
    with pytest.raises(RuleError):
        user.with_rules(["on", rule])
    assert user == User("ada")


@pytest.mark.parametrize("rule", [">hunter2hunter2" + "x" * 5000, "#hunter2", "<hunter2"])
def test_an_error_never_repeats_a_password(rule: str) -> None:
    with pytest.raises(RuleError) as caught:
        new_user("ada").with_rules([rule])
    assert "hunter2" not in str(caught.value)


def test_too_many_rules_are_refused() -> None:
    with pytest.raises(RuleError, match="too many"):
        new_user("ada").with_rules(f"~key{number}" for number in range(1001))


@pytest.mark.parametrize("name", ["", "a b", "a\n", "ä", "x" * 257, "a\0"])
def test_names_that_would_break_lists_are_refused(name: str) -> None:
    with pytest.raises(RuleError):
        new_user(name)


@pytest.mark.parametrize("line", ["", "ada on", "user", "users ada"])
def test_a_line_that_is_no_user(line: str) -> None:
    with pytest.raises(RuleError):
        user_of(line)


RULES = st.sampled_from(["on", "off", "nopass", ">a", ">b", "<a", "~x*", "%R~y", "%W~y", "allkeys", "resetkeys",
                         "+@read", "-@read", "+get", "-get", "+config|set", "+@all", "-@all", "resetpass", "reset"])


@given(st.lists(RULES, max_size=12))
def test_what_is_listed_makes_the_same_user(rules: list[str]) -> None:
    user = new_user("ada")
    for rule in rules:
        try:
            user = user.with_rules([rule])
        except RuleError:
            assert rule == "<a"
    assert new_user("ada").with_rules(user.words()) == user
