"""Commands and replies in JSON, as clients of serverless Redis services send and expect them.

What lives here: both directions, and base64. What does not: which commands may run (`rights.py`). Pure; any thread.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from serve_app.problems import refuse

MAX_COMMANDS: Final = 10_000
"""In one pipeline or transaction: each waits for those before it, and all replies are held."""
_DONE: Final = b"OK"


def argument_of(value: Any) -> bytes:
    """Return one argument as a shard gets it: text as UTF-8, numbers in decimal, anything else as JSON text.

    Raises:
        Refused: null, which is no argument.
    """
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, int | float):
        return str(value).encode()
    if value is None:
        raise refuse(400, "invalid", "ERR null is no argument of a command")
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")


def command_of(value: Any) -> list[bytes]:
    """Return the command that a JSON array stands for.

    Raises:
        Refused: it is no array, or has no name in front.
    """
    if not isinstance(value, list) or not value or not isinstance(value[0], str) or not value[0]:
        raise refuse(400, "invalid", 'ERR a command is an array such as ["GET", "key"]')
    return [argument_of(each) for each in value]


def commands_of(value: Any) -> list[list[bytes]]:
    """Return the commands of a pipeline or transaction.

    Raises:
        Refused: it is no array of commands, or has too many.
    """
    if not isinstance(value, list) or not value:
        raise refuse(400, "invalid", 'ERR several commands are an array of arrays such as [["GET", "key"]]')
    if len(value) > MAX_COMMANDS:
        raise refuse(413, "body-too-large", f"ERR at most {MAX_COMMANDS} commands at once")
    return [command_of(each) for each in value]


def parsed(body: bytes | bytearray) -> Any:
    """Return what a JSON body holds.

    Raises:
        Refused: it is no JSON.
    """
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise refuse(400, "invalid", f"ERR failed to parse the body: {error}") from None


def path_command(raw_path: bytes, query: bytes, body: bytes | bytearray, start: int = 0) -> list[bytes]:
    """Return the command that a path stands for: segments, then the body if there is one, then what the query names.

    `POST /set/key?EX=100` with a body is SET key (the body) EX 100, and `?NX` alone is NX.

    Args:
        raw_path: as it came, percent-encoded; from `start` on it is the command.
    """
    argv = [unquote_to_bytes(segment) for segment in raw_path[start:].strip(b"/").split(b"/")]
    if body:
        argv.append(bytes(body))
    for pair in query.split(b"&") if query else []:
        name, separator, value = pair.replace(b"+", b" ").partition(b"=")
        argv.append(unquote_to_bytes(name))
        if separator and value:
            argv.append(unquote_to_bytes(value))
    return argv


def result_of(reply: Any, *, in_base64: bool) -> Any:
    """Return what stands for a reply in JSON; strings in base64 if that was asked for, but for OK, which never is."""
    if isinstance(reply, bytes):
        if in_base64:
            return "OK" if reply == _DONE else base64.b64encode(reply).decode("ascii")
        return reply.decode("utf-8", "replace")
    if isinstance(reply, Exception):  # one command of a transaction
        return {"error": str(reply)}
    if isinstance(reply, dict):
        return [result_of(each, in_base64=in_base64) for pair in reply.items() for each in pair]
    if isinstance(reply, list | tuple | set):
        return [result_of(each, in_base64=in_base64) for each in reply]
    return reply


def answer_of(reply: Any, *, in_base64: bool) -> dict[str, Any]:
    """Return `{"result": ...}` or `{"error": ...}`."""
    if isinstance(reply, Exception):
        return {"error": str(reply)}
    return {"result": result_of(reply, in_base64=in_base64)}


def answers_of(replies: Sequence[Any], *, in_base64: bool) -> list[dict[str, Any]]:
    """Return the answers to several commands."""
    return [answer_of(reply, in_base64=in_base64) for reply in replies]
