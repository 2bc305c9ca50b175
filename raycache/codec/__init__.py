"""Python values to bytes and back, exactly; pure, and nothing is ever unpickled.

What lives here: names only. The work is in `values.py` (dispatch), `frames.py` (msgpack), `arrays.py` (numpy),
`loaded.py` (the frame around what was loaded), `described.py` (what HTTP says of a body), `temporal.py` (dates) and
`refusal.py` (what cannot be stored, and the way out).
"""

from raycache.codec.kinds import ARRAY, DESCRIBED, INTEGER, LOADED, MSGPACK, PICKLE, RAW, TEXT
from raycache.codec.values import decode, decode_payload, decode_payloads, encode

__all__ = [
    "ARRAY",
    "DESCRIBED",
    "INTEGER",
    "LOADED",
    "MSGPACK",
    "PICKLE",
    "RAW",
    "TEXT",
    "decode",
    "decode_payload",
    "decode_payloads",
    "encode",
]
