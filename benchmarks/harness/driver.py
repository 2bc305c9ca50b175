"""A Ray driver that takes orders: starts, describes, scales and stops a cluster on behalf of whoever measures.

What lives here: both ends, the program and `Driver`, which talks to it. A process of its own, because it must run where
a raylet runs (in a host, perhaps), and because Ray ends drivers whose cluster is lost. Orders are lines of JSON on its
standard input, each answered by one line.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.harness.servers import ServerFailedError

ANSWER_TIMEOUT_S: Final = 600.0
LOG: Final = Path(__file__).parents[1] / "out" / "driver.log"
Start = Callable[[Sequence[str], Mapping[str, str]], "subprocess.Popen[str]"]


def start_here(argv: Sequence[str], env: Mapping[str, str]) -> subprocess.Popen[str]:
    """Start a program on this machine, with pipes to talk through."""
    return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **env})


class Driver:
    """A driver process.

    Args:
        env: what it needs to find its Ray.
        start: how to start a process with pipes; elsewhere, perhaps.
    """

    def __init__(self, env: Mapping[str, str], start: Start = start_here) -> None:
        self._process = start([sys.executable, "-m", "benchmarks.harness.driver"], env)

    @property
    def pid(self) -> int:
        """The process that was started."""
        return self._process.pid

    def tell(self, do: str, **order: Any) -> Any:
        """Have an order carried out and return the answer.

        Raises:
            ServerFailedError: it failed; the text says how.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **order}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise ServerFailedError(f"the driver has ended, and cannot {do}") from None
        timer = threading.Timer(ANSWER_TIMEOUT_S, self._process.kill)
        timer.start()
        line = self._process.stdout.readline()
        timer.cancel()
        if not line:
            raise ServerFailedError(f"the driver ended while it was to {do}, or took over {ANSWER_TIMEOUT_S:g} s")
        answer = json.loads(line)
        if "error" in answer:
            raise ServerFailedError(f"{do} failed: {answer['error']}")
        return answer["answer"]

    def close(self) -> None:
        """End it, and the Ray that it started, if it did."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


class Orders:
    """What a driver can do."""

    def __init__(self) -> None:
        self._ray: Any = None

    def ray(self, nodes: int) -> str:
        """Start a Ray of `nodes` raylets on this machine."""
        from ray.cluster_utils import Cluster

        self._ray = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
        for _ in range(nodes - 1):
            self._ray.add_node(num_cpus=2)
        self._ray.wait_for_nodes()
        os.environ["RAY_ADDRESS"] = self._ray.address
        return str(self._ray.address)

    def start(self, **settings: Any) -> dict[str, Any]:
        """Start a cluster; return its status."""
        import raycache

        return dataclasses.asdict(raycache.start(**settings))

    def status(self, name: str) -> dict[str, Any]:
        """Return a cluster's status."""
        import raycache

        return dataclasses.asdict(raycache.status(name))

    def scale(self, name: str, shards: int) -> dict[str, Any]:
        """Change the number of shards as an operator does; return what `raycache scale --json` prints."""
        program = Path(sys.executable).with_name("raycache")
        done = subprocess.run([program, "scale", name, str(shards), "--json"], capture_output=True, text=True,
                              check=False, timeout=ANSWER_TIMEOUT_S)
        if done.returncode:
            raise ServerFailedError(f"raycache scale {name} {shards}: {(done.stderr or done.stdout)[-1000:]}")
        printed: dict[str, Any] = json.loads(done.stdout)
        return printed

    def stop(self, name: str) -> None:
        """Stop a cluster."""
        import raycache

        raycache.stop(name)

    def close(self) -> None:
        """Leave Ray, and end the one that was started here."""
        import ray

        ray.shutdown()
        if self._ray is not None:
            self._ray.shutdown()


def main() -> None:
    """Carry out orders until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    LOG.parent.mkdir(exist_ok=True)
    with LOG.open("a") as log:  # what Ray prints must stand neither between the answers nor in the tables
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    from raycache.actors import environment

    environment.prepare()
    orders = Orders()
    try:
        for line in sys.stdin:
            order = json.loads(line)
            try:
                answer = {"answer": getattr(orders, order.pop("do"))(**order)}
            except Exception as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            print(json.dumps(answer, default=str), file=answers, flush=True)
    finally:
        orders.close()


if __name__ == "__main__":
    main()
