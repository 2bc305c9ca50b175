"""Several long commands of one connection under way at once, and their replies in the commands' order.

What lives here: which have been begun and what they have answered. What does not: which may be (`careful`), running
them (`long`), and the connection's bytes (`connection`). Belongs to the shard's loop.

Without this a client that sends many commands down one connection, as the handles and the gateways do, would have them
wait for other shards one after the other: a quorum takes a round trip of a millisecond or more, so that one connection
would see a few hundred commands a second, however many shards there are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from raycache.shard.careful import is_independent
from raycache.shard.commands import resolve
from raycache.shard.commands.command import Steps
from raycache.shard.long import LongCommand
from raycache.shard.meter import MeasuredTurn

if TYPE_CHECKING:
    from raycache.shard.server import ShardServer
    from raycache.shard.session import Session

MOST_AT_ONCE: Final = 1024
"""How many commands of one connection are under way at most."""


def independent_keys(session: Session, argv: list[bytes]) -> list[bytes] | None:
    """Return the keys of a command that may be begun while earlier ones on other keys wait; None: it may not."""
    command = resolve(argv)
    if command is None or not session.plain or not command.min_argc <= len(argv) <= command.max_argc:
        return None
    if command.name == "rc.write":
        return independent_keys(session, argv[2:])
    keys = command.keys(argv)
    return keys if keys and is_independent(command, argv) else None


class _Ride:
    """One command that has been begun."""

    __slots__ = ("keys", "long", "measured", "reply", "size")

    def __init__(self, keys: Sequence[bytes] | None, reply: bytes | None, size: int,
                 measured: MeasuredTurn | None) -> None:
        self.keys = keys
        self.reply = reply
        self.size = size
        """How long the reply is, in bytes, or is expected to be."""
        self.long: LongCommand | None = None
        self.measured = measured
        """Hears of its end, if it is one of those that are measured."""


class Overlap:
    """The commands of one connection from the first that waits until none does.

    Args:
        session: who has sent them.
        send: takes replies, joined, in the order of their commands.
    """

    __slots__ = ("_busy", "_held_bytes", "_is_sending", "_rides", "_send", "_server", "_session", "has_lone")

    takes_more: Final = True

    def __init__(self, server: ShardServer, session: Session, send: Callable[[bytes], None]) -> None:
        self._server = server
        self._session = session
        self._send = send
        self._rides: deque[_Ride] = deque()
        self._busy: set[bytes] = set()
        """Keys of the commands under way."""
        self._held_bytes = 0
        """Replies that wait for earlier ones, or are expected: nobody who does not read yet holds these back."""
        self._is_sending = False
        self.has_lone = False
        """Whether one is under way for which all later ones wait."""

    @property
    def is_empty(self) -> bool:
        """Whether none is under way, and no reply left to send."""
        return not self._rides

    @property
    def is_endless(self) -> bool:
        """Whether one of them waits for something that may never come, without a deadline."""
        return any(ride.long is not None and ride.long.is_endless for ride in self._rides)

    def has_room_for(self, keys: Sequence[bytes] | None) -> bool:
        """Return whether a command on `keys` may be begun now; None: one that waits for all others."""
        if not self._rides:
            return True
        return (keys is not None and not self.has_lone and len(self._rides) < MOST_AT_ONCE
                and self._held_bytes <= self._server.limits.output_high_water_bytes and self._busy.isdisjoint(keys))

    def add_reply(self, reply: bytes, measured: MeasuredTurn | None = None) -> None:
        """Take in a command that has been run already. `measured` hears when its reply is sent."""
        self._rides.append(_Ride(None, reply, len(reply), measured))
        self._held_bytes += len(reply)
        self._send_soon()

    def add(self, steps: Steps, argv: list[bytes], keys: Sequence[bytes] | None,
            measured: MeasuredTurn | None = None) -> None:
        """Begin a command, `argv`, on `keys`; None: the later ones wait for it. `measured` hears of its end."""
        ride = _Ride(keys, None, self._expected_bytes(keys or ()), measured)
        self._rides.append(ride)
        self._held_bytes += ride.size
        if keys is None:
            self.has_lone = True
        else:
            self._busy.update(keys)
        ride.long = LongCommand(self._server, steps, partial(self._settle, ride), self._session, argv)

    def close(self) -> None:
        """End all of them where they stand."""
        rides, self._rides = self._rides, deque()
        for ride in rides:
            if ride.long is not None:
                ride.long.close()

    def _expected_bytes(self, keys: Sequence[bytes]) -> int:
        """Return how long the values are that this shard has for `keys`: a reply is hardly longer."""
        core = self._server.core
        entries = [core.whole.peek(key, core.now_ms) for key in keys]
        return sum(len(entry.value) for entry in entries if entry is not None)

    def _settle(self, ride: _Ride, reply: bytes) -> None:
        self._held_bytes += len(reply) - ride.size
        if ride.measured is not None and ride.long is not None:
            ride.measured.ran_long(ride.long.ran_s)
        ride.reply, ride.long, ride.size = reply, None, len(reply)
        if ride.keys is None:
            self.has_lone = False
        else:
            self._busy.difference_update(ride.keys)
        self._send_soon()

    def _send_soon(self) -> None:
        if not self._is_sending:
            self._is_sending = True
            self._server.at_end(self._send_ready)

    def _send_ready(self) -> None:
        self._is_sending = False
        rides, ready = self._rides, []
        measured: list[MeasuredTurn] = []
        while rides and (reply := rides[0].reply) is not None:
            ready.append(reply)
            ride = rides.popleft()
            self._held_bytes -= ride.size
            if ride.measured is not None:
                measured.append(ride.measured)
        self._send(b"".join(ready))
        for one in measured:
            one.replied()
