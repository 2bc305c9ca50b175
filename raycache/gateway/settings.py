"""The gateway's own limits and times, each with its reason. Limits of clients are `raycache.config.Limits`.

What lives here: numbers. Frozen, checked when built.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from raycache.config import MIB


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """What one gateway may use and how long it waits."""

    max_commands_per_client: int = 1024
    """Commands of one client under way at once; more are left in the socket. Deeper pipelines gain nothing."""
    max_bytes_per_client: int = 16 * MIB
    """Budget for one client's replies under way, and as much for its requests (see `window`)."""
    retry_for_s: float = 5.0
    """How long a command may wait for a dead or moving shard before -CLUSTERDOWN. Ray restarts an actor in 1-2 s."""
    upstream_silence_s: float = 5.0
    """A shard that owes replies and sends no byte for so long is treated as dead: its connection is closed."""
    connect_timeout_s: float = 1.0
    """Within one data centre a connection takes under 1 ms; a second allows for one lost SYN."""
    refresh_timeout_s: float = 2.0
    """How long one question for the topology may take; commands that need no new one do not wait for it."""
    scout_timeout_s: float = 0.3
    """How long shards are waited for when they are asked for the topology: some 1 ms is usual."""
    replica_after_s: float = 0.2
    """From a shard that owes replies and sends no byte for so long, reads are taken to a replica. Longer than any pause
    that a shard has of itself; a third of what a failover of a silent shard takes."""
    other_owner_after_s: float = 1.0
    """Where any owner takes writes, those that a silent shard owes are tried at another one after this. A shard that
    was paused for so long drops what had come meanwhile (`raycache.shard.server.STALE_AFTER_S`, which is less)."""
    retry_interval_s: float = 0.05
    """Pause between two rounds of refreshing and retrying, at first; it grows to ten times that, with jitter."""
    long_arguments: int = 512
    """From so many arguments on a shard cuts a command into steps; others must not wait behind it on one lane."""
    long_request_bytes: int = 1 * MIB
    """The same for requests that take long to send."""
    tracking_bytes: int = 64 * MIB
    """What the table of keys may take that clients track; beyond, the oldest are announced as if they had changed."""
    idle_watch_connections: int = 8
    """Connections kept per shard and protocol for the next WATCH; more are closed."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) <= 0:
                raise ValueError(f"{field.name} must be positive, not {getattr(self, field.name)!r}")
