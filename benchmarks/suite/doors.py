"""The clients that a generator asks with, one kind for each side, under common names.

What lives here: opening a connection, filling and emptying a side through its own client. What does not: starting the
servers (`sides`). Every client has its own defaults, unless a comment says why not. Imports are inside, by kind: a
generator that asks memcached must not need Ray.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from benchmarks.suite.echo import FRAME
from benchmarks.suite.runner import Client

TIMEOUT_S: Final = 60.0
"""Of raycache's handle, the only one with a limit by default: eight callers with 64 MiB each take seconds."""
SMALL_BYTES: Final = 64 * 1024
"""Up to here one packet is cheaper than two; beyond, not copying is."""


class Door(Protocol):
    """One side, as one process reaches it."""

    def open(self) -> Client:
        """Return a new connection."""

    def fill(self, values: Mapping[str, bytes], ttl_s: int) -> object:
        """Store all of `values`, for `ttl_s` seconds if that is not 0.

        Raises:
            ValueError: this side has no lifetimes here, or not all were stored.
        """

    def clear(self) -> object:
        """Remove everything."""

    def close(self) -> object:
        """End what this process has of it, but for connections that were opened."""


class RaycacheDoor:
    """The handle, without Ray: it is given a shard's address."""

    def __init__(self, target: Mapping[str, Any]) -> None:
        import raycache

        self._connect: Callable[[], Any] = lambda: raycache.connect(target["cluster"], address=target["address"],
                                                                    secret=target.get("secret"), timeout_s=TIMEOUT_S)
        self._own = self._connect()
        self.clear, self.close = self._own.clear, self._own.close

    def open(self) -> Client:
        client: Client = self._connect()
        return client

    def fill(self, values: Mapping[str, bytes], ttl_s: int) -> object:
        return self._own.set_many(values, ttl=ttl_s or None)


class RedisDoor:
    """redis-py on one Redis."""

    def __init__(self, target: Mapping[str, Any]) -> None:
        import redis

        self._connect = lambda: redis.Redis(host=target["host"], port=target["port"])
        self._own = self._connect()
        self.clear, self.close = self._own.flushall, self._own.close

    def open(self) -> Client:
        return self._connect()

    def fill(self, values: Mapping[str, bytes], ttl_s: int) -> object:
        if not ttl_s:
            return self._own.mset(dict(values))
        pipeline = self._own.pipeline(transaction=False)
        for name, value in values.items():
            pipeline.set(name, value, ex=ttl_s)
        return pipeline.execute()


class RedisClusterDoor:
    """redis-py on a Redis Cluster."""

    def __init__(self, target: Mapping[str, Any]) -> None:
        from redis.cluster import RedisCluster

        self._connect: Callable[[], Any] = lambda: RedisCluster(host=target["host"], port=target["port"])
        self._own = self._connect()
        self.clear, self.close = self._own.flushall, self._own.close

    def open(self) -> Client:
        client: Client = self._connect()
        return client

    def fill(self, values: Mapping[str, bytes], ttl_s: int) -> object:
        _refuse_lifetimes(ttl_s)
        return self._own.mset_nonatomic(dict(values))


class MemcachedDoor:
    """pymemcache. By default its writes are not acknowledged, and wait in Nagle's queue; everybody else's are sent."""

    def __init__(self, target: Mapping[str, Any]) -> None:
        from pymemcache.client.base import Client as Memcache

        self._connect = lambda: Memcache((target["host"], target["port"]), default_noreply=False, no_delay=True)
        self._own = self._connect()
        self.clear, self.close = self._own.flush_all, self._own.close

    def open(self) -> Client:
        return self._connect()

    def fill(self, values: Mapping[str, bytes], ttl_s: int) -> object:
        if failed := self._own.set_many(dict(values), expire=ttl_s):
            raise ValueError(f"memcached did not store {len(failed)} of {len(values)} values")
        return None


