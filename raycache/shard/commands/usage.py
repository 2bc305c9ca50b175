"""What the cache is used for: RC.USED tells a shard what decorated functions have counted, RC.TOP asks for all of it.

What lives here: the two commands and their form on the wire. What does not: the table and the sketch
(`raycache.usage`).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgpack

from raycache.resp import encode
from raycache.resp.encode import OK
from raycache.shard.commands.arguments import integer
from raycache.shard.commands.command import SYNTAX_ERROR, Command, Refusal
from raycache.usage.functions import MAX_FUNCTIONS
from raycache.usage.looks import COUNTERS
from raycache.usage.rows import FunctionUse

if TYPE_CHECKING:
    from raycache.shard.core import ShardCore
    from raycache.shard.session import Session

_BAD: Final = "ERR a msgpack map of function names to rows of counters is expected"


def used(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """RC.USED map -> OK. The map is msgpack: what each function has counted since its handle last told."""
    for name, use in _uses(argv[1]).items():
        core.usage.functions.add(name, use)
    return OK


def _uses(packed: bytes) -> dict[str, FunctionUse]:
    try:
        given: Any = msgpack.unpackb(packed)
        if type(given) is not dict or len(given) > MAX_FUNCTIONS or not all(type(name) is str for name in given):
            raise ValueError
        return {name: FunctionUse.of_row(row) for name, row in given.items()}
    except Exception as error:  # msgpack raises half a dozen kinds
        raise Refusal(_BAD) from error


def top(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """RC.TOP count -> msgpack: looks, commands a second, the `count` hottest keys, and every function's counters."""
    count = integer(argv[1])
    if not 0 <= count <= COUNTERS:
        raise Refusal(SYNTAX_ERROR)
    usage = core.usage
    return encode.bulk(msgpack.packb({
        "shard_id": core.shard_id,
        "looks": usage.sketch.total,
        "commands_per_s": float(core.info().get("commands_per_s", 0.0)),
        "keys": [[heavy.key, heavy.count, heavy.error] for heavy in usage.sketch.top(count)],
        "latency": core.latency(),
        "functions": {name: use.as_row() for name, use in usage.functions.all().items()},
    }))


_rc = partial(Command, group="raycache", since="0.1.0", flags="loading stale fast")

COMMANDS = [
    _rc(name="rc.used", arity=2, handler=used, categories="connection",
        summary="Adds to the counters of decorated functions."),
    _rc(name="rc.top", arity=2, handler=top, summary="Returns the hottest keys and the counters of functions."),
]
