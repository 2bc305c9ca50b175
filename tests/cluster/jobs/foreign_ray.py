"""A Ray that somebody else started, without our settings: the cache attaches, serves, and says what is missing.

Run by `tests/cluster/test_other_rays.py` in a process of its own.
"""

from __future__ import annotations

import os

for name in [name for name in os.environ if name.startswith("RAY_")]:
    if name != "RAY_TMPDIR":
        del os.environ[name]

import ray  # noqa: E402

import raycache  # noqa: E402


def main() -> None:
    os.environ["RAY_AUTH_MODE"] = "disabled"
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    status = raycache.start("guest", shards=1, memory="16MiB")
    text = "\n".join(status.warnings)
    for setting in ("RAY_worker_niceness", "RAY_gcs_rpc_server_reconnect_timeout_s", "RAY_AUTH_MODE"):
        assert setting in text, f"{setting} is missing and nobody says so: {text}"
    assert len(status.secret) >= 32
    with raycache.connect("guest") as cache:
        cache.set("k", [1, 2])
        assert cache.get("k") == [1, 2]
    raycache.stop("guest")
    ray.shutdown()


if __name__ == "__main__":
    main()
    print("passed")
