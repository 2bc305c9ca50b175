"""Asking a Ray at an address whether it would have us, before connecting to it.

What lives here: one question, answered in milliseconds. What does not: connecting (`environment`). Where a Ray has
another token, `ray.init` asks it again and again for 20 s, and then says only that it failed to connect.

The question is one that Ray's own tools ask its GCS, in gRPC; its name is private, and where anything about it is not
as known here, the answer is "nothing is known against it", and connecting will tell.
"""

from __future__ import annotations

from typing import Any, Final

_CHECK_ALIVE: Final = "/ray.rpc.NodeInfoGcsService/CheckAlive"
_TIMEOUT_S: Final = 2.0


def why_refused(address: str, token: str | None) -> str:
    """Return why the Ray at `address`, "host:port", would refuse this process; "" where nothing is known against it.

    Args:
        token: what this process would show; None: none.
    """
    try:
        import grpc
    except ImportError:
        return ""
    given = (("authorization", f"Bearer {token}"),) if token else ()
    with grpc.insecure_channel(address, options=(("grpc.enable_http_proxy", 0),)) as channel:
        ask: Any = channel.unary_unary(_CHECK_ALIVE)
        try:
            ask(b"", timeout=_TIMEOUT_S, metadata=given)
        except grpc.RpcError as error:
            return _reason(error.code().name, bool(token))
    return ""


def _reason(code: str, has_shown_one: bool) -> str:
    if code == "UNAUTHENTICATED":
        return ("it is somebody else's: it has another token than RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or "
                "~/.ray/auth_token" if has_shown_one else
                "it demands a token, and this process has none or runs with RAY_AUTH_MODE=disabled")
    if code == "UNAVAILABLE":
        return "what listens there is no Ray, or it is just ending"
    return ""
