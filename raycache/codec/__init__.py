"""Python values to bytes and back, exactly; pure, and nothing is unpickled unless somebody has allowed it twice.

What lives here: names only. The work is in `values.py` (dispatch), `frames.py` (msgpack), `arrays.py` (numpy),
`parts.py` (large values in buffers of their own), `foreign.py` (Arrow and torch), `loaded.py` (the frame around what
was loaded), `pickles.py` and `sealed.py` (pickles with a signature), `described.py` (what HTTP says of a body),
`temporal.py` (dates) and `refusal.py` (what cannot be stored, and the way out).
"""

from raycache.codec.kinds import ARRAY, DESCRIBED, INTEGER, LOADED, MSGPACK, OBJECT, PACKED, PICKLE, RAW, TEXT
from raycache.codec.pickles import Pickles
from raycache.codec.sealed import Sealed
from raycache.codec.values import decode, decode_payload, decode_payloads, encode

__all__ = [
    "ARRAY",
    "DESCRIBED",
    "INTEGER",
    "LOADED",
    "MSGPACK",
    "OBJECT",
    "PACKED",
    "PICKLE",
    "RAW",
    "TEXT",
    "Pickles",
    "Sealed",
    "decode",
    "decode_payload",
    "decode_payloads",
    "encode",
]
