"""The list of users: passwords, and lists that become one in whatever order they meet."""

from __future__ import annotations

import random

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raycache.access.log import MAX_ENTRIES, SAME_MS, DeniedLog
from raycache.access.user import new_user, user_of
from raycache.access.users import MAX_USERS, Users, unpacked


def test_there_is_always_a_default_user() -> None:
    users = Users()
    assert users.names() == ["default"]
    assert users.default.words() == [b"on", b"nopass", b"~*", b"+@all"]
    assert Users([user_of("user default off")]).default.words() == [b"off", b"-@all"]


def test_passwords() -> None:
    users = Users([user_of("user ada on >a >b"), user_of("user off off >a"), user_of("user open on nopass")])

    def enters(name: str, password: bytes, may_be_open: bool = True) -> bool:
        return users.owner_of(name, password, may_be_open=may_be_open) is not None

    assert enters("ada", b"a")
    assert enters("ada", b"b")
    assert not any([enters("ada", b"c"), enters("ada", b""), enters("off", b"a"), enters("nobody", b"a")])
    assert enters("open", b"whatever")
    assert not enters("open", b"whatever", may_be_open=False)


def test_nobody_comes_in_with_the_hash() -> None:
    user = user_of("user ada on >a")
    assert Users([user]).owner_of("ada", user.hashes[0].encode(), may_be_open=True) is None


def test_a_change_wins_over_what_was_before_wherever_it_was_made() -> None:
    one, two = Users([user_of("user ada on >a +get")]), Users([user_of("user ada on >a +get")])
    assert one.digest() == two.digest()
    one.put(new_user("ada").with_rules(["off"]), 1000)
    assert two.merge(one.to_bytes()) == {"ada"}
    assert one.merge(two.to_bytes()) == set()
    assert two.get("ada") == one.get("ada")
    two.put(new_user("ada").with_rules(["on"]), 5)  # its clock is behind, and it has heard of the other
    assert one.merge(two.to_bytes()) == {"ada"}
    ada = one.get("ada")
    assert ada is not None
    assert ada.is_enabled


def test_a_deleted_user_does_not_come_back() -> None:
    one, two = Users([user_of("user ada on >a")]), Users([user_of("user ada on >a")])
    assert one.delete("ada", 1)
    assert not one.delete("ada", 2)
    assert one.merge(two.to_bytes()) == set()
    assert two.merge(one.to_bytes()) == {"ada"}
    assert two.get("ada") is None
    assert two.names() == ["default"]
    two.put(new_user("ada"), 1)
    assert one.merge(two.to_bytes()) == {"ada"}
    assert one.names() == ["ada", "default"]


CHANGES = st.lists(st.tuples(st.integers(0, 2), st.sampled_from("abc"), st.sampled_from(["on", "off", "+get", "del"]),
                             st.integers(0, 3)), max_size=15)


@given(CHANGES, st.integers(0, 999))
def test_all_who_hear_of_each_other_hold_the_same(changes: list[tuple[int, str, str, int]], seed: int) -> None:
    shards = [Users(), Users(), Users()]
    rng = random.Random(seed)
    for place, name, rule, version in changes:
        if rule == "del":
            shards[place].delete(name, version)
        else:
            shards[place].put((shards[place].get(name) or new_user(name)).with_rules([rule]), version)
        if rng.random() < 0.3:
            shards[rng.randrange(3)].merge(shards[place].to_bytes())
    meetings = [(a, b) for a in range(3) for b in range(3)] * 2
    rng.shuffle(meetings)
    for a, b in meetings:
        shards[a].merge(shards[b].to_bytes())
    hub = shards[0]
    for one in shards * 2:
        hub.merge(one.to_bytes())
        one.merge(hub.to_bytes())
    assert len({one.to_bytes() for one in shards}) == 1


@pytest.mark.parametrize("packed", [
    b"", b"nonsense", msgpack.packb(3), msgpack.packb([["ada"]]), msgpack.packb([["ada", 1, False, [b"+get("]]]),
    msgpack.packb([["a b", 1, False, []]]), msgpack.packb([["ada", "1", False, []]]), b"x" * (17 << 20),
])
def test_a_list_that_cannot_be_read_changes_nothing(packed: bytes) -> None:
    users = Users()
    before = users.digest()
    with pytest.raises(ValueError, match="list of users"):
        users.merge(packed)
    assert users.digest() == before


def test_there_is_a_limit_on_users() -> None:
    users = Users(new_user(f"u{number}") for number in range(MAX_USERS - 1))
    with pytest.raises(ValueError, match="too many"):
        users.put(new_user("more"), 1)
    users.put(new_user("u1"), 1)
    rows = [[f"u{number}", 0, False, []] for number in range(MAX_USERS + 1)]
    with pytest.raises(ValueError, match="too many"):
        unpacked(msgpack.packb(rows))


def test_the_log_counts_what_is_alike_and_forgets_the_oldest() -> None:
    log = DeniedLog()
    for at_ms in (0, 10, 10 + SAME_MS):
        log.add("key", "toplevel", b"x", "ada", "1.2.3.4:5", at_ms)
    assert [entry.count for entry in log.newest(10)] == [1, 2]
    for number in range(500):
        log.add("key", "toplevel", b"%d" % number, "ada", "1.2.3.4:5", 0)
    assert [entry.object for entry in log.newest(2)] == [b"499", b"498"]
    assert len(log.newest(1000)) == MAX_ENTRIES
    log.add("auth", "toplevel", b"x" * 9999, "y" * 9999, "1.2.3.4:5", 0)
    assert (len(log.newest(1)[0].object), len(log.newest(1)[0].user)) == (128, 256)
    log.clear()
    assert log.newest(10) == []
