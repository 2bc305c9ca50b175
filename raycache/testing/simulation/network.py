"""The network between simulated processes: connections as TCP gives them, and what happens to them.

What lives here: delays, partitions, broken connections, repeated messages. What does not: who talks to whom. As in
reality, what one connection carries arrives in order or not at all; two connections know nothing of each other, so
after a reconnect old and new may overtake each other. A partition in one direction keeps that direction's messages
until it heals (TCP sends them again) or the connection is given up.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from raycache.testing.simulation.scheduler import Process, Scheduler

LEAST_DELAY_S: Final = 0.0002
MOST_DELAY_S: Final = 0.002
RESEND_S: Final = 0.2
"""Within this after a partition has healed, TCP sends again what was lost (its own backoff may be longer)."""
CONNECT_TIMEOUT_S: Final = 1.0

Payload = Any
_END: Final = object()


class End:
    """One process' end of a connection. Its owner sets the two callbacks."""

    __slots__ = ("_life", "_network", "_out", "is_open", "on_lost", "on_message", "owner", "peer")

    def __init__(self, network: Network, owner: Process) -> None:
        self._network = network
        self._life = owner.life
        self._out: _Direction
        self.owner = owner
        self.peer: End
        self.is_open = True
        self.on_message: Callable[[Payload], None] = _ignore
        self.on_lost: Callable[[], None] = _ignore_loss

    def send(self, payload: Payload) -> None:
        """Send; whether it arrives is the network's business."""
        if self.is_open:
            self._out.send(payload)

    def close(self) -> None:
        """Close this end; the other one learns of it after everything that was sent."""
        if self.is_open:
            self.is_open = False
            self._network.forget(self)
            self._out.send(_END)

    def _take(self, payload: Payload) -> None:
        """Take in what has arrived, unless the process or this end is gone; then the sender is told."""
        if self.owner.life != self._life or not self.owner.is_up:
            return
        if payload is _END:
            self._lose()
        elif self.is_open:
            self.owner.run(self._life, self._give, payload)

    def _give(self, payload: Payload) -> None:
        if self.is_open:
            self.on_message(payload)

    def _lose(self) -> None:
        self._network.forget(self)
        self.owner.run(self._life, self._tell_loss)

    def _tell_loss(self) -> None:
        if self.is_open:
            self.is_open = False
            self.on_lost()


class _Direction:
    """What travels one way on one connection."""

    __slots__ = ("_last_s", "_network", "path", "queue", "target")

    def __init__(self, network: Network, path: tuple[str, str], target: End) -> None:
        self._network = network
        self._last_s = 0.0
        self.path = path
        self.queue: deque[Payload] = deque()
        self.target = target

    def send(self, payload: Payload) -> None:
        self.queue.append(payload)
        self.schedule(self._network.delay_s(self.path))

    def schedule(self, delay_s: float) -> None:
        network = self._network
        self._last_s = max(network.scheduler.now_s + delay_s, self._last_s + 1e-7)
        network.scheduler.at(self._last_s, self._arrive)

    def _arrive(self) -> None:
        if not self.queue or self.path in self._network.blocked:
            return
        payload = self.queue.popleft()
        self.target._take(payload)

    def resume(self, delay_s: float) -> None:
        """Send again what a partition held back."""
        for _ in self.queue:
            self.schedule(delay_s)


