"""What OpenAPI says of the routes: parameters, headers and errors that are read by hand.

What lives here: pieces of the document, shared by the routes. Pure data.
"""

from __future__ import annotations

from typing import Any, Final

from serve_app import problems

CLUSTER_PATTERN: Final = "^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$"

_PROBLEM_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
}
_WORDS: Final = {
    400: "The body did not come whole.", 401: "A token is needed.", 403: "The token does not allow this.",
    404: "The key is absent, or no such cluster runs.", 406: "Neither form that there is may be sent.",
    409: "The key holds another type of value.", 412: "The key is not at that version.",
    413: "The body or value is too large.", 414: "The key is too large.", 415: "The body is in a form not known here.",
    422: "The request is not valid; nothing was changed.", 429: "Too much is under way; come again.",
    500: "A bug in raycache.", 502: "The door itself is not let in.",
    503: "The cache cannot be reached now; come again.", 504: "Not done within the deadline.",
    507: "The shard is full and may not evict.",
}

CLUSTER: Final[dict[str, Any]] = {
    "name": "cluster", "in": "path", "required": True, "description": "Name of a cluster.",
    "schema": {"type": "string", "pattern": CLUSTER_PATTERN},
}
KEY: Final[dict[str, Any]] = {
    "name": "key", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1},
    "description": "The key, percent-encoded; slashes may stand for themselves. At most 4,096 bytes; the batch takes "
                   "longer ones.",
}


def header(name: str, description: str) -> dict[str, Any]:
    """Return an optional header of a request. It may hold anything: nobody fails for what is not understood."""
    return {"name": name, "in": "header", "required": False, "description": description, "schema": {"type": "string"}}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the responses for errors of these statuses, and of those that every route may give."""
    always = (401, 403, 404, 422, 429, 500, 502, 503, 504)
    return {status: {"description": _WORDS[status], "content": {problems.MEDIA_TYPE: {"schema": _PROBLEM_SCHEMA}}}
            for status in sorted({*always, *statuses})}


IF_MATCH: Final = header("If-Match", "Only if the key is at one of these versions; * = only if it is there.")
IF_NONE_MATCH: Final = header("If-None-Match", "Only if it is at none of these versions; * = only if it is absent.")
CACHE_CONTROL: Final = header("Cache-Control", "`max-age` (or `s-maxage`) is the time to live, in whole seconds; "
                              "without one the value never expires.")
ACCEPT: Final = header("Accept", "application/json or application/msgpack, where a value or answer has both forms.")
PREFER: Final = header("Prefer", "`wait=2`: take at most 2 seconds.")

BINARY: Final[dict[str, Any]] = {"*/*": {"schema": {"type": "string", "format": "binary"}}}
VALUE_HEADERS: Final[dict[str, Any]] = {
    "ETag": {"description": "The version, in quotes.", "schema": {"type": "string"}},
    "Age": {"description": "Seconds since it was written, where that is known.", "schema": {"type": "integer"}},
    "Cache-Control": {"description": "max-age less Age is what is left of the lifetime.", "schema": {"type": "string"}},
}
ETAG_HEADER: Final[dict[str, Any]] = {"ETag": VALUE_HEADERS["ETag"]}
