"""What has come from each peer, and who has answered when.

What lives here: the receiving end of every stream (how far, with or without gaps) and the times of answers. Belongs to
one shard's loop.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Stream:
    """The stream from one process of one peer."""

    incarnation: int
    applied: int = 0
    """Number of the last mutation applied."""
    clock: int = 0
    """Everything that the peer wrote up to this version has been applied here, unless there was a gap."""
    epoch: int = 0
    """The newest topology by which the peer has sent."""
    has_gap: bool = False
    """Mutations are missing: this copy must be compared with the peer's."""

    def take(self, first: int, last: int, clock: int) -> None:
        """Take note that the mutations from number `first` to `last` have been merged."""
        if first > self.applied + 1:
            self.has_gap = True
        self.applied = max(self.applied, last)
        self.clock = max(self.clock, clock)


@dataclass(slots=True)
class Contact:
    """When a peer was heard of; monotonic seconds of this shard's clock."""

    heard_s: float
    """When anything came from it last."""
    answered_s: float = float("-inf")
    """When the last question that it has answered was sent."""
    sent_s: float = float("-inf")
    """When it was last sent a batch, empty or not."""
    in_flight: int = 0
    """Batches sent and not acknowledged."""
    refused_s: float = float("-inf")
    """When it did not take what it was sent: it is offered that again with heartbeats only."""
    is_connected: bool = True
