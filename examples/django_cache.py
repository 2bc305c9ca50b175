"""Django's own Redis cache backend, pointed at a gateway. In a project, only the CACHES setting is yours to write.

Run it:  python examples/django_cache.py     (needs: pip install django redis)
"""

from __future__ import annotations

from typing import Any

import raycache


def caches_setting(status: raycache.ClusterStatus) -> dict[str, Any]:
    """Return what goes into settings.py; a fixed `gateway_port=` at the start makes the address a constant there."""
    password = f":{status.secret}@" if status.requires_auth else ""
    return {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": f"redis://{password}{status.gateways[0]}",
            "KEY_PREFIX": "shop",
            "TIMEOUT": 300,
        }
    }


def main() -> None:
    status = raycache.start("example-django", shards=2, memory="16MiB")
    try:
        from django.conf import settings

        settings.configure(CACHES=caches_setting(status))
        from django.core.cache import cache

        # From here on it is Django as everywhere.
        cache.set("user:1", {"name": "Ada", "groups": ["staff"]})
        print(f"user: {cache.get('user:1')}")
        cache.set_many({"a": 1, "b": 2, "c": 3}, timeout=60)
        print(f"many: {sorted(cache.get_many(['a', 'b', 'c', 'd']).items())}")
        print(f"computed once: {cache.get_or_set('answer', lambda: 42)}, {cache.get_or_set('answer', lambda: 43)}")
        print(f"visits: {cache.incr('a', 10)}")
        print(f"added again: {cache.add('a', 0)}")
        cache.close()
    finally:
        raycache.stop("example-django")


if __name__ == "__main__":
    main()
