"""One command for every shard, straight over their sockets.

What lives here: asking all shards at once and keeping each one's answer or error. What does not: what is asked. No Ray.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any, Final, TypeVar

import hiredis

from raycache.client import frames
from raycache.client.connection import Connection
from raycache.client.info import Address, Login
from raycache.client.requests import Request
from raycache.client.retry import Failure, reply_failure
from raycache.errors import RayCacheError, ShardUnavailableError

T = TypeVar("T")

CONNECT_TIMEOUT_S: Final = 1.0
TIMEOUT_S: Final = 5.0
_AT_ONCE: Final = 32


def ask_all(shards: dict[str, Address], login: Login, words: tuple[bytes, ...],
            decode: Callable[[Any], T]) -> dict[str, T | RayCacheError]:  # fmt: skip
    """Send one command to every shard; return what each answered, decoded, or why it did not."""
    request = Request(frames.command(*words), decode)
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        answers = pool.map(lambda address: _ask(address, login, request), shards.values())
        return dict(zip(shards, answers, strict=True))


def _ask(address: Address, login: Login, request: Request[T]) -> T | RayCacheError:
    deadline_s = monotonic() + TIMEOUT_S
    try:
        connection = Connection.open(address, login, deadline_s, CONNECT_TIMEOUT_S)
        try:
            reply = connection.exchange(request, deadline_s)
        finally:
            connection.close()
        if isinstance(reply, hiredis.ReplyError):
            raise reply_failure(str(reply))
        return request.decode(reply)
    except Failure as error:
        return ShardUnavailableError(str(error))
    except RayCacheError as error:
        return error
