"""What simulated clients ask for: keys, commands, acknowledgements, tokens.

What lives here: drawing the next operation and its commands, and reading their replies. What does not: routing and
trying again (`client`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgpack

from raycache.ring.slots import slot_of
from raycache.testing.simulation.client import ClientNode
from raycache.testing.simulation.history import Kind, Operation

if TYPE_CHECKING:
    from raycache.testing.simulation.world import World


@dataclass(slots=True)
class Plan:
    """How one operation is put to a shard."""

    command: list[bytes]
    options: dict[str, Any] | None = None
    """Of RC.READ or RC.WRITE; None: the plain command."""
    spread: float = 0.0
    """A number from 0 to 1 that picks an owner; below 0: the first."""
    timeout_s: float = 0.0
    is_read: bool = False

    def choose(self, owners: list[str], attempt: int) -> str:
        """Return whom to ask: the same first choice, and then the others in turn where any owner will do."""
        if self.spread < 0:
            return owners[0]
        return owners[(int(self.spread * len(owners)) + attempt - 1) % len(owners)]

    def argv(self, attempt: int) -> list[bytes]:
        """Return the command's words."""
        if self.options is None:
            return list(self.command)
        packed: bytes = msgpack.packb(self.options)
        name = b"RC.READ" if self.is_read else b"RC.WRITE"
        return [name, packed, *(self.command[1:] if self.is_read else self.command)]

    def is_acceptable(self, reply: Any) -> bool:
        """Say whether this is an answer at all."""
        return True

    def take(self, operation: Operation, reply: Any) -> None:
        """Note what the shard answered."""
        if not self.is_read:
            return
        if self.options is None:
            operation.result = reply
        else:
            payload, version, source = reply[0][:3]
            operation.result = payload[1:] if payload is not None else None
            operation.version = version
            operation.source = source.decode() if isinstance(source, bytes) else str(source)


@dataclass(slots=True)
class Token:
    """What a client hands to another: how far shards had come, and what it had written until then."""

    clocks: dict[int, int]
    covers: tuple[Operation, ...]


@dataclass(slots=True)
class Mix:
    """How often what is done, as parts of one."""

    reads: float = 0.5
    deletes: float = 0.1
    expiring: float = 0.0
    acks: float = 0.3
    """Of writes: how many ask for acknowledgements."""
    replica_reads: float = 0.3
    """Of reads: how many may be answered by any owner."""
    tokens: float = 0.2
    """Of acknowledged writes: after how many a token is taken, and read with."""
    elsewhere: float = 0.3
    """Where any owner takes writes: how many do not go to the first."""
    think_s: float = 0.03
    keys: int = 16
    deadline_s: float = 2.5


