"""How decorated functions travel to other processes.

What lives here: by name where the other process can import it, else by value. What does not: pickling itself, and
nothing here is ever asked to unpickle what came from a cache.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any


def find(module: str, qualified_name: str) -> Any:
    """Return what a module calls so, importing it; this is what a pickle by name calls."""
    found: Any = importlib.import_module(module)
    for part in qualified_name.split("."):
        found = found.__dict__[part] if isinstance(found, type) else getattr(found, part)
    return found


def is_findable(thing: Any, module: str, qualified_name: str) -> bool:
    """Return whether `find` returns `thing` itself, in any process that has the same modules.

    Those of a script (`__main__`) another process has not.
    """
    if module == "__main__" or module not in sys.modules or "<" in qualified_name:
        return False
    try:
        return find(module, qualified_name) is thing
    except (AttributeError, KeyError, ImportError):
        return False
