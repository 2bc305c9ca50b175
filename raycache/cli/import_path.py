"""Things named on the command line as `module:function`.

What lives here: importing them. What does not: what they are for.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any


def imported(path: str, option: str) -> Any:
    """Return what `path` names: "module:function", or "package.module:thing.attribute".

    The working directory is looked at first, as `python -m` does.

    Args:
        option: the option that it was given to, for the error.
    Raises:
        ValueError: there is no such module or attribute, or `path` has another form.
    """
    module_name, colon, attributes = path.partition(":")
    if not colon or not module_name or not attributes:
        raise ValueError(f"{option} {path!r}: write it as module:function")
    look_here_first()
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{option} {path!r}: {error}; the working directory and the installed packages were looked at"
        ) from None
    for name in attributes.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise ValueError(f"{option} {path!r}: {module_name} has no {attributes}") from None
    return found


def look_here_first() -> None:
    """Let modules be looked for in the working directory, too, as `python -m` does."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
