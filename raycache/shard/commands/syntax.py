"""What arguments commands take, as COMMAND DOCS tells it: a short notation, and the trees it stands for.

What lives here: the notation of every command, and reading it. What does not: checking arguments, which each command
does by itself, and the form on the wire (`introspection`). Pure.

In the notation `name` is a value, `NAME` a word that stands for itself, `NAME name` a value with a word before it,
`[ ]` what may be left out, `a | b` a choice, `( )` several that belong together, and `...` behind any of these that it
may come again. A name says its type (`_TYPES`; any other is a string), or has it behind a colon.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import count
from typing import Final

_EXPIRY: Final = "EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds"
_WHEN: Final = "[NX | XX | GT | LT]"
_LOADED: Final = "token:integer kind:integer value px:integer"

SYNTAX: Final[dict[str, str]] = {
    # Strings and counters
    "get": "key", "getdel": "key", "strlen": "key", "incr": "key", "decr": "key",
    "set": f"key value [NX | XX] [GET] [{_EXPIRY} | KEEPTTL]",
    "setnx": "key value", "getset": "key value", "append": "key value",
    "setex": "key seconds value", "psetex": "key milliseconds value",
    "getex": f"key [{_EXPIRY} | PERSIST]",
    "mget": "key...", "mset": "(key value)...", "msetnx": "(key value)...",
    "incrby": "key increment:integer", "decrby": "key decrement:integer", "incrbyfloat": "key increment:double",
    "getrange": "key start end", "substr": "key start end", "setrange": "key offset value",
    # Keys
    "del": "key...", "unlink": "key...", "exists": "key...", "touch": "key...", "type": "key", "persist": "key",
    "rename": "key newkey:key", "renamenx": "key newkey:key",
    "copy": "source:key destination:key [DB database] [REPLACE]",
    "expire": f"key seconds {_WHEN}", "pexpire": f"key milliseconds {_WHEN}",
    "expireat": f"key unix-time-seconds {_WHEN}", "pexpireat": f"key unix-time-milliseconds {_WHEN}",
    "ttl": "key", "pttl": "key", "expiretime": "key", "pexpiretime": "key",
    "scan": "cursor [MATCH pattern] [COUNT count] [TYPE type]", "keys": "pattern",
    "wait": "numreplicas timeout:integer",
    "object|encoding": "key", "object|freq": "key", "object|idletime": "key", "object|refcount": "key",
    "memory|usage": "key [SAMPLES count]",
    "flushdb": "[ASYNC | SYNC]", "flushall": "[ASYNC | SYNC]",
    # Connections
    "ping": "[message]", "echo": "message", "select": "database", "auth": "[username] password",
    "hello": "[protover [AUTH (username password)] [SETNAME clientname]]", "watch": "key...",
    "client|setname": "connection-name", "client|setinfo": "LIB-NAME libname | LIB-VER libver",
    "client|list": "[TYPE (NORMAL | MASTER | REPLICA | PUBSUB)] [ID client-id...]",
    "client|kill": "address | (ID client-id | ADDR address | LADDR address | USER username | "
                   "TYPE (NORMAL | MASTER | REPLICA | PUBSUB) | SKIPME yes-or-no)...",
    "client|no-evict": "ON | OFF", "client|reply": "ON | OFF | SKIP",
    "client|tracking": "(ON | OFF) [BCAST] [PREFIX prefix]... [OPTIN] [OPTOUT] [NOLOOP]", "client|caching": "YES | NO",
    # The server
    "info": "[section...]", "config|get": "pattern:string...", "config|set": "(parameter value)...",
    "command|info": "[command-name...]", "command|docs": "[command-name...]",
    "command|list": "[FILTERBY (MODULE module-name | ACLCAT category | PATTERN pattern)]",
    "command|getkeys": "command arg...", "command|getkeysandflags": "command arg...",
    "cluster|keyslot": "key:string", "cluster|countkeysinslot": "slot", "cluster|getkeysinslot": "slot count",
    "slowlog|get": "[count]", "latency|history": "event", "latency|reset": "[event...]",
    "latency|histogram": "[command...]",
    "acl|cat": "[category]", "acl|deluser": "username...", "acl|dryrun": "username command [arg...]",
    "acl|genpass": "[bits]", "acl|getuser": "username", "acl|log": "[count | RESET]",
    "acl|setuser": "username [rule...]",
    # Of the Python handle, the HTTP door and the members of a cluster
    "rc.get": "key", "rc.mget": "key...", "rc.getv": "key", "rc.getl": "key", "rc.mgetl": "key...",
    "rc.set": "key kind value px [NX | XX]", "rc.mset": "px (kind key value)...",
    "rc.cas": "key version kind value px", "rc.incrby": "key delta px", "rc.scan": "cursor prefix count",
    "rc.topology": "[epoch [SILENT address...]]", "rc.read": "options key...", "rc.write": "options command arg...",
    "rc.stored": "key [version]", "rc.put": "key kind value px (ANY | NX | XX | version)", "rc.cad": "key version",
    "rc.lease": "lease-ms wait-ms (key seen)...", "rc.fill": f"(key {_LOADED})...",
    "rc.free": "(key token:integer text)...",
    "rc.policy": "policy", "rc.whole": "key", "rc.wholel": "key", "rc.link": "token [WHOLE]",
    "rc.near": "key token", "rc.mnear": "token key...",
    "rc.gens": "key...", "rc.void": "prefix", "rc.madd": "(key kind px value)...", "rc.present": "key...",
    "rc.mpeek": "key...", "rc.hottest": "count", "rc.record": "READ (id sample lease-ms) | STOP id",
    "rc.explain": "key:string", "rc.top": "count", "rc.used": "map", "rc.trace": "traceparent",
    "rc.peer": "sender messages",
    "rc.access": "digest | MERGE list", "rc.verify": "[REPAIR]",
    "rc.queue": "store px (kind key value)...", "rc.pending": "record:key...",
    "rc.queued": "store writer count [CLOSE]",
    "rc.dequeue": "store writer (record:key version)...", "rc.bury": "store writer record:key version reason",
    "rc.deadletters": "store count", "rc.revive": "dead-letter:key...", "rc.discard": "dead-letter:key...",
}
"""By the commands' full names; what is not here takes no arguments."""