class ActorDoor:
    """A Ray actor that holds a dict, found by its name."""

    def __init__(self, target: Mapping[str, Any]) -> None:
        import ray

        from raycache.actors import environment

        if not ray.is_initialized():
            environment.prepare()
            environment.attach(target["ray"])
        self._ray = ray
        self._actor = ray.get_actor(target["name"], namespace=target["namespace"])

    def open(self) -> Client:
        return _ActorClient(self._ray.get, self._actor)

    def fill(self, values: Mapping[str, bytes], ttl_s: int) -> object:
        _refuse_lifetimes(ttl_s)
        return self._ray.get(self._actor.fill.remote(dict(values)))

    def clear(self) -> object:
        return self._ray.get(self._actor.clear.remote())

    def close(self) -> None:
        """Nothing: Ray ends with the process, and the actor belongs to whoever made it."""


class _ActorClient:
    def __init__(self, wait: Callable[[Any], Any], actor: Any) -> None:
        self._wait, self._actor = wait, actor

    def get(self, key: str) -> bytes | None:
        found: bytes | None = self._wait(self._actor.get.remote(key))
        return found

    def set(self, key: str, value: bytes) -> object:
        return self._wait(self._actor.set.remote(key, value))

    def close(self) -> None:
        pass


class EchoDoor:
    """The raw loopback: as many bytes as a GET or SET and its answer have, and nobody who looks at them."""

    def __init__(self, target: Mapping[str, Any]) -> None:
        self._address = (target["host"], target["port"])
        self.value_bytes = 0
        """Of each answer to a GET."""

    def open(self) -> Client:
        return EchoClient(self._address, lambda: self.value_bytes)

    def fill(self, values: Mapping[str, bytes], ttl_s: int) -> object:
        return None

    def clear(self) -> object:
        return None

    def close(self) -> None:
        """Nothing: it has connections only."""


class EchoClient:
    """One blocking connection to the echo."""

    def __init__(self, address: tuple[str, int], value_bytes: Callable[[], int]) -> None:
        self._socket = socket.create_connection(address)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._value_bytes = value_bytes
        self._buffer = memoryview(bytearray(1 << 12))

    def get(self, key: str) -> memoryview:
        """Send what `GET key` has in RESP, receive what its answer has; return the value's part."""
        size = self._value_bytes()
        head = len(b"$%d\r\n" % size)
        answer = self._exchange(len(key) + 18 + len(str(len(key))), b"", head + size + 2)
        return answer[head : head + size]

    def set(self, key: str, value: bytes) -> object:
        """Send what `SET key value` has, receive what OK has."""
        return self._exchange(len(key) + 23 + len(str(len(key))) + len(str(len(value))), value, 5)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _exchange(self, request_bytes: int, payload: bytes, answer_bytes: int) -> memoryview:
        frame = FRAME.pack(request_bytes + len(payload), answer_bytes).ljust(request_bytes, b".")
        if len(payload) > SMALL_BYTES:
            self._socket.sendall(frame)
            self._socket.sendall(payload)
        else:
            self._socket.sendall(frame + payload)
        if len(self._buffer) < answer_bytes:
            self._buffer = memoryview(bytearray(answer_bytes))
        answer = self._buffer[:answer_bytes]
        received = self._socket.recv_into(answer)
        while received < answer_bytes:
            if not (more := self._socket.recv_into(answer[received:])):
                raise ConnectionError("the echo has closed the connection")
            received += more
        return answer


def _refuse_lifetimes(ttl_s: int) -> None:
    if ttl_s:
        raise ValueError("this side is filled without lifetimes")


KINDS: Final[dict[str, Callable[[Mapping[str, Any]], Door]]] = {
    "raycache": RaycacheDoor, "redis": RedisDoor, "redis-cluster": RedisClusterDoor, "memcached": MemcachedDoor,
    "actor": ActorDoor, "echo": EchoDoor,
}  # fmt: skip
