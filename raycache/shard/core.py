"""The shard's state machine: a command and a time in, an encoded reply out.

What lives here: dispatch and the order of its checks, which slots are ours, sessions, who watches
which key. What does not: commands (`commands/`), sockets, timers and the clock (`server`), entries
and eviction (`raycache.store`). It belongs to one loop; nothing in it waits.

The order of checks is Redis': known command, arity, secret, slot, transaction; then the handler.
`execute` is nearly as hot as `turn`, which does the same for many commands at once: one look-up, one flag of
the session, one comparison of the arity, one of the slot, the handler. Whatever is unusual leaves it for
`_execute_carefully`.
"""

from __future__ import annotations

import logging
import random
from binascii import crc_hqx
from collections.abc import Callable, Mapping
from typing import Any

from raycache.config import Limits
from raycache.resp import encode
from raycache.ring.topology import Topology
from raycache.shard.commands import DISPATCH, resolve, unknown_command
from raycache.shard.commands.access import LARGE_VALUE_BYTES
from raycache.shard.commands.command import Command, Refusal, Reply, Steps
from raycache.shard.owned import OwnedSlots
from raycache.shard.session import REPLY_ON, REPLY_SKIP, Session
from raycache.shard.statistics import statistics_of
from raycache.shard.turn import run_turn
from raycache.shard.watch import WatchedKeys
from raycache.store import Store, StoreFullError, StoreStats

log = logging.getLogger(__name__)

NOAUTH = encode.error("NOAUTH Authentication required.")
OUT_OF_MEMORY = encode.error("OOM command not allowed when used memory > 'maxmemory'.")
NEVER_FITS = encode.error("ERR value is larger than the shard's memory")
TRANSACTION_TOO_LARGE = encode.error("ERR transaction is too large")
MOVED_MEANWHILE = encode.error("TRYAGAIN Slots moved while the command ran")
INTERNAL_ERROR = encode.error("ERR internal error, see the shard's log")

_SLOT_MASK = 16383
# As a number: `b"{" in key` first fails to read b"{" as one, and takes four times as long (140 against 33 ns).
_BRACE = 0x7B


