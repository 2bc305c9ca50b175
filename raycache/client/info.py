"""What a handle knows before it connects, and what it hands back beside plain values.

What lives here: small frozen values. What does not: finding a cluster by name (`raycache.actors.launch`).
Immutable, any thread.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from raycache.tls import TlsSettings

Address = tuple[str, int]
"""Host and port of a cluster port."""
Key = str | bytes
"""A key: bytes as they are, or text, which is its UTF-8 (undecodable bytes as surrogate escapes). Never empty."""


@dataclass(frozen=True, slots=True)
class Login:
    """How a connection begins: what it shows, and to whom."""

    secret: str | None = field(default=None, repr=False)
    """The cluster's secret, or the user's password; None: nothing is shown."""
    user: str | None = None
    """None: the secret is the cluster's."""
    tls: TlsSettings | None = None


ANYBODY: Final = Login()


@dataclass(frozen=True, slots=True)
class ConnectionInfo:
    """What is needed to reach a cluster. It pickles, secret and all: treat the bytes as you treat the secret."""

    cluster: str
    seeds: tuple[Address, ...]
    """Cluster ports of some shards; one that answers is enough."""
    secret: str | None = field(default=None, repr=False)
    """What AUTH must show; None where the doors demand nothing."""
    topology: bytes | None = field(default=None, repr=False)
    """The newest known topology (`Topology.to_bytes`), or None: then the seeds are asked."""
    user: str | None = None
    """Whose password the secret is; None: it is the cluster's own."""
    tls: TlsSettings | None = None
    """Certificates, where the doors speak TLS."""
    object_bytes: int = 0
    """What each shard may own in Ray's object store; 0: the cluster takes no objects."""

    @property
    def login(self) -> Login:
        """How connections to its shards begin."""
        return Login(self.secret, self.user, self.tls)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a process runs, in the topology's words: what `read_from="nearest"` compares the copies' places with."""

    node_id: str
    """Ray's id of the node, in hex."""
    machine: str


@dataclass(frozen=True, slots=True)
class Versioned:
    """A value with the version that `compare_and_set` takes. Any write to the key makes the version stale."""

    value: Any
    version: int
    """Above 0; `compare_and_set` reads 0 as "the key must be absent"."""
