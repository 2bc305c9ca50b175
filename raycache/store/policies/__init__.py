"""Eviction policies, one file each, behind the interface in `base.py`.

What lives here: finding a policy by name. The names are those of `raycache.config.POLICIES`.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Final

import cachetools

from raycache.store.policies.arc import ArcPolicy
from raycache.store.policies.auto import AutoPolicy
from raycache.store.policies.base import EvictionPolicy
from raycache.store.policies.cachetools_adapter import CachetoolsPolicy
from raycache.store.policies.fifo import FifoPolicy
from raycache.store.policies.lfu import LfuPolicy
from raycache.store.policies.lru import LruPolicy
from raycache.store.policies.noeviction import NoEvictionPolicy
from raycache.store.policies.plain_lfu import PlainLfuPolicy
from raycache.store.policies.random import RandomPolicy
from raycache.store.policies.s3fifo import S3FifoPolicy
from raycache.store.policies.sieve import SievePolicy
from raycache.store.policies.tinylfu import TinyLfuPolicy
from raycache.store.policies.ttl import TtlPolicy

__all__ = ["EvictionPolicy", "make_policy", "policy_names"]

_POLICIES: Final[dict[str, Callable[[], EvictionPolicy[Any]]]] = {
    policy.name: policy
    for policy in (
        LruPolicy, LfuPolicy, PlainLfuPolicy, FifoPolicy, SievePolicy, S3FifoPolicy, ArcPolicy, TinyLfuPolicy,
        AutoPolicy, TtlPolicy, RandomPolicy, NoEvictionPolicy,
    )
}


def policy_names() -> tuple[str, ...]:
    """Return the names that `make_policy` takes."""
    return tuple(_POLICIES)


def make_policy(policy: str | type[Any], *, seed: int | None = None) -> EvictionPolicy[Any]:
    """Return a new, empty policy for one store.

    Args:
        policy: a name, or any `cachetools.Cache` class that can be made from a size alone.
        seed: makes "random" repeatable; None draws one from the system.
    Raises:
        ValueError: there is no such policy, or the class cannot serve as one.
    """
    if isinstance(policy, str):
        if policy == RandomPolicy.name:
            return RandomPolicy(Random(seed))
        if policy in _POLICIES:
            return _POLICIES[policy]()
    elif isinstance(policy, type) and issubclass(policy, cachetools.Cache):
        return CachetoolsPolicy(policy)
    raise ValueError(f"no policy {policy!r}; choose one of {', '.join(_POLICIES)}, or pass a cachetools.Cache class")
