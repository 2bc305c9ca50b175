"""A whole machine powered off, and one cut off from the network: hosts of their own, copies on other machines.

What lives here: the parts `power-off...` and `cut-off...`, one a mode. The machine struck is never the one with Ray's
head (that is `control_plane`). It comes back, and joins Ray again as any machine does whose services are supervised.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from benchmarks.failover.amount import RATE, Amount
from benchmarks.failover.kills import NONE, quorum_figures, total
from benchmarks.failover.strike import Strike, crew_for, errors_of, series_of, strike
from benchmarks.harness.parts import Part
from benchmarks.harness.report import Figure, Goal, Outcome, Series
from benchmarks.harness.rounds import Step, idle_check
from benchmarks.harness.servers import wait_until
from benchmarks.harness.sites import ROUTER, Cluster, Machines, cluster_on, machines
from benchmarks.harness.watch import Watcher
from benchmarks.traffic.crew import Crew
from raycache.ring.topology import ShardInfo
from raycache.testing.hosts import Host

# One more than shards: Ray starts a lost shard elsewhere, and there must be a machine for it that has no copy.
HOSTS: Final = 4
OFF_S: Final = 5.0
CUT_S: Final = 10.0
LEAVE_TIMEOUT_S: Final = 60.0
NOTICED_GOAL: Final = Goal("<", 1.5)
INSIDE_RATE: Final = 500.0
_SETTINGS: Final[dict[str, dict[str, Any]]] = {
    "plain": {"copies": 2},
    "acks=1": {"copies": 2},
    "quorum": {"copies": 3, "replication": "quorum", "read_quorum": 2, "write_quorum": 2},
}
_OPTIONS: Final[dict[str, dict[str, Any]]] = {"plain": {}, "acks=1": {"write": {"acks": 1}}, "quorum": {}}
_ABOUT: Final = {"plain": "copies=2", "acks=1": "copies=2, acks=1", "quorum": "N=3 W=2 R=2"}
MODES: Final = tuple(_SETTINGS)

# The two ways of losing a machine, as figures name them.
OFF, CUT = "machine powered off", "machine cut off"


@dataclass(frozen=True, slots=True)
class Inside:
    """What a client on the side of a cut-off machine saw."""

    acknowledged_then_lost: int
    window_shown: int
    """Acknowledged and not replicated, as the cut-off shard showed it while it was cut off."""


@dataclass(slots=True)
class Scene:
    """Hosts, a cluster on them, load from this machine."""

    site: Machines
    cluster: Cluster
    watcher: Watcher
    crew: Crew

    def victim(self) -> tuple[Host, ShardInfo]:
        """Return a host to lose, with a shard on it: not the head, and not the router's if another will do."""
        head = self.site.hosts[0].address
        routers = {host.address for host in self.site.hosts if host.is_on and host.pids(ROUTER)}
        shards = [shard for shard in self.watcher.topology().shards if shard.machine != head]
        chosen = min(shards, key=lambda shard: (shard.machine in routers, shard.id))
        return self.site.host_at(chosen.machine), chosen


@contextlib.contextmanager
def scene(mode: str, amount: Amount) -> Iterator[Scene]:
    """Set everything up for one mode."""
    with machines(HOSTS) as site, cluster_on(site, **_SETTINGS[mode]) as cluster, \
            Watcher(cluster.addresses, cluster.secret) as watcher, \
            crew_for(cluster, amount.seed, options=_OPTIONS[mode]) as crew:
        crew.fill()
        yield Scene(site, cluster, watcher, crew)


def power_off(mode: str, amount: Amount, step: Step) -> list[Strike]:
    """Power machines off and on again, one after the other."""
    step(f"starting {HOSTS} hosts with Ray")
    strikes = []
    with scene(mode, amount) as on:
        for number in range(amount.machines_lost):
            step(f"machine {number + 1} of {amount.machines_lost}")
            host, shard = on.victim()
            strikes.append(strike(on.cluster, on.crew, on.watcher, shard, host.power_off, away_s=OFF_S,
                                  bring_back=partial(_switch_on, on.site, host)))
    return strikes


def cut_off(mode: str, amount: Amount, step: Step) -> tuple[list[Strike], list[Inside]]:
    """Cut machines off and let them back in, one after the other, with a client on each side."""
    step(f"starting {HOSTS} hosts with Ray")
    strikes, inside = [], []
    with scene(mode, amount) as on:
        for number in range(amount.machines_lost):
            step(f"machine {number + 1} of {amount.machines_lost}")
            host, shard = on.victim()
            struck, seen = _cut_off_once(on, mode, host, shard, f"inside{number}")
            strikes.append(struck)
            inside.append(seen)
    return strikes, inside


def _cut_off_once(on: Scene, mode: str, host: Host, shard: ShardInfo, prefix: str) -> tuple[Strike, Inside]:
    slots = tuple(on.watcher.topology().slots_of(shard.id).tolist())
    shown: list[int] = []

    def start_inside(argv: Sequence[str]) -> subprocess.Popen[str]:
        return host.popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    load = {"prefix": prefix, "keys": 5_000, "rate": INSIDE_RATE, "write_share": 1.0, "only_slots": slots,
            "addresses": (f"{shard.host}:{shard.port}",), "options": _OPTIONS[mode]}
    with crew_for(on.cluster, 1, size=1, start=start_inside, **load) as insiders:

        def heal() -> None:
            insiders.calm()  # or later writes of theirs would hide what was lost
            shown.append(_window_inside(host, shard, on.cluster.secret))
            host.heal()
            _join_again(on.site, host)

        insiders.fill()
        insiders.go()
        struck = strike(on.cluster, on.crew, on.watcher, shard, host.cut_off, away_s=CUT_S, bring_back=heal)
        return struck, Inside(insiders.verify().lost_writes, shown[0])


