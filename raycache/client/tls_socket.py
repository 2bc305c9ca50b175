"""The sync handle's socket where doors speak TLS: the few calls that `connection` makes, in its own terms.

What lives here: the handshake, and TLS behind the interface of a plain blocking socket. What does not: what is said
over it. Used by one thread at a time.

The kernel's time-outs that plain connections use mean nothing to OpenSSL, which would wait on: so here they set
Python's own, and an expired one looks like the kernel's (BlockingIOError).
"""

from __future__ import annotations

import socket
import ssl
import struct
from typing import Final

from raycache.errors import AuthenticationError
from raycache.tls import TlsSettings, client_context

_TIMEVAL: Final = struct.Struct("@ll")
_NOW: Final = socket.MSG_DONTWAIT


class TlsSocket:
    """A connected, encrypted socket."""

    __slots__ = ("_socket",)

    def __init__(self, plain: socket.socket, settings: TlsSettings, host: str) -> None:
        """Agree on TLS over `plain`, within its time-out; closes it where that fails.

        Raises:
            AuthenticationError: the certificate is from nobody we know, or for another name.
            OSError: it failed otherwise.
        """
        try:
            context = client_context(settings)
            self._socket = context.wrap_socket(plain, server_hostname=settings.name_for(host))
        except ssl.SSLCertVerificationError as error:
            plain.close()
            raise AuthenticationError(f"the certificate of {host} is not accepted: {error.verify_message}") from error
        except BaseException:
            plain.close()
            raise

    def setsockopt(self, level: int, option: int, value: bytes | int) -> None:
        """Set an option; SO_RCVTIMEO and SO_SNDTIMEO, one `timeval`, set the time-out of both directions."""
        if option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO) and isinstance(value, bytes):
            seconds, microseconds = _TIMEVAL.unpack(value)
            self._socket.settimeout(seconds + microseconds / 1e6)
        else:
            self._socket.setsockopt(level, option, value)

    def settimeout(self, timeout_s: float | None) -> None:
        """Set the time-out of both directions."""
        self._socket.settimeout(timeout_s)

    def send(self, data: bytes | memoryview) -> int:
        """Send some of `data`; return how much. Raises BlockingIOError where the time is up."""
        try:
            return self._socket.send(data)
        except (TimeoutError, ssl.SSLWantReadError, ssl.SSLWantWriteError) as error:
            raise BlockingIOError(str(error)) from error

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Return what has come, at most `size` bytes; nothing where the other side has closed.

        With MSG_DONTWAIT it does not wait. MSG_PEEK means nothing here: whoever peeks gives the connection up if there
        is something.
        """
        before_s = self._socket.gettimeout()
        try:
            if flags & _NOW:
                self._socket.settimeout(0.0)
            return self._socket.recv(size)
        except (TimeoutError, ssl.SSLWantReadError, ssl.SSLWantWriteError) as error:
            raise BlockingIOError(str(error)) from error
        finally:
            if flags & _NOW:
                self._socket.settimeout(before_s)

    def close(self) -> None:
        """Close the socket; the other side is not waited for."""
        self._socket.close()
