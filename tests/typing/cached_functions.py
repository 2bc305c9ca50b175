"""What a type checker knows of decorated functions: read by mypy (`make check`), run by nobody.

Each `type: ignore` stands where mypy must complain; strict mode complains about one that is not needed.
"""

from __future__ import annotations

from datetime import timedelta
from typing import assert_type

import raycache
from raycache import AsyncCache, AsyncCachedFunction, Cache, CachedFunction, FunctionUse


def plain(cache: Cache) -> None:
    @cache.cached(ttl=timedelta(minutes=5), tags=("users",), ignore=("verbose",))
    def user(user_id: int, *, verbose: bool = False) -> dict[str, int]:
        return {"id": user_id}

    assert_type(user(1), dict[str, int])
    assert_type(user(user_id=1, verbose=True), dict[str, int])
    assert_type(user.key(1), str)
    assert_type(user.invalidate(1), bool)
    assert_type(user.invalidate_all(), int)
    assert_type(user.refresh(1), dict[str, int])
    assert_type(user.uncached(1, verbose=True), dict[str, int])
    assert_type(user.cache_info(), FunctionUse)
    user("one")  # type: ignore[arg-type]
    user.key()  # type: ignore[call-arg]
    user.invalidate(1, loud=True)  # type: ignore[call-arg]
    cache.cached(tll=5)  # type: ignore[call-arg]
    cache.cached(on_cache_error="ignore")  # type: ignore[arg-type]


async def asynchronous(cache: AsyncCache) -> None:
    @cache.cached(ttl=lambda found: found or 1.0, tags=lambda name: [name])
    async def score(name: str) -> float:
        return 0.5

    assert_type(await score("a"), float)
    assert_type(await score.refresh("a"), float)
    assert_type(await score.invalidate("a"), bool)
    assert_type(score.key("a"), str)
    await score(1)  # type: ignore[arg-type]


def anywhere() -> None:
    @raycache.cached("features", ttl=5)
    def square(number: int) -> int:
        return number * number

    @raycache.cached("features")
    async def cube(number: int) -> int:
        return number**3

    assert_type(square(2), int)
    square("2")  # type: ignore[arg-type]

    async def use() -> None:
        assert_type(await cube(2), int)
        await cube("2")  # type: ignore[arg-type]

    print(use)


def methods(cache: Cache, acache: AsyncCache) -> None:
    class Repository:
        @cache.cached(ignore=("self",))
        def load(self, user_id: int) -> str:
            return str(user_id)

        @acache.cached(ignore=("self",))
        async def find(self, name: str) -> bytes:
            return name.encode()

        @staticmethod
        @cache.cached()
        def double(number: int) -> int:
            return 2 * number

    repository = Repository()
    assert_type(repository.load(1), str)
    assert_type(repository.load.key(1), str)
    assert_type(repository.load.refresh(1), str)
    assert_type(Repository.load(repository, 1), str)
    assert_type(Repository.double(2), int)
    repository.load("one")  # type: ignore[arg-type]

    async def use() -> None:
        assert_type(await repository.find("a"), bytes)
        assert_type(await repository.find.invalidate("a"), bool)
        await repository.find(1)  # type: ignore[arg-type]

    print(use)


def given(function: AsyncCachedFunction[[int], int], other: CachedFunction[[int], int]) -> str:
    return function.key(1) + other.key(1)
