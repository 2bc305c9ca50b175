"""What a command is: its name, its arity, where its keys are, and the function that answers it.

What lives here: the record, its checks, and the errors handlers raise. What does not: any command
(one file per group), and the order of checks (`raycache.shard.core`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from raycache.resp import encode
from raycache.shard.wait import Wait

if TYPE_CHECKING:
    from raycache.shard.core import ShardCore
    from raycache.shard.session import Session

Steps = Generator[Wait | None, None, bytes]
"""Long work cut into steps; yields None to go on in the next turn, or what it waits for; returns the encoded reply."""
Reply = bytes | Steps
Handler = Callable[["ShardCore", "Session", list[bytes]], Reply]

UNLIMITED: Final = 1 << 62


class Refusal(Exception):
    """A command that was refused before it changed anything; `reply` is its encoded error."""

    def __init__(self, text: str | bytes) -> None:
        super().__init__(text)
        self.reply = encode.error(text)


SYNTAX_ERROR: Final = "ERR syntax error"
NOT_AN_INTEGER: Final = "ERR value is not an integer or out of range"
NOT_A_FLOAT: Final = "ERR value is not a valid float"
NO_SUCH_KEY: Final = "ERR no such key"
WRONG_TYPE: Final = "WRONGTYPE Operation against a key holding the wrong kind of value"
STRING_TOO_LONG: Final = "ERR string exceeds maximum allowed size (proto-max-bulk-len)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command, or one subcommand of a container such as CLIENT.

    `arity` counts the name (and the subcommand's name) and is negative where more may follow, as in
    Redis. `first_key` 0 means that it takes no key; `last_key` counts from the end if negative.
    `key_use` says what happens to each group of keys, in the words of COMMAND INFO.
    """

    name: str
    arity: int
    flags: str
    handler: Handler
    summary: str
    group: str
    since: str = "1.0.0"
    complexity: str = "O(1)"
    first_key: int = 0
    last_key: int = 0
    key_step: int = 0
    key_use: tuple[str, ...] = ()
    categories: str = ""
    tips: tuple[str, ...] = ()
    history: tuple[tuple[str, str], ...] = ()
    subcommands: dict[bytes, Command] = field(default_factory=dict)
    parent: str = ""
    # Worked out from the above, for the dispatcher.
    full_name: str = field(init=False)
    usual_argc: int = field(init=False)
    min_argc: int = field(init=False)
    max_argc: int = field(init=False)
    one_key: int = field(init=False)
    """Position of the only key, or 0 if it takes none or several."""
    queueable: bool = field(init=False)
    """Whether MULTI queues it; the others run at once."""
    needs_auth: bool = field(init=False)
    _is_write: bool = field(init=False)
    is_read: bool = field(init=False)
    """Whether it looks at keys and changes none."""
    number: int = field(init=False, default=0, compare=False)
    """Its place in `raycache.shard.commands.ALL`, for counters; 0 stands for what is not in the table."""

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        set_(self, "full_name", f"{self.parent}|{self.name}" if self.parent else self.name)
        set_(self, "usual_argc", abs(self.arity))
        set_(self, "min_argc", abs(self.arity))
        set_(self, "max_argc", self.arity if self.arity > 0 else UNLIMITED)
        set_(self, "one_key", self.first_key if self.first_key == self.last_key else 0)
        set_(self, "queueable", self.full_name not in {"exec", "discard", "multi", "watch", "quit", "reset",
                                                       "rc.lease"})
        set_(self, "needs_auth", "no_auth" not in self.flags)
        set_(self, "_is_write", "write" in self.flags.split())
        set_(self, "is_read", "readonly" in self.flags.split())

    def keys(self, argv: list[bytes]) -> list[bytes]:
        """Return the keys among `argv`, whose arity has been checked."""
        if not self.first_key:
            return []
        last = self.last_key if self.last_key > 0 else len(argv) + self.last_key
        return argv[self.first_key : last + 1 : self.key_step]

    def arity_error(self) -> bytes:
        """Return the reply to a wrong number of arguments."""
        text = f"wrong number of arguments for '{self.full_name}' command"
        if self.full_name == "exec":
            return encode.error(f"EXECABORT Transaction discarded because of: {text}")
        return encode.error(f"ERR {text}")

    def is_write(self) -> bool:
        """Whether it may change keys."""
        return self._is_write


def container(name: str, group: str, summary: str, subcommands: list[Command], *, since: str = "1.0.0", arity: int = -2,
              flags: str = "", categories: str = "", handler: Handler | None = None,
              complexity: str = "Depends on subcommand.",
              tips: tuple[str, ...] = ()) -> Command:
    """Return the command that holds `subcommands`. Alone it is a wrong number of arguments, unless it has a handler."""
    return Command(name=name, arity=arity, flags=flags, handler=handler or _no_subcommand, summary=summary, group=group,
                   since=since, complexity=complexity, categories=categories, tips=tips,
                   subcommands={sub.name.upper().encode(): sub for sub in subcommands})


def _no_subcommand(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    raise AssertionError("the dispatcher resolves subcommands")


def help_lines(name: str, lines: list[str]) -> Handler:
    """Return a handler for `NAME HELP`: Redis' frame around `lines` (a subcommand, then its indented meaning)."""
    text = [f"{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:", *lines, "HELP", "    Print this help."]
    reply = encode.array([encode.simple(line.encode()) for line in text])

    def answer(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
        return reply

    return answer
