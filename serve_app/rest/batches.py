"""Many keys in one request: what the body of a batch says, and what its answer looks like, in JSON and in msgpack.

What lives here: reading and writing the two forms, and the schema that OpenAPI shows. What does not: carrying it out
(`many.py`). Pure; any thread. Written by hand because 1,000 keys must not take longer here than on their way.

JSON has no bytes: a value that is no UTF-8 stands as `base64` there, one that is as `value`. Keys are text in JSON; in
msgpack they may be bytes, and values are.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgpack

from serve_app.problems import Refused, refuse
from serve_app.rest.negotiation import Form
from serve_app.rest.representation import OCTETS, Representation

MAX_TTL_S: Final = 2**31
_MEDIA_TYPE: Final = re.compile(r"^[!-~]+/[ -~]+$")


@dataclass(frozen=True, slots=True)
class Item:
    """One value to store."""

    key: bytes
    value: bytes
    media_type: str
    """"" where none was given: then plain bytes are stored."""
    ttl_s: float | None


@dataclass(frozen=True, slots=True)
class Batch:
    """What to do, in this order: store, delete, read."""

    stores: list[Item]
    deletes: list[bytes]
    reads: list[bytes]


def unpacked(body: bytes | bytearray, form: Form) -> Any:
    """Return what a body holds.

    Raises:
        Refused: 422, it is not in that form.
    """
    try:
        if form == "json":
            return json.loads(body)
        return msgpack.unpackb(body, strict_map_key=False)
    except (ValueError, RecursionError, msgpack.exceptions.UnpackException) as error:
        raise refuse(422, "invalid", f"the body is no {form}: {error or type(error).__name__}") from None


def batch_of(document: Any, max_keys: int) -> Batch:
    """Return the batch that a document describes.

    Raises:
        Refused: 422, it describes none; 413, it has too many keys. The text says where and why.
    """
    fields = members(document, {"set", "delete", "get"})
    stores = [_item(each, f"set.{at}") for at, each in enumerate(_list(fields.get("set", []), "set"))]
    deletes = keys_in(fields.get("delete", []), "delete")
    reads = keys_in(fields.get("get", []), "get")
    count = len(stores) + len(deletes) + len(reads)
    if count > max_keys:
        raise refuse(413, "body-too-large", f"a batch has at most {max_keys} keys, not {count}", limit_keys=max_keys)
    return Batch(stores, deletes, reads)


def members(document: Any, known: set[str]) -> Mapping[str, Any]:
    """Return an object of known members, at least one.

    Raises:
        Refused: 422, it is something else.
    """
    if not isinstance(document, dict):
        raise _wrong("the body", f"must be an object with {', '.join(sorted(known))}")
    if unknown := [name for name in document if name not in known]:
        raise _wrong("the body", f"has unknown members {sorted(map(str, unknown))}; known are {sorted(known)}")
    if not document:
        raise _wrong("the body", f"must have at least one of {', '.join(sorted(known))}")
    return document


def keys_in(value: Any, where: str) -> list[bytes]:
    """Return a list of keys as bytes.

    Raises:
        Refused: 422, it is something else, or one is empty.
    """
    given = _list(value, where)
    try:
        keys = list(map(str.encode, given))
    except (TypeError, UnicodeEncodeError):
        keys = [_key(each, f"{where}.{at}") for at, each in enumerate(given)]
    if b"" in keys:
        raise _wrong(f"{where}.{keys.index(b'')}", "a key may not be empty")
    return keys


def _key(value: Any, where: str) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    raise _wrong(where, "a key is a text")


def _item(value: Any, where: str) -> Item:
    if not isinstance(value, dict) or not value.keys() <= {"key", "value", "base64", "content_type", "ttl"}:
        raise _wrong(where, "must be an object with key, value or base64, and perhaps content_type and ttl")
    if "key" not in value or ("value" in value) == ("base64" in value):
        raise _wrong(where, "needs key, and either value or base64")
    key = _key(value["key"], f"{where}.key")
    if not key:
        raise _wrong(f"{where}.key", "a key may not be empty")
    media_type = value.get("content_type", "")
    if "content_type" in value and not (
            isinstance(media_type, str) and len(media_type) <= 255 and _MEDIA_TYPE.search(media_type)):
        raise _wrong(f"{where}.content_type", "must be a media type, such as text/html; charset=utf-8")
    return Item(key, _value(value, where), media_type, _ttl(value.get("ttl"), f"{where}.ttl"))


def _value(value: dict[str, Any], where: str) -> bytes:
    if "base64" in value:
        try:
            return base64.b64decode(value["base64"], validate=True)
        except (binascii.Error, TypeError, ValueError) as error:
            raise _wrong(f"{where}.base64", f"is no base64: {error}") from None
    given = value["value"]
    if isinstance(given, bytes):
        return given
    if isinstance(given, str):
        return given.encode("utf-8", "surrogatepass")
    raise _wrong(f"{where}.value", "must be a text (or bytes, in msgpack)")


def _ttl(value: Any, where: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MAX_TTL_S:
        raise _wrong(where, f"must be a number of seconds above 0, at most {MAX_TTL_S}")
    return value


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise _wrong(where, "must be a list")
    return value


def _wrong(where: str, what: str) -> Refused:
    return refuse(422, "invalid", f"{where}: {what}", errors=[{"where": where, "what": what}])


def found_in(shown: Representation | None, form: Form) -> dict[str, Any] | None:
    """Return what stands for a value in an answer; None for an absent key."""
    if shown is None:
        return None
    item: dict[str, Any]
    if form == "msgpack":
        item = {"value": shown.body}
    else:
        try:
            item = {"value": str(shown.body, "utf-8")}
        except UnicodeDecodeError:
            item = {"base64": base64.b64encode(shown.body).decode("ascii")}
    if shown.media_type != OCTETS:
        item["content_type"] = shown.media_type
    if shown.coding:
        item["content_encoding"] = shown.coding
    return item


def packed(document: Any, form: Form) -> bytes:
    """Return an answer's body."""
    if form == "msgpack":
        data: bytes = msgpack.packb(document)
        return data
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


