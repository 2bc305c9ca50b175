"""The key of a call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from raycache.errors import UncacheableArgumentError
from raycache.functions.naming import MAX_READABLE, KeyMaker

M = __name__


def plain(a: int, b: int = 2) -> None: ...
def wide(first: int, /, second: str = "s", *rest: int, only: bool = False, **more: int) -> None: ...
def keyword(a: int, *, b: int, c: int = 3) -> None: ...
def nothing() -> None: ...


class Repository:
    def load(self, user_id: int) -> None: ...
    @classmethod
    def named(cls, name: str) -> None: ...
    @staticmethod
    def count(table: str) -> None: ...


class Other(Repository):
    pass


class Known(Repository):
    def __init__(self, host: str) -> None:
        self.host = host

    def __cache_key__(self) -> str:
        return self.host


def key(function: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    return KeyMaker(function).key(args, kwargs)


@pytest.mark.parametrize(("args", "kwargs"), [((1,), {}), ((1, 2), {}), ((), {"a": 1}), ((1,), {"b": 2}),
                                              ((), {"b": 2, "a": 1})])
def test_one_call_has_one_key_however_it_is_written(args: tuple[int, ...], kwargs: dict[str, int]) -> None:
    assert key(plain, *args, **kwargs) == f"{M}.plain:a=1,b=2"


def test_every_kind_of_parameter() -> None:
    assert key(wide, 1) == f"{M}.wide:first=1,second='s',rest=(),only=False,more=dict()"
    assert key(wide, 1, "t", 5, 6, only=True, z=1, y=2) == (
        f"{M}.wide:first=1,second='t',rest=(5,6),only=True,more=dict('y':2,'z':1)")
    assert key(keyword, 1, b=2) == key(keyword, b=2, a=1) == f"{M}.keyword:a=1,b=2,c=3"
    assert key(nothing) == f"{M}.nothing:"


@pytest.mark.parametrize(("args", "kwargs"), [((), {}), ((1, 2, 3), {}), ((1,), {"a": 1}), ((1,), {"c": 1}),
                                              ((1,), {"b": 1, "c": 1})])
def test_calls_that_python_refuses_are_refused_in_its_words(args: tuple[int, ...], kwargs: dict[str, int]) -> None:
    with pytest.raises(TypeError) as ours:
        key(plain, *args, **kwargs)
    assert "argument" in str(ours.value)
    with pytest.raises(TypeError, match="missing a required argument: 'b'"):
        key(keyword, 1)


def test_an_argument_that_equals_everything_is_not_taken_for_a_missing_one() -> None:
    class Odd:
        __cache_key__ = 5

        def __eq__(self, other: object) -> bool:
            raise AssertionError("nobody compares arguments")

        __hash__ = None  # type: ignore[assignment]

    assert key(plain, a=Odd()).endswith("Odd(5),b=2")


def test_names_versions_and_what_is_ignored() -> None:
    assert KeyMaker(plain, version=3).key((1,), {}) == f"{M}.plain@3:a=1,b=2"
    assert KeyMaker(plain, name="users", ignore=("b",)).key((1, 5), {}) == "users:a=1"
    assert KeyMaker(plain, ignore=("a", "b")).key((1,), {}) == f"{M}.plain:"
    assert KeyMaker(plain, version="v2").prefix == f"{M}.plain@v2:"


@pytest.mark.parametrize(("settings", "text"), [
    ({"ignore": ("c",)}, "no parameter 'c' to ignore; it has a, b"), ({"ignore": "a"}, r"write \('a',\)"),
    ({"name": ""}, "must not be empty"), ({"name": "a:b"}, "no ':'"), ({"version": "1:2"}, "no ':'"),
    ({"version": ""}, "must not be empty")])
def test_settings_that_make_no_sense(settings: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        KeyMaker(plain, **settings)


def test_a_key_of_ones_own() -> None:
    assert KeyMaker(plain, key=lambda a, b=2: f"user:{a}").key((1,), {}) == f"{M}.plain:user:1"
    assert KeyMaker(plain, key=lambda a, b=2: (a, b)).key((1,), {}) == f"{M}.plain:(1,2)"
    assert KeyMaker(plain, key=lambda a: "x" * 500).key((1,), {}) == f"{M}.plain:{'x' * 500}"
    assert KeyMaker(plain, key=lambda a: [a] * 500).key((1,), {})[:-32] == f"{M}.plain:[{'1,' * 49}1~"
    with pytest.raises(UncacheableArgumentError, match="the result of key="):
        KeyMaker(plain, key=lambda a: object()).key((1,), {})


def test_long_arguments_keep_their_beginning_and_a_digest() -> None:
    one, two = key(plain, "x" * 500), key(plain, "x" * 501)
    assert one != two
    assert one[:-32] == two[:-32] == f"{M}.plain:a='{'x' * 97}~"
    assert len(one) < len(f"{M}.plain:") + MAX_READABLE
    assert key(plain, "x" * 500) == one
    assert len({key(plain, number) for number in (10**5000, 10**5000 + 1, -(10**5000), (10**5000,))}) == 4


def test_methods_are_not_kept_by_an_accidental_self() -> None:
    with pytest.raises(UncacheableArgumentError, match=r"give Repository a __cache_key__ .* ignore=.'self',"):
        key(Repository.load, Repository(), 1)
    assert key(Repository.load, Known("db1"), 1) == f"{M}.Repository.load:self={M}.Known('db1'),user_id=1"
    ignoring = KeyMaker(Repository.load, ignore=("self",))
    assert ignoring.key((Repository(), 1), {}) == f"{M}.Repository.load:user_id=1"
    assert ignoring.key((Other(), 1), {}) == f"{M}.Repository.load:self={M}.Other,user_id=1"


def test_classes_are_told_apart_where_they_may_answer_otherwise() -> None:
    function = Repository.__dict__["named"].__func__
    assert key(function, Repository, "n") == f"{M}.Repository.named:name='n'"
    assert key(function, Other, "n") == f"{M}.Repository.named:cls={M}.Other,name='n'"
    assert key(Repository.count, "t") == f"{M}.Repository.count:table='t'"


def test_inner_functions_have_readable_names() -> None:
    def inner(self: int) -> None: ...

    assert key(inner, 1) == f"{M}.test_inner_functions_have_readable_names.inner:self=1"


def test_a_refusal_names_the_argument_and_the_ways_out() -> None:
    with pytest.raises(UncacheableArgumentError, match=r"plain: b \(a object in it\) .*ignore=\('b',\).*key="):
        key(plain, 1, [object()])
