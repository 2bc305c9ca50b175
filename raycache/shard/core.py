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
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Protocol

from raycache.access.user import User
from raycache.config import ClusterConfig, Limits
from raycache.metrics.families import Samples
from raycache.replication.neighbours import Boxes
from raycache.replication.replicator import Replicator
from raycache.replication.version import HybridClock
from raycache.resp import encode
from raycache.ring.records import RECORD_PREFIX
from raycache.ring.slots import SLOT_COUNT, slot_of
from raycache.ring.topology import Topology
from raycache.shard.careful import Independent, is_independent, is_settled, run_carefully
from raycache.shard.commands import DISPATCH, is_http, resolve, unknown_command
from raycache.shard.commands.access import LARGE_VALUE_BYTES
from raycache.shard.commands.command import Command, Refusal, Reply, Steps
from raycache.shard.commands.kinds import kinds_taken
from raycache.shard.commands.replication import READ
from raycache.shard.commands.tracking import run_tracked
from raycache.shard.commands.whole import WholeNeeded, run_when_whole, unpacked
from raycache.shard.figures import latency_of, shard_samples
from raycache.shard.guard import Guard
from raycache.shard.meter import Meter
from raycache.shard.objects import Objects
from raycache.shard.owned import ELSEWHERE, PLAIN, OwnedSlots
from raycache.shard.queues import QUEUE_SHARE, WriteQueues
from raycache.shard.recording import Recording
from raycache.shard.session import REPLY_ON, REPLY_SKIP, Session
from raycache.shard.statistics import statistics_of
from raycache.shard.tracking import SHARE, Tracking
from raycache.shard.turn import GET, RC_GET, SET, run_turn
from raycache.shard.watch import WatchedKeys
from raycache.store import Entry, Store, StoreFullError, StoreStats, WholeStore
from raycache.usage.looks import Usage

log = logging.getLogger(__name__)

NOAUTH = encode.error("NOAUTH Authentication required.")
OUT_OF_MEMORY = encode.error("OOM command not allowed when used memory > 'maxmemory'.")
NEVER_FITS = encode.error("ERR value is larger than the shard's memory")
TRANSACTION_TOO_LARGE = encode.error("ERR transaction is too large")
MOVED_MEANWHILE = encode.error("TRYAGAIN Slots moved while the command ran")
INTERNAL_ERROR = encode.error("ERR internal error, see the shard's log")

HTTP_WARNING_EVERY_MS = 60_000

_SLOT_MASK = SLOT_COUNT - 1
# As a number: `b"{" in key` first fails to read b"{" as one, and takes four times as long (140 against 33 ns).
_BRACE = 0x7B


class Span(Protocol):
    """What one traced command takes, as `raycache.tracing` measures it."""

    def end(self, reply: bytes) -> None:
        """The command has been answered."""


