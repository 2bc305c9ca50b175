"""RC.METRICS: a shard's figures as samples, for whoever exports them.

What lives here: the command. What does not: which figures there are (`raycache.shard.figures`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgpack

from raycache.resp import encode
from raycache.shard.commands.command import Command

if TYPE_CHECKING:
    from raycache.shard.core import ShardCore
    from raycache.shard.session import Session


def metrics(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """RC.METRICS -> msgpack: rows of name, label values, and a number or a histogram."""
    return encode.bulk(msgpack.packb(core.samples().to_rows()))


COMMANDS = [
    Command(name="rc.metrics", arity=1, flags="loading stale", handler=metrics, group="raycache", since="0.1.0",
            summary="Returns the shard's figures, for exporters."),
]
