"""Problem details (RFC 9457): what every error of the HTTP door looks like.

What lives here: which status and words stand for which error, and the document. What does not: sending it
(`answering.py`). Pure; any thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from raycache import errors

MEDIA_TYPE: Final = "application/problem+json"
_NAMESPACE: Final = "urn:raycache:problem:"


@dataclass(frozen=True, slots=True)
class Problem:
    """One error as its caller sees it."""

    status: int
    kind: str
    """A word for programs; `type` is made of it."""
    detail: str
    """What was wrong this time, for people."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent beside the document, such as Allow or Retry-After."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """Further members of the document."""

    @property
    def title(self) -> str:
        """The status in words, the same for every problem of its kind."""
        return _TITLES.get(self.kind) or HTTPStatus(self.status).phrase

    def document(self) -> dict[str, Any]:
        """Return the document's members."""
        return {"type": _NAMESPACE + self.kind, "title": self.title, "status": self.status, "detail": self.detail,
                **self.more}


class Refused(Exception):
    """Raised by whatever refuses a request; its caller gets the problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


def refuse(status: int, kind: str, detail: str, headers: Mapping[str, str] | None = None, **more: Any) -> Refused:
    """Return what to raise."""
    return Refused(Problem(status, kind, detail, headers or {}, more))


_TITLES: Final = {
    "key-absent": "The key is absent",
    "cluster-not-found": "No such cluster runs",
    "precondition-failed": "The key is not at that version",
    "body-too-large": "The body is too large",
    "key-too-large": "The key is too large",
    "too-many-requests": "Too many requests",
    "deadline": "The deadline is over",
    "unavailable": "The cache cannot be reached",
    "too-few-copies": "Too few copies have answered",
    "full": "The shard is full and may not evict",
    "invalid": "The request is not valid",
    "internal": "A bug in raycache",
    "unauthorized": "A token is needed",
    "forbidden": "The token does not allow this",
}

RETRY_AFTER_S: Final = 1
"""What is told to those who should come again: failovers take about a second."""
_RETRY: Final = {"Retry-After": str(RETRY_AFTER_S)}

# The first class that fits counts, so the special ones stand before those that they are derived from.
_BY_CLASS: Final[tuple[tuple[type[Exception], int, str, Mapping[str, str]], ...]] = (
    (errors.ClusterNotFoundError, 404, "cluster-not-found", {}),
    (errors.KeyTooLargeError, 414, "key-too-large", {}),
    (errors.ValueTooLargeError, 413, "body-too-large", {}),
    (errors.UnsupportedTypeError, 422, "invalid", {}),
    (errors.NotANumberError, 422, "invalid", {}),
    (errors.WrongTypeError, 409, "wrong-type", {}),
    (errors.NotPermittedError, 403, "forbidden", {}),
    (errors.PickleRefusedError, 409, "wrong-type", {}),
    # Its own secret is wrong: nothing that the caller could do about.
    (errors.AuthenticationError, 502, "unavailable", {}),
    (errors.OutOfMemoryError, 507, "full", {}),
    (errors.DeadlineExceededError, 504, "deadline", {}),
    (errors.NotEnoughReplicasError, 503, "too-few-copies", _RETRY),
    (errors.RetryableError, 503, "unavailable", _RETRY),
    (errors.CallerError, 422, "invalid", {}),
    (TimeoutError, 504, "deadline", {}),
)


def problem_of(error: Exception) -> Problem:
    """Return the problem that an error of the cache stands for; a bug's is the same for every bug and says nothing."""
    if isinstance(error, Refused):
        return error.problem
    for kind, status, word, headers in _BY_CLASS:
        if isinstance(error, kind):
            return Problem(status, word, str(error) or HTTPStatus(status).phrase, headers)
    return Problem(500, "internal",
                   "something went wrong that should not have; the log of the Serve replica says what")
