"""What happened in a simulation, as somebody who sees everything would write it down.

What lives here: operations as clients saw them, executions as shards did them, deaths with what went with them, and a
few questions. What does not: judging (`checks`). Times are true times.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Final, Literal

Kind = Literal["set", "delete", "get"]
Outcome = Literal["open", "ok", "failed", "timeout"]

PLAIN: Final = -1
"""Acknowledgements that nobody asked for."""


@dataclass(slots=True)
class Operation:
    """One call of a client, with all its attempts."""

    number: int
    client: str
    kind: Kind
    key: bytes
    slot: int
    value: bytes | None
    """What a write stores; no two writes store the same."""
    invoked_s: float
    deadline_s: float
    """The client's own; it gives up then, whatever comes."""
    acks: int = PLAIN
    """How many further copies were to have it before it was acknowledged."""
    token: dict[int, int] | None = None
    covered: tuple[Operation, ...] = ()
    """Acknowledged writes to this key that happened before the token was taken."""
    expires: bool = False
    is_at_primary: bool = False
    """Of a read: whether only the slot's first owner was asked."""
    returned_s: float = float("inf")
    outcome: Outcome = "open"
    result: bytes | None = None
    """What a read returned."""
    version: int = 0
    """Of an acknowledged write: what it was stored under. Of a read: what came with the answer, 0 where none did."""
    source: str = ""
    """Which shard answered."""
    text: str = ""
    """The last error."""
    attempts: int = 0
    was_fenced: bool = False

    @property
    def is_acknowledged(self) -> bool:
        """Whether it is a write that the client was told has happened."""
        return self.kind != "get" and self.outcome == "ok"

    def __str__(self) -> str:
        what = f"{self.kind} {self.key.decode()}" + (f" = {self.value.decode()}" if self.value else "")
        got = f" -> {self.result!r}" if self.kind == "get" and self.outcome == "ok" else ""
        return (f"#{self.number} {self.client} {what} [{self.invoked_s:.4f}, {self.returned_s:.4f}] "
                f"{self.outcome}{got} version {self.version} by {self.source} {self.text}").rstrip()


@dataclass(frozen=True, slots=True)
class Execution:
    """A write that a shard did for a client. One operation may have several: its client tried again."""

    operation: Operation
    attempt: int
    shard: str
    life: int
    epoch: int
    at_s: float
    version: int


@dataclass(frozen=True, slots=True)
class Loss:
    """Versions of one key that are nowhere any more since a shard died: those above `left`, up to `held`."""

    at_s: float
    shard: str
    key: bytes
    left: int
    """The newest version that somebody alive still had."""
    held: int
    """The version that died."""


@dataclass(frozen=True, slots=True)
class Death:
    """A shard's memory is gone."""

    at_s: float
    shard: str
    window: int | None
    """How many writes it said that it alone had; None: it cannot say (one copy)."""
    lost: tuple[Operation, ...]
    """Acknowledged writes that had never been anywhere else."""
    alone: frozenset[int] = frozenset()
    """The slots that it said it was the only owner of."""


@dataclass(slots=True)
class History:
    """Everything that happened."""

    operations: list[Operation] = field(default_factory=list)
    executions: list[Execution] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    deaths: list[Death] = field(default_factory=list)
    epochs: list[tuple[str, int, int, int]] = field(default_factory=list)
    """(shard, its life, its epoch, term of that topology), whenever that changed."""
    expiring: set[bytes] = field(default_factory=set)
    """Keys of which some write was meant to expire."""
    bounds: list[str] = field(default_factory=list)
    """Bounds that were found broken while it ran, and commands that hung."""
    _by_attempt: dict[tuple[int, int], Execution] = field(default_factory=dict)
    _by_value: dict[bytes, list[Execution]] = field(default_factory=dict)
    _by_value_of: int = -1
    """How many executions `_by_value` was made of."""

    def begin(self, operation: Operation) -> None:
        """Note that a client has called."""
        self.operations.append(operation)
        if operation.expires:
            self.expiring.add(operation.key)

    def executed(self, execution: Execution) -> None:
        """Note that a shard has done a write."""
        self.executions.append(execution)
        self._by_attempt[execution.operation.number, execution.attempt] = execution

    def execution_of(self, operation: Operation, attempt: int) -> Execution | None:
        """Return what became of one attempt."""
        return self._by_attempt.get((operation.number, attempt))

    def last_execution_of(self, operation: Operation) -> Execution | None:
        """Return what became of the attempt that was answered, or of the last one."""
        return self._by_attempt.get((operation.number, operation.attempts))

    def writes_by_key(self) -> dict[bytes, list[Operation]]:
        """Return every write, acknowledged or not, by key."""
        writes: defaultdict[bytes, list[Operation]] = defaultdict(list)
        for operation in self.operations:
            if operation.kind != "get":
                writes[operation.key].append(operation)
        return writes

    def versions_by_value(self) -> dict[bytes, list[Execution]]:
        """Return who stored each value, and when."""
        if self._by_value_of == len(self.executions):
            return self._by_value
        found: defaultdict[bytes, list[Execution]] = defaultdict(list)
        for execution in self.executions:
            if execution.operation.value is not None:
                found[execution.operation.value].append(execution)
        self._by_value, self._by_value_of = found, len(self.executions)
        return found

    def may_be_lost(self, key: bytes, version: int, before_s: float = float("inf")) -> bool:
        """Say whether all copies of this version had died by `before_s`."""
        return any(loss.key == key and loss.left < version <= loss.held and loss.at_s <= before_s
                   for loss in self.losses)