class Network:
    """All connections, and what is wrong with the paths between processes.

    Args:
        rng: draws delays.
    """

    def __init__(self, scheduler: Scheduler, rng: random.Random) -> None:
        self.scheduler = scheduler
        self.blocked: set[tuple[str, str]] = set()
        """Paths (from, to) on which nothing arrives."""
        self.slow_s: dict[tuple[str, str], float] = {}
        """Paths that take up to this much longer."""
        self.dark: set[str] = set()
        """Processes whose machine is off: nothing answers for them, not even a refusal."""
        self._rng = rng
        self._processes: dict[str, tuple[Process, Callable[[End], None]]] = {}
        self._ends: dict[str, dict[End, None]] = {}

    def listen(self, process: Process, accept: Callable[[End], None]) -> None:
        """Let others connect to `process`; `accept` gets its end of each connection."""
        self._processes[process.name] = (process, accept)

    def delay_s(self, path: tuple[str, str]) -> float:
        """Draw how long one message takes on `path`."""
        delay_s = LEAST_DELAY_S + (MOST_DELAY_S - LEAST_DELAY_S) * self._rng.random()
        if self.slow_s and (slow_s := self.slow_s.get(path)):
            delay_s += slow_s * self._rng.random()
        return delay_s

    def is_open(self, one: str, other: str) -> bool:
        """Return whether messages pass both ways between two processes."""
        return (one, other) not in self.blocked and (other, one) not in self.blocked

    def dial(self, dialer: Process, target: str, opened: Callable[[End], None], failed: Callable[[bool], None]) -> None:
        """Connect `dialer` to the process called `target`; the outcome comes by one of the callbacks.

        Args:
            failed: gets whether the connection was refused: the machine is there and nobody listens.
        """
        there_s = self.delay_s((dialer.name, target))
        back_s = self.delay_s((target, dialer.name))
        self.scheduler.after(there_s, self._knock, dialer, dialer.life, target, back_s, opened, failed)

    def _knock(self, dialer: Process, life: int, target: str, back_s: float, opened: Callable[[End], None],
               failed: Callable[[bool], None]) -> None:
        after = self.scheduler.after
        found = self._processes.get(target)
        if not self.is_open(dialer.name, target) or target in self.dark:
            after(CONNECT_TIMEOUT_S, dialer.run, life, failed, False)
        elif found is None or not found[0].is_up:
            after(back_s, dialer.run, life, failed, True)
        elif dialer.life == life and dialer.is_up:
            process, accept = found
            near, far = self._connection(dialer, process)
            process.run(process.life, accept, far)
            after(back_s, dialer.run, life, _tell, near, opened, failed)

    def _connection(self, dialer: Process, process: Process) -> tuple[End, End]:
        near, far = End(self, dialer), End(self, process)
        near.peer, far.peer = far, near
        near._out = _Direction(self, (dialer.name, process.name), far)
        far._out = _Direction(self, (process.name, dialer.name), near)
        for end in (near, far):
            self._ends.setdefault(end.owner.name, {})[end] = None
        return near, far

    def forget(self, end: End) -> None:
        """Forget an end that is closed."""
        self._ends[end.owner.name].pop(end, None)

    # What happens to connections

    def ended(self, name: str, *, silently: bool) -> None:
        """The process `name` is dead: the other ends are told, unless its machine went with it."""
        for end in list(self._ends.pop(name, ())):
            end.is_open = False
            end._out.queue.clear() if silently or self._rng.random() < 0.5 else None
            end.peer._out.queue.clear()
            if not silently:
                end._out.send(_END)
        self._ends[name] = {}

    def lit(self, name: str) -> None:
        """The machine of `name` is on again: it answers with resets what was sent to the process before."""
        self.dark.discard(name)
        for ends in list(self._ends.values()):
            for end in list(ends):
                if end.peer.owner.name == name and not end.peer.is_open:
                    end.peer._out.send(_END)

    def reset(self, one: str, other: str) -> int:
        """Break every connection between two processes, with what was under way; return how many there were."""
        broken = [end for end in self._ends.get(one, ()) if end.peer.owner.name == other]
        for end in broken:
            for side in (end, end.peer):
                side._out.queue.clear()
            for side in (end, end.peer):
                side._out.send(_END)
        return len(broken)

    def block(self, *paths: tuple[str, str]) -> None:
        """Let nothing pass on these paths."""
        self.blocked.update(paths)

    def heal(self, *paths: tuple[str, str]) -> None:
        """Let everything pass again, what was held back first."""
        healed = self.blocked.intersection(paths)
        self.blocked.difference_update(healed)
        for ends in list(self._ends.values()):
            for end in list(ends):
                if end._out.path in healed and end._out.queue:
                    end._out.resume(RESEND_S * self._rng.random())
                # The other way's end may be closed and forgotten, with its last messages still under way.
                if not end.peer.is_open and end.peer._out.path in healed and end.peer._out.queue:
                    end.peer._out.resume(RESEND_S * self._rng.random())


def _tell(end: End, opened: Callable[[End], None], failed: Callable[[bool], None]) -> None:
    """Tell the dialer how it went: a connection may break before its dialer has heard of it."""
    if end.is_open:
        opened(end)
    else:
        failed(False)


def _ignore(payload: Payload) -> None:
    pass


def _ignore_loss() -> None:
    pass
