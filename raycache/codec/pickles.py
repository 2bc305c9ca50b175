"""Pickles with a signature: values of other types, for those who allow it.

What lives here: `Pickles`, which signs and checks with what a cluster's secret gives. What does not: who allows it (a
cluster's shards and a handle, each for itself), what stands for a pickle that was not loaded (`sealed.py`). Any
thread.

A pickle runs code when it is loaded, so whoever can write one runs code wherever it is read. Hence the signature: it is
made with a key that only who knows the cluster's secret has, and it is checked before the first byte is unpickled.

The frame: one byte of format, 32 of HMAC-SHA256 over what follows, the pickle. The key is derived, so that nothing that
is signed here can be taken for something else that the secret signs. It does not bind the pickle to its cache key:
RENAME and COPY work as on any value, and who may write can put one signed value where another was.
"""

from __future__ import annotations

import hmac
import pickle
from collections.abc import Callable
from typing import Any, Final

from raycache.codec.kinds import LOADED, PICKLE
from raycache.codec.refusal import corrupt
from raycache.codec.sealed import Sealed
from raycache.codec.values import encode
from raycache.errors import PickleRefusedError, UnsupportedTypeError

FORMAT: Final = b"\x01"
_PURPOSE: Final = b"raycache signed pickle 1"
_MAC_BYTES: Final = 32
_START: Final = len(FORMAT) + _MAC_BYTES
_PROTOCOL: Final = 5
"""Of Python 3.8 and later: all processes of a cluster can read it, whatever their newest is."""


class Pickles:
    """Signs and loads the pickles of one cluster.

    Args:
        secret: returns the cluster's secret as it is now; it may be another one once the cluster was started anew.
    """

    def __init__(self, secret: Callable[[], str | None]) -> None:
        self._secret = secret
        self._known: tuple[str, bytes] | None = None

    def encode(self, value: Any) -> tuple[int, bytes]:
        """Return (kind, bytes) for `value`: as everywhere if it is of a type that can be, else signed pickle.

        Raises:
            UnsupportedTypeError: it cannot be pickled either.
            PickleRefusedError: the secret is not known here.
        """
        try:
            return encode(value)
        except UnsupportedTypeError as unsupported:
            key = self._key()
            try:
                data = pickle.dumps(value, _PROTOCOL)
            except Exception as error:  # whatever the value's own code raises
                raise UnsupportedTypeError(f"{unsupported} (nor can it be pickled: {error})") from error
        return PICKLE, b"".join((FORMAT, hmac.digest(key, data, "sha256"), data))

    def open(self, frame: bytes) -> Any:
        """Return the value in a frame, if the signature is right.

        Raises:
            PickleRefusedError: it is not: who does not know the secret has written it, or changed it.
            CorruptValueError: it is, and the value cannot be made here: its class is missing, say.
        """
        mac, data = frame[len(FORMAT) : _START], frame[_START:]
        if not (frame.startswith(FORMAT) and hmac.compare_digest(mac, hmac.digest(self._key(), data, "sha256"))):
            raise PickleRefusedError("the pickle under this key is not signed with the cluster's secret: somebody else "
                                     "has written or changed it, and it is not loaded")
        try:
            return pickle.loads(data)  # signed by who could run code here anyway
        except Exception as error:
            raise corrupt(PICKLE, f"{type(error).__name__}: {error}") from error

    def _key(self) -> bytes:
        secret = self._secret()
        if secret is None:
            raise PickleRefusedError("pickles are signed with the cluster's secret, and this handle does not know it: "
                                     "connect with secret=")
        known = self._known
        if known is None or known[0] != secret:
            known = self._known = secret, hmac.digest(secret.encode(), _PURPOSE, "sha256")
        return known[1]


def loaded(sealed: Sealed, pickles: Pickles | None) -> Any:
    """Return the value of a pickle that was read.

    Args:
        pickles: what the handle loads them with; None: it loads none.
    Raises:
        PickleRefusedError: it loads none, or this one is not signed.
        CorruptValueError: it cannot be made here.
    """
    if pickles is None:
        raise sealed
    return pickles.open(sealed.frame)


def is_pickle(kind: int, data: bytes) -> bool:
    """Return whether bytes of a kind are a pickle, bare or loaded."""
    return kind == PICKLE or (kind == LOADED and data[1:2] == bytes([PICKLE]))