class Tracer(Protocol):
    """Begins spans."""

    def begin(self, traceparent: bytes, command: str) -> Span:
        """Return the span of a command, which belongs to W3C's `traceparent`."""


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
        users: those that the cluster was started with; there may be others by now.
        allow_pickle: whether values may be pickle.
    """

    def __init__(self, *, store: Store, shard_id: str = "s0", secret: str | None = None, require_auth: bool = False,
                 limits: Limits | None = None, policy: str = "lru",
                 info: Callable[[], Mapping[str, Any]] | None = None, reset_info: Callable[[], None] | None = None,
                 rng: random.Random | None = None, started_ms: int = 0, users: Iterable[User] = (),
                 allow_pickle: bool = False) -> None:
        self.store = store
        self.whole = WholeStore(store, RECORD_PREFIX)
        """The store with what is kept beside its entries: what goes to other shards, and into a snapshot."""
        self.queues = WriteQueues(store.capacity_bytes // QUEUE_SHARE)
        self.whole.pinned.listener = self.queues.changed
        self.get, self.put = store.get, store.put
        self.shard_id = shard_id
        self.secret = secret
        self.require_auth = require_auth and secret is not None
        self.limits = limits or Limits()
        self.max_key_bytes = self.limits.max_key_bytes
        self.max_value_bytes = self.limits.max_value_bytes
        self.large_value_bytes = min(LARGE_VALUE_BYTES, self.max_value_bytes, store.capacity_bytes)
        self.policy = policy
        self.allow_pickle = allow_pickle
        self.kinds_taken = kinds_taken(allow_pickle)
        self.info = info or dict
        self.reset_info = reset_info
        self.rng = rng or random.Random()
        self.started_ms = started_ms
        self.tracer: Tracer | None = None
        """Begins spans for commands that come with a trace's context; None: nothing is traced."""
        self.meter: Meter = Meter(self.rng)
        self.calls = self.meter.calls
        self.clock_s: Callable[[], float] = float
        """Monotonic seconds, for the turn: the shell sets it, and without one nothing is slow."""
        self.slow_s = self.meter.slow_s
        self.usage = Usage(_keys_among, self.rng)
        self.now_ms = started_ms
        """The time of the batch that runs now; the shell sets it, handlers read it."""
        self.plain = 0
        """Commands that the hot loop has written out: those alone are not in `meter.calls`."""
        self.errors = 0
        self.failures = 0
        """Handlers that raised something unexpected: bugs of ours."""
        self.sets = 0
        """Those of them that were SETs."""
        self.rc_gets = 0
        """Those of them that were RC.GETs; the rest were GETs."""
        self._warned_ms = 0
        self.guard = Guard(self, users)
        self.sessions: dict[int, Session] = {}
        self.sessions_opened = 0
        self.watch = WatchedKeys(store, lambda: self.rng.getrandbits(62) + 1)
        self.watched = self.watch.sessions_by_key
        self.leases = self.watch.leases
        self.tracking = Tracking(store.capacity_bytes // SHARE, self._listen)
        self.watch.tracking = self.tracking
        self.monotonic_s: Callable[[], float] = lambda: self.replicator_now_s
        """Monotonic seconds, for commands that wait; the shell sets its clock's."""
        self._clock = HybridClock(0)
        """Of a shard that stands alone; else the replicator's counts."""
        self.slots = OwnedSlots(shard_id)
        self.owned = self.slots.owned
        self.owns_all = True
        self.replicator: Replicator | None = None
        """This shard's part in replication and transfers; None: it stands alone."""
        self.touched: dict[Boxes, None] = {}
        """Where writes have gone to since `take_writes`; the replicator's own set, always empty without one."""
        self.at_turn: Callable[[float], None] | None = None
        """To be called with monotonic seconds at the start of each turn, where there is something to look at."""
        self.recording: Recording | None = None
        """The recording under way, which has taken the place of `execute_many` in this object."""
        self.objects: Objects | None = None
        """The objects in Ray's store that this shard owns; None: it has none, and takes none."""
        self.unpack: Callable[[bytes, Callable[[bytes], None]], None] = _unpack
        """Unpacks a compressed value and tells what is in it; the shell does that in a thread."""
        self.replies_by_topology: dict[Any, bytes] = {}
        self.complaints: dict[str, int] = {}
        """Shard -> when a client has last said, in Unix ms, that it does not answer; of shards in the topology only."""
        """Long replies worked out from the topology (CLUSTER SLOTS and the like), kept until the next one."""

    execute_many = run_turn

    @property
    def commands(self) -> int:
        """How many commands there were."""
        return self.plain + sum(self.calls)

    @property
    def topology(self) -> Topology | None:
        """The newest topology this shard has seen; None: it stands alone and owns everything."""
        return self.slots.topology

    def execute(self, session: Session, argv: list[bytes]) -> Reply:
        """Run one command; return its encoded reply, or a generator if it is long.

        A generator does one step per `next` and returns the reply; the session's later commands
        must wait for it. No exception leaves here, and none leaves such a generator.
        """
        command = DISPATCH.get(argv[0])
        if command is None or not session.plain:
            return self._execute_carefully(session, argv)
        session.command = command
        session.last_ms = self.now_ms
        self.calls[command.number] += 1
        argc = len(argv)
        if argc != command.usual_argc and (argc < command.min_argc or argc > command.max_argc):
            return self._refuse_arity(session, command)
        if not self.owns_all and command.first_key:
            if (at := command.one_key) and _BRACE not in (key := argv[at]):
                if self.owned[crc_hqx(key, 0) & _SLOT_MASK] != PLAIN:
                    return self.serve(session, command, argv, [key])
            elif not self.slots.are_plain(keys := command.keys(argv)):
                return self.serve(session, command, argv, keys)
        try:
            return command.handler(self, session, argv)
        except WholeNeeded as needed:
            return run_when_whole(self, session, command, argv, needed)
        except Exception as error:
            return self.answer_failure(command, error)

    def serve(self, session: Session, command: Command, argv: list[bytes], keys: list[bytes]) -> Reply:
        """Run a checked command on `keys` if their slots are served here, in whatever way they are."""
        if self.slots.are_plain(keys) or command is READ:
            return self.run(session, command, argv)
        if (refusal := self.slots.check(keys)) is not None:
            if session.readonly and not command.is_write() and self.slots.check_readable(keys) is None:
                return self.run(session, command, argv)
            self.meter.rejected[command.number] += 1
            return self.counted_error(refusal)
        if is_settled(self, keys):
            return self.run(session, command, argv)
        steps = run_carefully(self, session, command, argv, keys, partial(self.run, session, command, argv))
        return Independent(steps, keys) if is_independent(command, argv) else steps

    def _execute_carefully(self, session: Session, argv: list[bytes]) -> Reply:
        """Everything but the plain case: containers, odd spellings, secrets, transactions, silent clients."""
        asking, reply_before = session.asking, session.reply
        session.asking = False
        reply = (self._untraced if session.trace is None else self._traced)(session, argv)
        silent = session.reply != REPLY_ON
        if reply_before == session.reply == REPLY_SKIP:  # this was the one command to answer in silence
            session.reply = REPLY_ON
            session.refresh()
        if asking:
            session.refresh()
        if not silent:
            return reply
        return b"" if isinstance(reply, bytes) else _silenced(reply)

    def _traced(self, session: Session, argv: list[bytes]) -> Reply:
        """Run a command in a span of its own."""
        assert session.trace is not None
        assert self.tracer is not None
        traceparent, session.trace = session.trace, None
        session.refresh()
        command = resolve(argv)
        span = self.tracer.begin(traceparent, command.full_name if command is not None else "unknown")
        reply = self._untraced(session, argv)
        if not isinstance(reply, bytes):
            return _spanned(reply, span)
        span.end(reply)
        return reply

    def _untraced(self, session: Session, argv: list[bytes]) -> Reply:
        return self.checked(session, argv) if session.tracking is None else run_tracked(self, session, argv)

    def checked(self, session: Session, argv: list[bytes]) -> Reply:
        """Run one command, with every check."""
        command = resolve(argv)
        self.calls[0 if command is None else command.number] += 1
        if command is None:
            if is_http(argv):
                return self._hang_up(session)
            session.multi_error = True
            return self.counted_error(unknown_command(argv))
        session.command = command
        session.last_ms = self.now_ms
        if not command.min_argc <= len(argv) <= command.max_argc:
            return self._refuse_arity(session, command)
        if command.needs_auth and not session.authenticated:
            session.multi_error = True
            self.meter.rejected[command.number] += 1
            return self.counted_error(NOAUTH)
        if session.rights is not None and (denied := self.guard.refusal(session, command, argv)) is not None:
            if command.name == "rc.trace":  # whatever it is, it has no reply
                return b""
            session.multi_error = True
            self.meter.rejected[command.number] += 1
            return self.counted_error(denied)
        keys = command.keys(argv) if not self.owns_all and command.first_key else []
        if session.multi is not None and command.queueable:
            if keys and (refusal := self.slots.check(keys)) is not None:
                session.multi_error = True
                self.meter.rejected[command.number] += 1
                return self.counted_error(refusal)
            return self._queue(session, command, argv)
        return self.serve(session, command, argv, keys) if keys else self.run(session, command, argv)

    def _hang_up(self, session: Session) -> bytes:
        """Close a connection that speaks HTTP without an answer, before the commands in its body run."""
        session.closing = True
        if self.now_ms - self._warned_ms >= HTTP_WARNING_EVERY_MS:
            self._warned_ms = self.now_ms
            log.warning("closed %s: it sent an HTTP request, perhaps a page that tries to run commands here",
                        session.address)
        return self.counted_error(b"")

    @staticmethod
    def command_named(argv: list[bytes]) -> Command | None:
        """Return the command that `argv` is one of, None if there is none."""
        return resolve(argv)

    def run(self, session: Session, command: Command, argv: list[bytes]) -> Reply:
        """Run a checked command's handler; whatever it raises becomes an error reply."""
        try:
            return command.handler(self, session, argv)
        except WholeNeeded as needed:
            return run_when_whole(self, session, command, argv, needed)
        except Exception as error:
            return self.answer_failure(command, error)

    def answer_failure(self, command: Command, error: Exception) -> bytes:
        """Return the reply to what a handler raised."""
        self.meter.failed[command.number] += 1
        if isinstance(error, Refusal):
            return self.counted_error(error.reply)
        if isinstance(error, StoreFullError):
            return self.counted_error(NEVER_FITS if error.never_fits else OUT_OF_MEMORY)
        self.failures += 1
        log.error("%s failed", command.full_name, exc_info=error)
        return self.counted_error(INTERNAL_ERROR)

    def counted_error(self, error: bytes) -> bytes:
        """Count an error reply, and return it."""
        self.errors += 1
        self.meter.count_error(error)
        return error

    def _refuse_arity(self, session: Session, command: Command) -> bytes:
        session.multi_error = True
        self.meter.rejected[command.number] += 1
        if command.full_name == "exec":
            self.watch.forget(session)
            session.end_transaction()
        return self.counted_error(command.arity_error())

    def _queue(self, session: Session, command: Command, argv: list[bytes]) -> bytes:
        """Keep a command for EXEC, within the limits of one command: a transaction runs whole, as one."""
        assert session.multi is not None
        session.multi_bytes += sum(map(len, argv))
        if len(session.multi) >= self.limits.max_arguments or session.multi_bytes > 2 * self.limits.max_value_bytes:
            session.multi_error = True
            self.meter.rejected[command.number] += 1
            return self.counted_error(TRANSACTION_TOO_LARGE)
        session.multi.append((command, argv))
        return encode.QUEUED

    def in_steps(self, session: Session, steps: Steps) -> Steps:
        """Return `steps` with its failures turned into replies, ending early if slots leave meanwhile."""
        command, losses = session.command, self.slots.losses
        assert command is not None
        try:
            while True:
                yield next(steps)
                if command.first_key and self.slots.losses != losses:
                    return self.counted_error(MOVED_MEANWHILE)
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
        self.guard.begin(session)
        self.sessions[session.id] = session
        return session

    def close_session(self, session: Session) -> None:
        """Forget a connection. Closing twice is harmless."""
        self.watch.forget(session)
        self.tracking.stop(session)
        self.leases.release(session)
        self.sessions.pop(session.id, None)

    # Topology, replication, background work, statistics

    def replicate(self, config: ClusterConfig, now_s: float) -> Replicator:
        """Take part in a cluster's replication and transfers; before the first topology.

        Args:
            now_s: monotonic seconds.
        """
        if config.queue_bytes:
            self.queues.limit_bytes = config.queue_bytes
        replicator = self.replicator = Replicator(self, self.shard_id, config, self.started_ms, now_s)
        self.touched = replicator.copies.touched
        self.slots.replicator = replicator
        replicator.on_change = self._settle_slots
        replicator.on_topology = lambda data: self._take_topology(data)
        replicator.on_access = self.guard.take
        replicator.access_digest = lambda: self.guard.users.digest()
        replicator.complaints = self.complaints
        if replicator.is_versioned:
            self.at_turn = self._at_turn
        return replicator

    @property
    def replicator_now_s(self) -> float:
        """Monotonic seconds as the replicator knows them: the start of this turn, or of its last step."""
        return self.replicator.now_s if self.replicator is not None else 0.0

    def _at_turn(self, now_s: float) -> None:
        replicator = self.replicator
        assert replicator is not None
        replicator.now_s = now_s
        if self._had_lease and now_s > replicator.lease_until_s:
            self._settle_slots()

    def may_serve(self) -> bool:
        """Return whether this shard may serve the slots that it is primary of: nobody can have taken over."""
        return self.replicator is None or self.replicator.has_lease(self.replicator.now_s)

    def take_writes(self, session: Session | None) -> dict[Boxes, tuple[int, ...]]:
        """Return where writes have gone since the last call, with their numbers; `session` remembers them."""
        if not self.touched:
            return {}
        writes = {}
        for boxes in self.touched:
            writes[boxes] = tuple([box.offset for box in boxes])
        self.touched.clear()
        if session is not None:
            session.wrote.update(writes)
        return writes

    def next_version(self) -> int:
        """Return a version above every one that this shard has given out or heard of."""
        if self.replicator is not None:
            return self.replicator.copies.clock.next(self.now_ms)
        return self._clock.next(self.now_ms)

    def unpin(self, entry: Entry) -> None:
        """Remove a record, here and at the other owners."""
        if self.replicator is not None:
            self.replicator.copies.unpin(entry)
        else:
            self.whole.pinned.remove(entry.key, self.now_ms)

    def key_changed(self, key: bytes) -> None:
        """Another shard's write has changed a key."""
        if self.watched:
            self.watch.touch(key)

    def all_changed(self) -> None:
        """Another shard's write has changed nobody knows which keys."""
        self.leases.void_prefix(b"")
        self.tracking.all_changed()

    def _listen(self, is_tracked: bool) -> None:
        """Somebody tracks keys, for the first time, or nobody does any more."""
        self.watch.listen(is_tracked)
        self.store.on_leave = self.tracking.changed if is_tracked else None

    def set_topology(self, topology: Topology) -> bool:
        """Take over `topology` if it is newer than what is known; return whether it was."""
        replicator = self.replicator
        if replicator is not None and topology.term < replicator.granted_term and topology.epoch:
            return False  # made by a router that has been replaced
        if not self.slots.set(topology, is_empty=not len(self.whole)):
            return False
        if replicator is not None:
            replicator.set_topology(topology, replicator.now_s)
        self._settle_slots()
        if self.slots.has_stale:  # of those that have gone no change is heard of here
            self.tracking.all_changed()
        self.replies_by_topology.clear()
        return True

    def complain(self, addresses: list[bytes]) -> None:
        """Take note that the shards at these addresses ("host:port") do not answer a client."""
        if addresses and self.topology is not None:
            by_address = {b"%s:%d" % (shard.host.encode(), shard.port): shard.id for shard in self.topology.shards}
            for address in addresses:
                if (shard_id := by_address.get(address)) is not None:
                    self.complaints[shard_id] = self.now_ms

    def _take_topology(self, data: bytes) -> None:
        try:
            self.set_topology(Topology.from_bytes(data))
        except ValueError as error:
            log.warning("a topology that cannot be read was ignored: %s", error)

    def _settle_slots(self) -> None:
        """Work out anew which slots are served, and how."""
        had_lease, losses = self._had_lease, self.slots.losses
        self._had_lease = self.may_serve()
        self.slots.settle()
        if self.slots.losses != losses or (had_lease and not self._had_lease):
            self.tracking.all_changed()  # others may write now what was read here
        self.owns_all = self.slots.owns_all
        if self.leases:
            owned, is_serving = self.owned, self._had_lease
            self.leases.drop(lambda key: is_serving and owned[slot_of(key)] != ELSEWHERE)

    _had_lease = True

    def step(self, now_ms: int, budget: int = 1000) -> bool:
        """Do some background work: expiry, freeing, emptying slots that went elsewhere. True: more is waiting."""
        self.now_ms = now_ms
        self.usage.step(now_ms)
        more = self.store.step(now_ms, budget)
        self.leases.step(self.monotonic_s())
        if self.objects is not None:
            self.objects.step(now_ms, self.monotonic_s())
        if self.slots.has_stale:
            more = self.slots.sweep(self.whole, now_ms, budget // 2) or more
            self.owns_all = self.slots.owns_all
        return more

    def set_max_value_bytes(self, limit: int) -> None:
        """Take values up to `limit` bytes from now on."""
        self.max_value_bytes = limit
        self.large_value_bytes = min(LARGE_VALUE_BYTES, limit, self.store.capacity_bytes)

    def reset_stats(self) -> None:
        """Start every counter again from 0, the shell's own too."""
        self.store.stats = StoreStats()
        self.leases.reset_stats()
        self.plain = self.sets = self.rc_gets = self.errors = self.failures = 0
        self.meter.reset()
        self.calls = self.meter.calls
        self.usage = Usage(_keys_among, self.rng)
        if self.reset_info is not None:
            self.reset_info()

    def measure(self, clock_s: Callable[[], float], every: int) -> None:
        """Measure durations from now on.

        Args:
            clock_s: monotonic seconds.
            every: one turn of so many is measured, on average.
        """
        self.clock_s = self.meter.clock_s = clock_s
        self.meter.every = every
        self.watch_slow()

    def watch_slow(self) -> None:
        """Look at commands that are slow by the meter's settings, which may have changed."""
        self.meter.settings_changed()
        self.slow_s = self.meter.slow_s

    def calls_of(self) -> list[int]:
        """Return how often each command was called, by its number; at 0 what was no command."""
        calls = list(self.calls)
        calls[SET.number] += self.sets
        calls[RC_GET.number] += self.rc_gets
        calls[GET.number] += self.plain - self.sets - self.rc_gets
        return calls

    def latency(self) -> dict[str, dict[str, float]]:
        """Return p50 and p99 by class of commands, in microseconds, and of how many commands."""
        return latency_of(self.meter)

    def samples(self) -> Samples:
        """Return the shard's figures for exporters."""
        return shard_samples(self)

    def stats(self) -> dict[str, Any]:
        """Return the shard's statistics, plain enough for msgpack. The shell's own fields come with them."""
        return statistics_of(self)


def _keys_among(argv: list[bytes]) -> list[bytes]:
    """Return the keys among the first arguments of a command, of which more may follow."""
    command = DISPATCH.get(argv[0])
    if command is None or not command.first_key:
        return []
    end = command.last_key + 1 if command.last_key > 0 else len(argv)
    return argv[command.first_key : end : command.key_step]


def _spanned(steps: Steps, span: Span) -> Steps:
    """Run `steps`, and end their span with them."""
    reply = b"-INTERRUPTED\r\n"
    try:
        reply = yield from steps
        return reply
    finally:
        span.end(reply)


def _unpack(packed: bytes, done: Callable[[bytes], None]) -> None:
    done(unpacked(packed))


def _silenced(steps: Steps) -> Steps:
    """Run `steps` for what they do and answer nothing."""
    yield from steps
    return b""
