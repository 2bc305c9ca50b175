"""How a handle behaves, whatever it is connected to.

What lives here: the settings that the sync and the async handle share. Frozen; any thread.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final

from raycache.client.info import Place

# A shard on the same network answers a connection attempt within milliseconds; one lost packet costs one second.
DEFAULT_CONNECT_TIMEOUT_S: Final = 1.0
DEFAULT_TIMEOUT_S: Final = 5.0
# A hundred times what a read takes, and a small part of what a failover does.
DEFAULT_HEDGE_S: Final = 0.1
# Where another copy can be asked instead, nobody waits for the second try of a lost packet.
REPLICATED_CONNECT_TIMEOUT_S: Final = 0.3


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """Times, and the source of jitter.

    Raises:
        ValueError: a time is not positive.
    """

    timeout_s: float = DEFAULT_TIMEOUT_S
    """How long one operation may take, retries and all."""
    connect_timeout_s: float = DEFAULT_CONNECT_TIMEOUT_S
    """How long one attempt to connect may take."""
    hedge_s: float = DEFAULT_HEDGE_S
    """How long a read may stay unanswered before another copy is asked; means nothing with one copy.

    While a shard answers others it is waited for, and longer where its answers have been late.
    """
    place: Place | None = None
    """Where this process runs, as far as is known."""
    rng: random.Random = field(default_factory=random.Random, repr=False)

    def __post_init__(self) -> None:
        for name, value in (("timeout_s", self.timeout_s), ("connect_timeout_s", self.connect_timeout_s),
                            ("hedge_s", self.hedge_s)):
            if not 0 < value < 1e6:
                raise ValueError(f"{name} must be positive, and below 1,000,000 s, not {value!r}")