@dataclass(slots=True)
class Workload:
    """Everything that the clients of one simulation do."""

    world: World
    mix: Mix
    clients: list[ClientNode] = field(default_factory=list)
    stops_at_s: float = float("inf")
    _count: int = 0
    _acknowledged: dict[str, list[tuple[str, Operation]]] = field(default_factory=dict)
    """By client: its writes, and who did them."""

    def start(self, clients: int) -> None:
        """Let clients begin."""
        for index in range(clients):
            client = ClientNode(self.world, f"c{index}")
            self.clients.append(client)
            self._acknowledged[client.name] = []
            client.after(self.world.rng.random() * self.mix.think_s, self._next, client)

    @property
    def keys(self) -> list[bytes]:
        """All keys that are used."""
        return [b"k%d" % number for number in range(self.mix.keys)]

    def _next(self, client: ClientNode) -> None:
        rng, mix, now_s = self.world.rng, self.mix, self.world.scheduler.now_s
        if now_s >= self.stops_at_s:
            return
        self._count += 1
        key = b"k%d" % int(rng.random() * mix.keys)
        kind: Kind = "get" if rng.random() < mix.reads else "delete" if rng.random() < mix.deletes else "set"
        operation = Operation(self._count, client.name, kind, key, slot_of(key), None, now_s, now_s + mix.deadline_s)
        plan = self._read(operation) if kind == "get" else self._write(operation)
        self._begin(client, operation, plan)

    def _begin(self, client: ClientNode, operation: Operation, plan: Plan) -> None:
        rng, mix = self.world.rng, self.mix

        def done() -> None:
            if operation.is_acknowledged:
                self._acknowledged[client.name].append((operation.source, operation))
                if self.world.copies > 1 and rng.random() < mix.tokens:
                    self._take_token(client, operation.source)
                    return
            self._rest(client)

        client.call(operation, plan, done)

    def _rest(self, client: ClientNode) -> None:
        client.after(self.world.rng.random() * 2 * self.mix.think_s, self._next, client)

    def _anywhere(self) -> bool:
        return self.world.copies > 1 and self.world.mode != "primary-replica"

    def _write(self, operation: Operation) -> Plan:
        rng, mix = self.world.rng, self.mix
        plan = Plan([b"DEL", operation.key], spread=-1.0)
        if operation.kind == "set":
            operation.value = b"v%d" % operation.number
            plan.command = [b"SET", operation.key, operation.value]
            if rng.random() < mix.expiring:
                operation.expires = True
                plan.command += [b"PX", b"%d" % int(200 + 2000 * rng.random())]
        if self._anywhere() and rng.random() < mix.elsewhere:
            plan.spread = rng.random()
        if self.world.copies > 1 and rng.random() < mix.acks:
            self._ask_for_acks(operation, plan)
        return plan

    def _ask_for_acks(self, operation: Operation, plan: Plan) -> None:
        plan.timeout_s = 0.6
        name, beside = ("w", 1) if self.world.mode == "quorum" else ("acks", 0)
        operation.acks = max(1, int(self.world.rng.random() * self.world.copies))
        plan.options = {name: operation.acks + beside, "timeout_ms": 600}

    def _read(self, operation: Operation) -> Plan:
        rng, mix = self.world.rng, self.mix
        plan = Plan([b"GET", operation.key], spread=-1.0, is_read=True)
        if self.world.copies == 1 or rng.random() >= mix.replica_reads:
            operation.is_at_primary = True
            return plan
        plan.spread = rng.random()
        if self.world.mode == "primary-replica":
            plan.options = {"from": "replica", "timeout_ms": 300}
        elif rng.random() < 0.5:
            plan.options = {"timeout_ms": 300}
        return plan

    def _read_with(self, token: Token, client: ClientNode) -> None:
        """Read what the token is about, at some owner: as the process would that it was handed to."""
        self._count += 1
        last, now_s = token.covers[-1], self.world.scheduler.now_s
        operation = Operation(self._count, client.name, "get", last.key, last.slot, None, now_s,
                              now_s + self.mix.deadline_s, token=token.clocks)
        operation.covered = tuple(write for write in token.covers if write.key == last.key)
        options = {"from": "replica", "timeout_ms": 300, "token": token.clocks}
        plan = Plan([b"GET", last.key], options, self.world.rng.random(), timeout_s=0.3, is_read=True)
        self._begin(client, operation, plan)

    def _take_token(self, client: ClientNode, shard: str) -> None:
        """Ask the shard that did this client's last write how far it has come."""
        node = self.world.shard(shard)
        mine = [write for source, write in self._acknowledged[client.name][-20:] if source == shard]

        def answered(reply: Any) -> None:
            # What an earlier life of it wrote is not its to speak of.
            ran = [(write, self.world.history.last_execution_of(write)) for write in mine]
            covers = tuple(write for write, one in ran if one is not None and one.life == node.life)
            if isinstance(reply, list) and covers:
                self._read_with(Token({reply[0]: reply[1]}, covers), client)
            else:
                self._rest(client)

        client.ask(shard, [b"RC.TOKEN"], 0.5, answered)