class ShardCore:
    """Commands on one store.

    Args:
        store: belongs to this core from here on.
        shard_id: which shard of the topology this is.
        secret: what AUTH must show; None: there is none.
        require_auth: whether commands are refused until the secret was shown.
        limits: of keys, values and arguments.
        policy: name of the eviction policy, for CONFIG and INFO.
        info: the shell's own fields for INFO and the statistics (connections, pauses).
        started_ms: when this incarnation began, unix time.
    """

    def __init__(self, *, store: Store, shard_id: str = "s0", secret: str | None = None, require_auth: bool = False,
                 limits: Limits | None = None, policy: str = "lru",
                 info: Callable[[], Mapping[str, Any]] | None = None, reset_info: Callable[[], None] | None = None,
                 rng: random.Random | None = None, started_ms: int = 0) -> None:
        self.store = store
        self.get, self.put = store.get, store.put
        self.shard_id = shard_id
        self.secret = secret
        self.require_auth = require_auth and secret is not None
        self.limits = limits or Limits()
        self.max_key_bytes = self.limits.max_key_bytes
        self.max_value_bytes = self.limits.max_value_bytes
        self.large_value_bytes = min(LARGE_VALUE_BYTES, self.max_value_bytes, store.capacity_bytes)
        self.policy = policy
        self.info = info or dict
        self.reset_info = reset_info
        self.rng = rng or random.Random()
        self.started_ms = started_ms
        self.now_ms = started_ms
        """The time of the batch that runs now; the shell sets it, handlers read it."""
        self.commands = 0
        self.errors = 0
        self.failures = 0
        """Handlers that raised something unexpected: bugs of ours."""
        self.sessions: dict[int, Session] = {}
        self.sessions_opened = 0
        self.watch = WatchedKeys(store)
        self.watched = self.watch.sessions_by_key
        self.slots = OwnedSlots(shard_id)
        self.owned = self.slots.owned
        self.owns_all = True
        self.replies_by_topology: dict[Any, bytes] = {}
        """Long replies worked out from the topology (CLUSTER SLOTS and the like), kept until the next one."""

    execute_many = run_turn

    @property
    def topology(self) -> Topology | None:
        """The newest topology this shard has seen; None: it stands alone and owns everything."""
        return self.slots.topology

    def execute(self, session: Session, argv: list[bytes]) -> Reply:
        """Run one command; return its encoded reply, or a generator if it is long.

        A generator does one step per `next` and returns the reply; the session's later commands
        must wait for it. No exception leaves here, and none leaves such a generator.
        """
        self.commands += 1
        command = DISPATCH.get(argv[0])
        if command is None or not session.plain:
            return self._execute_carefully(session, argv)
        session.command = command
        session.last_ms = self.now_ms
        argc = len(argv)
        if argc != command.usual_argc and (argc < command.min_argc or argc > command.max_argc):
            return self._refuse_arity(session, command)
        if not self.owns_all and command.first_key:
            if (at := command.one_key) and _BRACE not in (key := argv[at]):
                if not self.owned[crc_hqx(key, 0) & _SLOT_MASK]:
                    return self._counted(self.slots.refusal([key]))
            elif (refusal := self.slots.check(command.keys(argv))) is not None:
                return self._counted(refusal)
        try:
            return command.handler(self, session, argv)
        except Exception as error:
            return self.answer_failure(command, error)

    def _execute_carefully(self, session: Session, argv: list[bytes]) -> Reply:
        """Everything but the plain case: containers, odd spellings, secrets, transactions, silent clients."""
        asking, reply_before = session.asking, session.reply
        session.asking = False
        reply = self._checked(session, argv)
        silent = session.reply != REPLY_ON
        if reply_before == session.reply == REPLY_SKIP:  # this was the one command to answer in silence
            session.reply = REPLY_ON
            session.refresh()
        if asking:
            session.refresh()
        if not silent:
            return reply
        return b"" if isinstance(reply, bytes) else _silenced(reply)

    def _checked(self, session: Session, argv: list[bytes]) -> Reply:
        command = resolve(argv)
        if command is None:
            session.multi_error = True
            return self._counted(unknown_command(argv))
        session.command = command
        session.last_ms = self.now_ms
        if not command.min_argc <= len(argv) <= command.max_argc:
            return self._refuse_arity(session, command)
        if command.needs_auth and not session.authenticated:
            session.multi_error = True
            return self._counted(NOAUTH)
        if not self.owns_all and command.first_key and (refusal := self.slots.check(command.keys(argv))) is not None:
            session.multi_error = True
            return self._counted(refusal)
        if session.multi is not None and command.queueable:
            return self._queue(session, command, argv)
        return self.run(session, command, argv)

    def run(self, session: Session, command: Command, argv: list[bytes]) -> Reply:
        """Run a checked command's handler; whatever it raises becomes an error reply."""
        try:
            return command.handler(self, session, argv)
        except Exception as error:
            return self.answer_failure(command, error)

    def answer_failure(self, command: Command, error: Exception) -> bytes:
        """Return the reply to what a handler raised."""
        self.errors += 1
        if isinstance(error, Refusal):
            return error.reply
        if isinstance(error, StoreFullError):
            return NEVER_FITS if error.never_fits else OUT_OF_MEMORY
        self.failures += 1
        log.error("%s failed", command.full_name, exc_info=error)
        return INTERNAL_ERROR

    def _counted(self, error: bytes) -> bytes:
        self.errors += 1
        return error

    def _refuse_arity(self, session: Session, command: Command) -> bytes:
        session.multi_error = True
        if command.full_name == "exec":
            self.watch.forget(session)
            session.end_transaction()
        return self._counted(command.arity_error())

    def _queue(self, session: Session, command: Command, argv: list[bytes]) -> bytes:
        """Keep a command for EXEC, within the limits of one command: a transaction runs whole, as one."""
        assert session.multi is not None
        session.multi_bytes += sum(map(len, argv))
        if len(session.multi) >= self.limits.max_arguments or session.multi_bytes > 2 * self.limits.max_value_bytes:
            session.multi_error = True
            return self._counted(TRANSACTION_TOO_LARGE)
        session.multi.append((command, argv))
        return encode.QUEUED

    def in_steps(self, session: Session, steps: Steps) -> Steps:
        """Return `steps` with its failures turned into replies, ending early if slots leave meanwhile."""
        command, losses = session.command, self.slots.losses
        assert command is not None
        try:
            while True:
                next(steps)
                yield
                if command.first_key and self.slots.losses != losses:
                    return self._counted(MOVED_MEANWHILE)
        except StopIteration as stop:
            reply: bytes = stop.value
            return reply
        except Exception as error:
            return self.answer_failure(command, error)

    # Sessions

    def open_session(self, address: str, local_address: str = "") -> Session:
        """Return the state of a new connection from `address` ("host:port")."""
        self.sessions_opened += 1
        session = Session(self.sessions_opened, address, authenticated=not self.require_auth, now_ms=self.now_ms,
                          local_address=local_address)
        self.sessions[session.id] = session
        return session

    def close_session(self, session: Session) -> None:
        """Forget a connection. Closing twice is harmless."""
        self.watch.forget(session)
        self.sessions.pop(session.id, None)

    # Topology, background work, statistics

    def set_topology(self, topology: Topology) -> bool:
        """Take over `topology` if it is newer than what is known; return whether it was."""
        if not self.slots.set(topology):
            return False
        self.owns_all = self.slots.owns_all
        self.replies_by_topology.clear()
        return True

    def step(self, now_ms: int, budget: int = 1000) -> bool:
        """Do some background work: expiry, freeing, emptying slots that went elsewhere. True: more is waiting."""
        self.now_ms = now_ms
        more = self.store.step(now_ms, budget)
        if self.slots.has_stale:
            more = self.slots.sweep(self.store, now_ms, budget // 2) or more
            self.owns_all = self.slots.owns_all
        return more

    def set_max_value_bytes(self, limit: int) -> None:
        """Take values up to `limit` bytes from now on."""
        self.max_value_bytes = limit
        self.large_value_bytes = min(LARGE_VALUE_BYTES, limit, self.store.capacity_bytes)

    def reset_stats(self) -> None:
        """Start every counter again from 0, the shell's own too."""
        self.store.stats = StoreStats()
        self.commands = self.errors = self.failures = 0
        if self.reset_info is not None:
            self.reset_info()

    def stats(self) -> dict[str, Any]:
        """Return the shard's statistics, plain enough for msgpack. The shell's own fields come with them."""
        return statistics_of(self)


def _silenced(steps: Steps) -> Steps:
    """Run `steps` for what they do and answer nothing."""
    yield from steps
    return b""
