"""What the router remembers of each shard and gateway, and how long it waits for what.

What lives here: mutable records, owned by one `RouterCore`, and its patience. What does not: the rules that change them
(`raycache.router.core`).
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from enum import Enum
from typing import Final

from raycache.ring.topology import GatewayInfo, ShardInfo, ShardState
from raycache.router.messages import Pong, ShardView, index_of, shard_id_of

NEVER: Final = float("-inf")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the router waits, in seconds, before it does the next thing."""

    restart_deadline_s: float = 30.0
    """A lost shard restarts by itself (Ray needs half a second, and up to 15 s to notice a dead node); then anew."""
    start_deadline_s: float = 60.0
    """A created shard registers within this, or it is created anew without a CPU reservation: ten actors at once
    took 10 s on two cores, and a reservation that does not fit waits for ever."""
    join_wait_s: float = 15.0
    """Newcomers are dealt in together, so that slots move once; those that take longer are not waited for."""
    recovery_wait_s: float = 5.0
    """A restarted router waits this long for the reports of shards that it knows to exist; they need milliseconds."""
    leave_wait_s: float = 5.0
    """A leaving shard stays until the others hold the topology without it, or until this has passed."""
    linger_s: float = 0.5
    """An upgrade ends an emptied process only after this: who uses the cluster asks for a moved key meanwhile and is
    sent elsewhere, instead of having a connection cut with a command on it that may not be repeated."""
    retry_s: float = 1.0
    """A push or a removal that nobody confirmed is repeated after this."""
    suspect_s: float = 1.0
    """The silence that the detector and peers take for a loss; leases are shorter (`raycache.replication.lease`)."""
    router_silence_s: float = 1.0
    """A standby stands for election when most shards have not been asked by the router for this long: it asks four
    times a second, and Ray starts its process again within 0.7 s where only that has died."""
    complaint_s: float = 10.0
    """What clients tell of a shard that does not answer them counts for this long."""
    return_wait_s: float = 10.0
    """So long a silent shard keeps its slots, though others are to have them: it may come back with writes that they
    have from somebody who has died meanwhile."""
    fresh_wait_s: float = 0.15
    """With several candidates: how long a promotion waits to hear, after the loss, how far each of them has come."""
    even_wait_s: float = 2.0
    """Primaries are dealt evenly again when nothing has happened for this long."""
    spread_wait_s: float = 10.0
    """A shard that shares its machine, while another machine has none, is moved when nothing has happened for this
    long."""
    slots_moved_at_once: int = 1024
    """A larger change moves slots in several turns. A change can be cancelled between two turns, and a loss meanwhile
    touches few slots. But for each turn everybody hears of two topologies, so few turns cost less."""
    entries_moved_at_once: int = 16_000
    """Where there are many entries, turns have fewer slots: while a slot is on its way some reads of it take a second
    hop. With 6 % of the slots at a time three reads in a hundred do, which anybody sees who looks at p99."""
    least_moved_at_once: int = 256
    """But not fewer than these: with 1.6 % of the slots it is less than one read in a hundred."""
    slots_swapped_at_once: int = 512


class Phase(Enum):
    """Where a shard is in its life, seen from the router."""

    WANTED = "wanted"
    """It should exist and does not."""
    STARTING = "starting"
    """Created; has not registered since."""
    UP = "up"
    DOWN = "down"
    """Was up and is lost; Ray restarts it."""
    REMOVING = "removing"
    """Being ended: for good, or to be created anew."""


_STATE_OF: Final[dict[Phase, ShardState]] = {
    Phase.WANTED: "starting", Phase.STARTING: "starting", Phase.UP: "up", Phase.DOWN: "down", Phase.REMOVING: "down",
}


@dataclass(slots=True)
class Delivery:
    """Which topology somebody holds, and which one is on its way."""

    held_epoch: int = 0
    pushed_epoch: int = 0
    pushed_at_s: float = NEVER

    def is_due(self, epoch: int, now_s: float, retry_s: float) -> bool:
        """Say whether `epoch` must be sent (again) now."""
        if self.held_epoch >= epoch:
            return False
        return self.pushed_epoch < epoch or now_s - self.pushed_at_s >= retry_s

    def sent(self, epoch: int, now_s: float) -> None:
        """Note that `epoch` is on its way."""
        self.pushed_epoch, self.pushed_at_s = epoch, now_s