_TYPES: Final = {
    "key": "key", "pattern": "pattern", "unix-time-seconds": "unix-time", "unix-time-milliseconds": "unix-time",
} | dict.fromkeys((
    "seconds", "milliseconds", "start", "end", "offset", "cursor", "count", "numreplicas", "database", "protover",
    "client-id", "slot", "bits", "kind", "px", "version", "delta", "epoch", "lease-ms", "wait-ms", "sample",
), "integer")
_WORDS: Final = re.compile(r"[\[\]()|]|\.\.\.|[A-Za-z][\w:-]*")


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument, or several that are one in a tree."""

    name: str
    type: str
    """string, integer, double, key, pattern, unix-time, pure-token, oneof or block."""
    token: str = ""
    """The word before it, or that it is."""
    is_optional: bool = False
    is_multiple: bool = False
    arguments: tuple[Argument, ...] = ()
    """Of a oneof or block."""
    key_index: int = -1
    """Which of the command's key specifications it belongs to; -1: it is no key."""


@cache
def arguments_of(name: str, key_uses: int) -> tuple[Argument, ...]:
    """Return what the command with this full name takes, in order.

    Args:
        key_uses: how many key specifications it has.
    """
    words = _WORDS.findall(SYNTAX.get(name, ""))[::-1]
    found = _sequence(words) if words else ()
    assert not words, f"{name}: what is left behind: {words}"
    return tuple(_with_keys(found, count(), key_uses))


def fewest(arguments: tuple[Argument, ...]) -> int:
    """Return how many words these take at least."""
    return sum(0 if one.is_optional else _words_of(one) for one in arguments)


def _words_of(one: Argument) -> int:
    if one.type == "oneof":
        return (1 if one.token else 0) + min(_words_of(each) for each in one.arguments)
    if one.type == "block":
        return (1 if one.token else 0) + fewest(one.arguments)
    return 1 if one.type == "pure-token" or not one.token else 2


def _sequence(words: list[str]) -> tuple[Argument, ...]:
    """Read up to a closing bracket, or the end, off the end of `words`; a choice becomes one argument."""
    choices: list[list[Argument]] = [[]]
    while words and words[-1] not in ("]", ")"):
        if words[-1] == "|":
            words.pop()
            choices.append([])
        else:
            choices[-1].append(_item(words))
    if len(choices) == 1:
        return tuple(choices[0])
    return (Argument(_joined(choices), "oneof", arguments=tuple(map(_one, choices))),)


def _item(words: list[str]) -> Argument:
    word = words.pop()
    if word in ("[", "("):
        found = _one(list(_sequence(words)))
        words.pop()
        found = replace(found, is_optional=found.is_optional or word == "[")
    elif not word.isupper():
        name, _, kind = word.partition(":")
        found = Argument(name, kind or _TYPES.get(name, "string"))
    elif words and (words[-1] == "(" or words[-1][0].islower()):
        found = replace(_item(words), token=word)
    else:
        found = Argument(word.lower(), "pure-token", word)
    if words and words[-1] == "...":
        words.pop()
        found = replace(found, is_multiple=True)
    return found


def _one(arguments: list[Argument]) -> Argument:
    """Return one argument that stands for all of these."""
    if len(arguments) == 1:
        return arguments[0]
    return Argument(_joined([arguments]), "block", arguments=tuple(arguments))


def _joined(choices: list[list[Argument]]) -> str:
    return "-".join(each.name for choice in choices for each in choice[:2])[:40].strip("-")


def _with_keys(arguments: tuple[Argument, ...], numbers: Iterator[int], uses: int) -> Iterator[Argument]:
    """Yield the arguments with the numbers of their key specifications, which are in the order of the keys."""
    for one in arguments:
        if one.type == "key":
            yield replace(one, key_index=min(next(numbers), uses - 1))
        else:
            yield replace(one, arguments=tuple(_with_keys(one.arguments, numbers, uses)))
