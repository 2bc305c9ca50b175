"""Keys and clusters in paths.

What lives here: reading both from the path as it came, byte for byte: a key is bytes, and need not be UTF-8. Pure; any
thread.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from serve_app.problems import refuse
from serve_app.rest.documented import CLUSTER_PATTERN

MAX_KEY_BYTES: Final = 4_096
"""Of a key in a path: percent-encoded it may be three times as long, and HAProxy takes 16 KiB of a request's head."""

_CLUSTER: Final = re.compile(CLUSTER_PATTERN)
_BEFORE_KEY: Final = b"/keys/"


def cluster_of(path_params: Mapping[str, Any]) -> str:
    """Return the cluster that a path names.

    Raises:
        Refused: 422, that is no name.
    """
    name = str(path_params["cluster"])
    if not _CLUSTER.match(name) or name.endswith("\n"):
        raise refuse(422, "invalid", f"{name!r:.80} is no cluster name")
    return name


def key_of(scope: Mapping[str, Any]) -> bytes:
    """Return the key that a path ends with.

    Raises:
        Refused: 414, it is too long; 422, it is empty.
    """
    raw: bytes = scope.get("raw_path") or b""
    at = raw.find(_BEFORE_KEY)
    if at >= 0:
        key = raw[at + len(_BEFORE_KEY) :]
        if b"%" in key:
            key = unquote_to_bytes(key)
    else:  # a server that does not pass it on, or a caller who has encoded letters of `keys`
        key = str(scope["path_params"]["key"]).encode("utf-8", "surrogateescape")
    if len(key) > MAX_KEY_BYTES:
        raise refuse(414, "key-too-large", f"a key in a path has at most {MAX_KEY_BYTES} bytes: the batch takes more")
    if not key:
        raise refuse(422, "invalid", "the key is empty")
    return key