@dataclass(slots=True)
class ShardRecord:
    """One shard, by its index."""

    index: int
    phase: Phase = Phase.WANTED
    since_s: float = NEVER
    """When this phase began."""
    node_id: str = ""
    """Where it runs, or was planned to run."""
    machine: str = ""
    zone: str = ""
    host: str = ""
    port: int = 0
    incarnation: int = -1
    """-1 = no process is known, so any will do."""
    failure: str = ""
    reserves_cpus: bool = True
    """False once a reservation has proved not to fit."""
    cpus: float = 0.0
    """Reserved at creation."""
    is_member: bool = False
    """Whether the topology has it."""
    is_leaving: bool = False
    left_epoch: int = 0
    """The first epoch that gives it no slots, while it is leaving; 0 = not made yet."""
    left_at_s: float = NEVER
    is_drained: bool = False
    """It has left and is being ended: it gets no slots, even where it is wanted again meanwhile."""
    removal_at_s: float = NEVER
    """When its removal was last asked for."""
    is_emptying: bool = False
    """Somebody wants it to own nothing: it, or its node, is drained."""
    is_dead: bool = False
    """Its process is gone for certain, not only silent."""
    is_blank: bool = False
    """Its process is new and knows nothing of the slots that it owns; no transfer has been made for that yet."""
    is_stale: bool = False
    """It was taken for lost and came back as it was: it has missed writes."""
    suspected_at_s: float | None = None
    """Since when the router has not heard it for too long; None = it is heard."""
    lost_at_s: float = NEVER
    granted_term: int = 0
    pong: Pong | None = None
    """The newest answer of this process."""
    pong_at_s: float = NEVER
    delivery: Delivery | None = None

    @classmethod
    def from_info(cls, info: ShardInfo, draining: Container[str]) -> ShardRecord:
        """Return a member as the topology describes it, lost until it reports. Weight 0: it was leaving, or drained."""
        is_emptying = info.id in draining or info.node_id in draining
        return cls(index_of(info.id), Phase.DOWN, NEVER, info.node_id, info.machine, info.zone, info.host, info.port,
                   info.incarnation, is_member=True, is_leaving=info.weight == 0 and not is_emptying,
                   is_emptying=is_emptying)

    @property
    def id(self) -> str:
        return shard_id_of(self.index)

    @property
    def is_up(self) -> bool:
        return self.phase is Phase.UP

    @property
    def gives_away(self) -> bool:
        """Whether it is to own nothing."""
        return self.is_leaving or self.is_drained or self.is_emptying

    def enter(self, phase: Phase, now_s: float) -> None:
        """Go over to another phase."""
        self.phase, self.since_s, self.removal_at_s = phase, now_s, NEVER
        self.suspected_at_s = None
        if phase is Phase.DOWN:
            self.lost_at_s = now_s

    def forget_process(self) -> None:
        """Whatever registers next is the living process, even with a lower incarnation (another machine's clock)."""
        self.incarnation, self.failure, self.delivery, self.cpus = -1, "", None, 0.0
        self.is_dead, self.pong, self.granted_term = True, None, 0

    def info(self, full_weight: int) -> ShardInfo:
        """Return what the topology says of this shard."""
        weight = 0 if self.gives_away else full_weight
        return ShardInfo(self.id, self.host, self.port, self.node_id, self.machine, self.zone, _STATE_OF[self.phase],
                         weight, max(self.incarnation, 0))

    def view(self) -> ShardView:
        """Return what `status` says of this shard."""
        return ShardView(self.id, _STATE_OF[self.phase], self.host, self.port, self.node_id, self.machine,
                         max(self.incarnation, 0), self.is_leaving, self.is_emptying, self.suspected_at_s is not None)


@dataclass(slots=True)
class GatewayRecord:
    """One gateway, by its node."""

    node_id: str
    asked_at_s: float
    """When its creation was last asked for, or when it was lost."""
    info: GatewayInfo | None = None
    """None = not up."""
    delivery: Delivery | None = None
