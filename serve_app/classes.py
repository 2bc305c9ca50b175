"""Which class of command a request is, in the words of the other doors.

What lives here: what several commands in one request come to, and where a route leaves its class for whoever measures.
What does not: the classes (`raycache.shard.classes`), counting (`figures.py`). Pure.
"""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import Any, Final

from raycache.shard.classes import READ_MANY, WRITE_MANY, class_of
from raycache.shard.commands import resolve

CLASS: Final = "raycache.class"
"""Under this name the scope of a request has its class, once its route knows it."""


def note(scope: MutableMapping[str, Any], class_: str) -> None:
    """Leave a request's class in its scope."""
    scope[CLASS] = class_


def class_of_all(commands: Sequence[list[bytes]]) -> str:
    """Return the class of commands that have come in one request: theirs, if all have the same.

    Else they are many writes if any changes something, and many reads if none does.
    """
    found = [resolve(argv) for argv in commands]
    classes = {class_of(command) for command in found}
    if len(classes) == 1:
        return classes.pop()
    return WRITE_MANY if any(command is not None and command.is_write() for command in found) else READ_MANY
