"""A simulated client: it routes by a table that it cached, tries again, and gives up at its deadline.

What lives here: one call after another, each with its attempts. What does not: what is called when (`workload`), and
pools, batches and coalescing, which the real handle has tests for. It is a little cruder than that: it knows which
shards there are, and asks any of them for the table when one does not answer, or says MOVED.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from raycache.ring.topology import Topology
from raycache.testing.simulation.history import Operation
from raycache.testing.simulation.network import End
from raycache.testing.simulation.scheduler import Process
from raycache.testing.simulation.wire import Answer, ErrorReply, Request, decode

if TYPE_CHECKING:
    from raycache.testing.simulation.workload import Plan
    from raycache.testing.simulation.world import World

ATTEMPT_S: Final = 0.5
"""How long one shard has for one answer, beside what the command itself may wait."""
BACKOFF_S: Final = 0.05

Answered = Callable[[Any], None]


class ClientNode(Process):
    """One client, with one call at a time."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world.scheduler, name)
        self.world = world
        self.topology: Topology | None = None
        self._ways: dict[str, _Way] = {}
        self._tag = 0
        self.start()

    # Calls

    def call(self, operation: Operation, plan: Plan, done: Callable[[], None]) -> None:
        """Do `operation` as `plan` says, and call `done` when it has an outcome."""
        self.world.history.begin(operation)
        _Call(self, operation, plan, done).begin()

    def ask(self, shard: str, argv: list[bytes], timeout_s: float, answered: Answered,
            operation: Operation | None = None, attempt: int = 0) -> None:
        """Send one command; `answered` gets the decoded reply, or None-like `LOST` where none came in time."""
        self._tag += 1
        way = self._ways.get(shard)
        if way is None or not way.is_alive:
            way = self._ways[shard] = _Way(self, shard)
        way.ask(Request(self._tag, argv, operation, attempt), answered)
        self.after(timeout_s, way.give_up, self._tag)

    def refresh(self, then: Callable[[], None], avoid: str = "") -> None:
        """Ask some shard for a newer table, and go on whatever it says."""
        names = [name for name in self.world.shard_names() if name != avoid] or [avoid]
        shard = names[int(self.world.rng.random() * len(names))]
        known = self.topology.epoch if self.topology is not None else -1

        def answered(reply: Any) -> None:
            if isinstance(reply, bytes):
                found = Topology.from_bytes(reply)
                if found.epoch and (self.topology is None or found.epoch > self.topology.epoch):
                    self.topology = found
            then()

        self.ask(shard, [b"RC.TOPOLOGY", b"%d" % known], ATTEMPT_S / 2, answered)

    def owners_of(self, slot: int) -> list[str]:
        """Return the owners of `slot` in the table it knows, the first one first."""
        topology = self.topology
        if topology is None:
            return []
        return [topology.shards[index].id for index in topology.owners[slot].tolist() if index >= 0]


class Lost:
    """In place of a reply: none came, and the command may have run or not."""

    prefix = "LOST"
    text = "no answer"


LOST: Final = Lost()


class _Way:
    """A connection to one shard, from its first use until something is wrong with it."""

    def __init__(self, client: ClientNode, shard: str) -> None:
        self._client = client
        self._end: End | None = None
        self._waiting: dict[int, tuple[Request, Answered]] = {}
        self.is_alive = True
        client.world.network.dial(client, shard, self._opened, self._failed)

    def ask(self, request: Request, answered: Answered) -> None:
        self._waiting[request.tag] = (request, answered)
        if self._end is not None:
            self._end.send(request)

    def give_up(self, tag: int) -> None:
        """A reply that has not come by now is not waited for; nor is anything else from there."""
        if tag in self._waiting:
            self._lost()

    def _opened(self, end: End) -> None:
        if not self.is_alive:
            end.close()
            return
        self._end = end
        end.on_message, end.on_lost = self._took, self._lost
        for request, _ in self._waiting.values():
            end.send(request)

    def _failed(self, is_refused: bool) -> None:
        self._lost()

    def _lost(self) -> None:
        self.is_alive = False
        if self._end is not None:
            self._end.close()
        waiting, self._waiting = self._waiting, {}
        for _, answered in waiting.values():
            answered(LOST)

    def _took(self, payload: Any) -> None:
        assert isinstance(payload, Answer)
        found = self._waiting.pop(payload.tag, None)
        if found is not None:
            found[1](decode(payload.reply))


class _Call:
    """One operation under way."""

    def __init__(self, client: ClientNode, operation: Operation, plan: Plan, done: Callable[[], None]) -> None:
        self._client = client
        self._operation = operation
        self._plan = plan
        self._done = done
        self._maybe_done = False
        """An attempt may have written: its reply never came."""

    def begin(self) -> None:
        client = self._client
        client.scheduler.at(self._operation.deadline_s, self._late)
        self._try() if client.topology is not None else client.refresh(self._try)

    def _late(self) -> None:
        if self._operation.outcome == "open":
            self._end("timeout")

    def _end(self, outcome: Any) -> None:
        operation = self._operation
        operation.outcome, operation.returned_s = outcome, self._client.scheduler.now_s
        self._client.world.note(self._client.name, str(operation))
        self._done()

    def _try(self) -> None:
        operation, client = self._operation, self._client
        if operation.outcome != "open":
            return
        owners = client.owners_of(operation.slot)
        if not owners:
            self._later()
            return
        operation.attempts += 1
        attempt = operation.attempts
        shard = self._plan.choose(owners, attempt)

        def answered(reply: Any) -> None:
            self._answered(shard, attempt, reply)

        client.ask(shard, self._plan.argv(attempt), ATTEMPT_S + self._plan.timeout_s, answered, operation, attempt)

    def _answered(self, shard: str, attempt: int, reply: Any) -> None:
        operation = self._operation
        if operation.outcome != "open":
            return
        if isinstance(reply, (ErrorReply, Lost)):
            operation.text = reply.text
            self._after_error(reply.prefix, shard)
            return
        operation.source = shard
        if self._plan.is_acceptable(reply):
            self._plan.take(operation, reply)
            if operation.kind != "get":
                execution = self._client.world.history.execution_of(operation, attempt)
                operation.version = execution.version if execution is not None else 0
            self._end("ok")
        else:
            self._later()

    def _after_error(self, prefix: str, shard: str) -> None:
        """MOVED and LOST call for a new table; what was refused is tried again until the deadline."""
        if prefix in ("MOVED", "LOST"):
            self._client.refresh(self._try, avoid=shard if prefix == "LOST" else "")
        elif prefix in ("CLUSTERDOWN", "TRYAGAIN", "LOADING"):
            self._client.after(BACKOFF_S, self._client.refresh, self._try)
        elif prefix in ("NOREPLICAS", "OOM"):
            self._end("failed")
        else:
            self._client.world.history.bounds.append(f"an answer that nobody expects: {self._operation}")
            self._end("failed")

    def _later(self) -> None:
        self._client.after(BACKOFF_S, self._client.refresh, self._try)
