"""Finding a newer topology: whom to ask, in which order, and when to stop.

What lives here: the decisions, for both handles, without I/O. Asking is theirs; so is single-flight. Pure, any thread.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Generator
from typing import Final

from raycache.client.info import Address, ConnectionInfo, Place
from raycache.client.retry import Failure, Lost, Moved, Silent
from raycache.client.routes import Routes, newer
from raycache.errors import (
    AuthenticationError,
    CallerError,
    ClusterNotFoundError,
    DeadlineExceededError,
    RayCacheError,
    RetryableError,
)

# A shard that answers at all answers in well under a millisecond; and a hung one must not eat the whole deadline.
ASK_TIMEOUT_S: Final = 1.0
# Any one live shard is enough, and the router pushes a new topology to all at once.
MAX_ASKED: Final = 6
# With other copies, a shard that does not answer at once is one to leave alone.
BRISK_ASK_TIMEOUT_S: Final = 0.25

Answer = bytes | Exception | None
"""A topology, what went wrong, or nothing newer."""


def candidates(
    routes: Routes | None, info: ConnectionInfo, failure: Exception, live: set[Address], rng: random.Random,
    suspects: Collection[Address] = (),
) -> list[Address]:
    """Return whom to ask: where MOVED pointed, then shards that are connected, the others, the seeds.

    Shuffled within each group, so that many clients do not ask the same shard. Without `suspects`, which have not
    answered lately, unless there is nobody else.
    """
    known = [] if routes is None else rng.sample(routes.addresses, len(routes.addresses))
    hint = failure.target if isinstance(failure, Moved) else None
    first = [hint] if hint is not None else []
    connected = [address for address in known if address in live]
    seeds = rng.sample(info.seeds, len(info.seeds))
    everybody = list(dict.fromkeys([*first, *connected, *known, *seeds]))
    return ([address for address in everybody if address not in suspects] or everybody)[:MAX_ASKED]


def search(
    routes: Routes | None, addresses: list[Address], place: Place | None = None, cluster: str | None = None
) -> Generator[Address, Answer, Routes | None]:
    """Yield each address to ask, take its answer, return the first newer routes, or None if nobody has any.

    Args:
        cluster: whose routes; at an address somebody else's shard may listen by now. None or "": anybody's.
    Raises:
        Failure, RayCacheError: nobody answered at all; the last error, or a refused secret if there was one.
    """
    answered = False
    error: Exception = Lost("no address is known to ask", sent=False)
    for address in addresses:
        answer = yield address
        if isinstance(answer, Exception):
            error = error if isinstance(error, AuthenticationError) else answer
            continue
        answered = True
        try:
            found = newer(routes, answer, place)
        except ValueError as rubbish:
            error, answered = Lost(f"{address[0]}:{address[1]}: {rubbish}", sent=False), False
            continue
        if found is not None and cluster not in (None, "", found.topology.cluster):
            text = f"{address[0]}:{address[1]} serves cluster {found.topology.cluster!r}, not {cluster!r}"
            error, answered = ClusterNotFoundError(text), False
            continue
        if found is not None:
            return found
    if not answered:
        # That a question ran out of time does not mean that the operation has.
        raise Silent(str(error), sent=False) if isinstance(error, DeadlineExceededError) else error
    return None


def adopt(
    routes: Routes | None, old: ConnectionInfo, new: ConnectionInfo, place: Place | None = None
) -> Routes | None:
    """Return the routes that Ray's answer brings, None if they are not newer.

    Another secret means that the cluster was started anew under its name, perhaps on a machine whose clock (from
    which epochs start) is behind: then even an older epoch is news.
    """
    try:
        return newer(routes if new.login == old.login else None, new.topology, place)
    except ValueError:
        return None


def worth_raising(error: BaseException) -> bool:
    """Whether what `refresh_info` raised is for the caller (such as: no such cluster); else it is one more failure."""
    return isinstance(error, CallerError) or not isinstance(error, Exception)


def is_silence(error: BaseException) -> bool:
    """Whether a shard that was asked just did not answer, which statistics put up with."""
    return isinstance(error, Failure | RetryableError)


def as_failure(error: BaseException) -> Exception:
    """Return the failure that stands for an error of `refresh_info`."""
    return error if isinstance(error, Failure | RayCacheError) else Lost(f"asking Ray failed: {error!r}", sent=False)