_KEY_SCHEMA: Final[dict[str, Any]] = {"type": "string", "minLength": 1}
_KEYS_SCHEMA: Final[dict[str, Any]] = {"type": "array", "items": _KEY_SCHEMA}
BATCH_SCHEMA: Final[dict[str, Any]] = {
    "type": "object", "additionalProperties": False, "minProperties": 1, "properties": {
        "set": {"type": "array", "items": {
            "type": "object", "additionalProperties": False, "required": ["key"],
            "oneOf": [{"required": ["value"]}, {"required": ["base64"]}],
            "properties": {
                "key": _KEY_SCHEMA,
                "value": {"type": "string", "description": "Text."},
                "base64": {"type": "string", "description": "Bytes that are no text.",
                           "pattern": "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"},
                "content_type": {"type": "string", "pattern": _MEDIA_TYPE.pattern, "maxLength": 255},
                "ttl": {"type": ["number", "null"], "exclusiveMinimum": 0, "maximum": MAX_TTL_S,
                        "description": "Seconds; without it the value never expires."},
            }}},
        "delete": _KEYS_SCHEMA, "get": _KEYS_SCHEMA,
    },
}
ANSWER_SCHEMA: Final[dict[str, Any]] = {
    "type": "object", "required": ["stored", "deleted", "values"], "properties": {
        "stored": {"type": "integer"}, "deleted": {"type": "integer"},
        "values": {"type": "array", "description": "In the order of `get`; null for a key that is absent.", "items": {
            "type": ["object", "null"], "properties": {
                "value": {"type": "string"}, "base64": {"type": "string"}, "content_type": {"type": "string"},
                "content_encoding": {"type": "string"}}}}},
}
INVALIDATE_SCHEMA: Final[dict[str, Any]] = {
    "type": "object", "additionalProperties": False, "minProperties": 1, "properties": {
        "keys": _KEYS_SCHEMA,
        "tags": {"type": "array", "items": {"type": "string", "minLength": 1, "maxLength": 1000}},
        "prefixes": {"type": "array", "items": _KEY_SCHEMA},
    },
}
INVALIDATED_SCHEMA: Final[dict[str, Any]] = {
    "type": "object", "required": ["deleted", "tags"], "properties": {
        "deleted": {"type": "integer"}, "tags": {"type": "integer"}},
}
