"""One connection's state, as commands see it.

What lives here: who is connected, which protocol it speaks, its open transaction and watched keys.
What does not: sockets and buffers (`server`), which keys are watched by whom (`core`). A session
belongs to the loop that owns its shard.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from raycache.access.user import DEFAULT

if TYPE_CHECKING:
    from raycache.access.rights import Rights
    from raycache.shard.commands.command import Command
    from raycache.shard.tracking import Wanted

REPLY_ON: Final = "on"
REPLY_OFF: Final = "off"
REPLY_SKIP: Final = "skip"


class Session:
    """What the commands of one connection share.

    `plain` is the one flag the hot path looks at: true while commands may simply run, that is when
    the client has shown its secret if one is demanded, may do everything, has no transaction open, wants replies,
    tracks no keys, and neither ASKING nor a trace is pending. Whoever changes one of these calls `refresh`. Who it is
    and what it may do is the guard's (`raycache.shard.guard`).
    """

    __slots__ = ("address", "asking", "auth_failures", "authenticated", "closing", "command", "created_ms", "dirty",
                 "has_certificate", "id", "is_anonymous", "is_peer", "kill", "last_ms", "lib_name", "lib_ver",
                 "local_address", "long_argv", "multi", "multi_bytes", "multi_error", "name", "no_evict", "plain",
                 "protocol", "push", "readonly", "reply", "rights", "trace", "tracking", "user", "watched", "wrote")

    def __init__(self, session_id: int, address: str, *, authenticated: bool, now_ms: int,
                 local_address: str = "") -> None:
        self.id = session_id
        self.address = address
        self.local_address = local_address
        self.protocol = 2
        self.name = b""
        self.lib_name = b""
        self.lib_ver = b""
        self.authenticated = authenticated
        self.user = DEFAULT
        self.rights: Rights | None = None
        """What it may do; None: everything."""
        self.is_anonymous = True
        """It has not said who it is."""
        self.auth_failures = 0
        self.has_certificate = False
        """It has shown a certificate of the cluster's, by which shards know each other."""
        self.is_peer = False
        """It has really shown the cluster's secret, which other shards and the router do even where nobody has to."""
        self.created_ms = now_ms
        self.last_ms = now_ms
        self.command: Command | None = None
        """The command it sent last."""
        self.long_argv: list[bytes] = []
        """The long command that runs for it now; empty: none does."""
        self.multi: list[tuple[Command, list[bytes]]] | None = None
        """The commands queued since MULTI; None outside a transaction."""
        self.multi_bytes = 0
        self.multi_error = False
        """A command could not be queued, so EXEC must refuse."""
        self.watched: dict[bytes, bool] = {}
        """Key to whether it was there when WATCH came: one that has gone by expiry or eviction counts as changed."""
        self.dirty = False
        """A watched key was written."""
        self.readonly = False
        self.asking = False
        self.no_evict = False
        self.trace: bytes | None = None
        """Context of a trace that the next command belongs to."""
        self.reply = REPLY_ON
        self.closing = False
        """The shell closes the connection once the replies so far have been sent."""
        self.kill: Callable[[], None] | None = None
        """Closes the connection at once; set by the shell."""
        self.push: Callable[[bytes], None] | None = None
        """Sends what the client has not asked for; set by the shell."""
        self.tracking: Wanted | None = None
        """What it wants to hear of changed keys; None: nothing. Changed by `Tracking` alone."""
        self.wrote: dict[Any, tuple[int, ...]] = {}
        """Where its writes went, for WAIT: outboxes, and the number of the last one in each."""
        self.plain = False
        self.refresh()

    @property
    def last_command(self) -> str:
        """Name of the command it sent last, as CLIENT LIST shows it."""
        return self.command.full_name if self.command is not None else "NULL"

    def end_transaction(self) -> None:
        """Forget the open transaction; watched keys are `WatchedKeys.forget`'s."""
        self.multi, self.multi_error, self.multi_bytes = None, False, 0
        self.refresh()

    def refresh(self) -> None:
        """Work out `plain` anew."""
        self.plain = (self.authenticated and self.rights is None and self.multi is None and not self.asking
                      and self.trace is None and self.tracking is None and self.reply == REPLY_ON)

    def __repr__(self) -> str:
        return f"Session(id={self.id}, address={self.address!r}, name={self.name!r})"
