"""What a forked child must not share with its parent: connections.

What lives here: the one hook that tells every handle of this process that it is a child now. Two processes writing
to one socket would read each other's replies. `os.fork` (so `multiprocessing`, too) runs the hook; no operation pays.
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Forgetful(Protocol):
    """Something that holds connections."""

    def forget_connections(self) -> None:
        """Drop them, and every lock that another thread may have held at the fork."""


_handles: weakref.WeakSet[Forgetful] = weakref.WeakSet()


def watch(handle: Forgetful) -> None:
    """Have `handle` forget its connections in every child of this process."""
    _handles.add(handle)


def _in_child() -> None:
    for handle in list(_handles):
        handle.forget_connections()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