def _window_inside(host: Host, shard: ShardInfo, secret: str) -> int:
    """Ask a cut-off shard, from its own machine, for its loss window."""
    program = ("import sys; from benchmarks.harness.watch import connect, statistics; "
               "client = connect(sys.argv[1], int(sys.argv[2]), sys.argv[3]); "
               "print(statistics(client)['replication']['loss_window']['mutations'])")
    return int(host.run([sys.executable, "-c", program, shard.host, str(shard.port), secret]).split()[-1])


def _switch_on(site: Machines, host: Host) -> None:
    host.power_on()
    site.ray.join(host)


def _join_again(site: Machines, host: Host) -> None:
    """Start Ray again where it ended itself: it does so on learning that the others have given the machine up."""
    wait_until("Ray to end itself on the machine that was cut off", lambda: not host.pids("raylet"), LEAVE_TIMEOUT_S)
    site.ray.join(host)


def run_power_off(mode: str, amount: Amount, step: Step) -> Outcome:
    """Power machines off in one mode."""
    outcome = Outcome(_part_name("power-off", mode), facts=_facts(amount, OFF_S))
    _judge(outcome, OFF, mode, power_off(mode, amount, step))
    return outcome


def run_cut_off(mode: str, amount: Amount, step: Step) -> Outcome:
    """Cut machines off in one mode, with a client on the wrong side: its shard may acknowledge until its lease ends."""
    outcome = Outcome(_part_name("cut-off", mode), facts=_facts(amount, CUT_S))
    strikes, inside = cut_off(mode, amount, step)
    _judge(outcome, CUT, mode, strikes)
    beyond = [max(0, one.acknowledged_then_lost - one.window_shown) for one in inside]
    outcome.figures.append(total(_uncounted(mode), beyond, "writes"))
    for name in ("acknowledged_then_lost", "window_shown"):
        numbers = [float(getattr(one, name)) for one in inside]
        outcome.series.append(Series(f"{name.replace('_', ' ')}, inside, {mode}", "writes", numbers))
    return outcome


def _judge(outcome: Outcome, event: str, mode: str, strikes: list[Strike]) -> None:
    """Add the figures of one mode."""
    noticed_s = [one.noticed_s for one in strikes]
    outcome.figures.append(Figure(_noticed(event, mode), NOTICED_GOAL, max(noticed_s), "s", tuple(noticed_s)))
    failed, lost, old = _names(event, mode)
    if mode == "quorum":
        outcome.figures += quorum_figures(strikes, failed, lost, old)
    elif mode == "acks=1":
        outcome.figures += [total(failed, [one.counts.failed_reads for one in strikes], "reads"),
                            total(lost, [one.verdict.lost_writes for one in strikes], "writes")]
    else:
        beyond = [max(0, one.verdict.lost_writes - one.window_shown) for one in strikes]
        outcome.figures += [total(failed, [one.counts.failed_reads for one in strikes], "reads"),
                            total(lost, beyond, "writes")]
    outcome.series += series_of(strikes, f"{event}, {mode}")
    outcome.facts[f"errors, {mode}"] = errors_of(strikes)


def _names(event: str, mode: str) -> tuple[str, str, str]:
    if mode == "quorum":
        return (f"{event}, quorum: failed operations", f"{event}, quorum: acknowledged writes lost",
                f"{event}, quorum: reads older than acknowledged")
    beyond = " beyond the loss window shown" if mode == "plain" else ""
    return f"{event}, {mode}: failed reads", f"{event}, {mode}: acknowledged writes lost{beyond}", ""


def _noticed(event: str, mode: str) -> str:
    return f"{event}, {mode}: loss noticed, slowest"


def _uncounted(mode: str) -> str:
    return f"{CUT}, {mode}: writes it acknowledged that were lost beyond its loss window"


def _goals(event: str, mode: str) -> dict[str, Goal]:
    goals = {_noticed(event, mode): NOTICED_GOAL} | dict.fromkeys(filter(None, _names(event, mode)), NONE)
    return goals | ({_uncounted(mode): NONE} if event == CUT else {})


def _part_name(name: str, mode: str) -> str:
    return name + {"plain": "", "acks=1": "-acks", "quorum": "-quorum"}[mode]


def _facts(amount: Amount, away_s: float) -> dict[str, Any]:
    return {"hosts": HOSTS, "machines_lost": amount.machines_lost, "away_s": away_s, "rate": RATE,
            "busy_cores_before": idle_check()}


def _steps(amount: Amount) -> int:
    return 1 + amount.machines_lost


def _parts(name: str, about: str, event: str, run: Callable[[str, Amount, Step], Outcome],
           each_s: float) -> list[Part[Amount]]:
    return [Part(_part_name(name, mode), f"{about}, {_ABOUT[mode]}", lambda a: 35 + each_s * a.machines_lost, _steps,
                 partial(run, mode), _goals(event, mode)) for mode in MODES]


PARTS = (
    *_parts("power-off", "a machine powered off and on again", OFF, run_power_off, 22),
    *_parts("cut-off", "a machine cut off for 10 s", CUT, run_cut_off, 25),
)
