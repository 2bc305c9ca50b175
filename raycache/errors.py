"""Every error raycache raises, and its form on the wire.

    RayCacheError
    ├── CallerError                the caller must change something; the same call fails again
    │   ├── UnsupportedTypeError   (TypeError)   the value's type cannot be stored
    │   ├── UncacheableArgumentError (TypeError) an argument that no key can be made of
    │   ├── KeyTooLargeError       (ValueError)
    │   ├── ValueTooLargeError     (ValueError)
    │   ├── WrongTypeError         (TypeError)   the key holds another kind of value
    │   ├── NotANumberError        (ValueError)  incr/decr on something else, or out of range
    │   ├── CrossSlotError         (ValueError)  the keys of one atomic command live on different shards
    │   ├── AuthenticationError    (PermissionError)
    │   ├── NotPermittedError      (PermissionError) this user may not do that, or not with these keys
    │   ├── PickleRefusedError     (PermissionError) a pickle, and the cluster, the handle or its signature forbids it
    │   ├── ClusterNotFoundError   (LookupError)
    │   ├── ReentrantLoadError     a load of a key asks for the same key
    │   ├── StoreRefusedError      (ValueError)  the database behind the cache will never take this
    │   ├── QueueClosedError       the writer of a database is being stopped
    │   ├── WriterReplacedError    another writer of the same database has taken over
    │   └── CommandError           any other refusal by the server
    ├── RetryableError             nobody's fault; the same call may succeed later
    │   ├── ShardUnavailableError  (ConnectionError)
    │   ├── DeadlineExceededError  (TimeoutError)
    │   ├── ClusterLoadingError    no shard owns the slot yet
    │   ├── NotEnoughReplicasError too few copies are alive, or have acknowledged in time
    │   ├── LoadFailedError        somebody else's loader failed
    │   ├── LoadTimeoutError       (TimeoutError)    somebody else's loader was waited for too long
    │   ├── ChangeUnderWayError    another change of the cluster is not complete yet
    │   ├── StoreUnavailableError  the database behind the cache cannot be used now
    │   ├── CacheNotWrittenError   the database has the write, the cache does not
    │   ├── StoreNotDrainedError   acknowledged writes still wait for the database
    │   ├── QueueFullError         too many writes wait for the database
    │   └── OutOfMemoryError       the shard is full and may not evict
    └── InternalError              we must act: a bug here
        ├── ProtocolError          the peer broke the framing
        └── CorruptValueError      stored bytes are not what their kind says

Each class knows its RESP prefix (`prefix`) and whether repeating the call is safe even for a
write (`retry_safe`: the same call may simply be made again). What lives elsewhere: the texts of Redis'
own replies, which are part of each command.
"""

from __future__ import annotations

from typing import ClassVar


class RayCacheError(Exception):
    """Root of every error this package raises on purpose."""

    prefix: ClassVar[str] = "ERR"
    retry_safe: ClassVar[bool] = False


class CallerError(RayCacheError):
    """The caller must change something: the same call fails again."""


class UnsupportedTypeError(CallerError, TypeError):
    """A Python value of this type cannot be stored; the text names the type and the way out."""


class UncacheableArgumentError(CallerError, TypeError):
    """A decorated function got an argument that no key can be made of; the text names it and the way out."""


class KeyTooLargeError(CallerError, ValueError):
    """A key is empty or longer than the limit (65,536 bytes by default)."""


class ValueTooLargeError(CallerError, ValueError):
    """A value is larger than the limit (512 MiB by default) or than a whole shard."""


class WrongTypeError(CallerError, TypeError):
    """The key holds a value of another kind."""

    prefix = "WRONGTYPE"


class NotANumberError(CallerError, ValueError):
    """`incr` or `decr` met a value that is no 64-bit integer, or would leave that range."""


class CrossSlotError(CallerError, ValueError):
    """The keys of one atomic command live on different shards."""

    prefix = "CROSSSLOT"


class AuthenticationError(CallerError, PermissionError):
    """The secret is missing or wrong."""

    prefix = "WRONGPASS"


class NotPermittedError(CallerError, PermissionError):
    """The handle's user may not send this command, or not for these keys."""

    prefix = "NOPERM"


class PickleRefusedError(CallerError, PermissionError):
    """A value is pickle, and the cluster or the handle does not allow that, or its signature is wrong."""

    prefix = "NOPICKLE"


class ClusterNotFoundError(CallerError, LookupError):
    """No cluster of this name runs; the text lists those that do."""


class ReentrantLoadError(CallerError):
    """A load asks, on its way, for the very key that it loads: waiting would be waiting for itself."""


class StoreRefusedError(CallerError, ValueError):
    """The database behind the cache will never take this value or key; the text has its reason. Nothing was changed."""


class QueueClosedError(CallerError):
    """The writer of this store is being stopped, and takes no more. Nothing was changed."""

    prefix = "QUEUECLOSED"


class WriterReplacedError(CallerError):
    """Another writer of the same store has taken over; this one must end."""

    prefix = "FENCED"


class CommandError(CallerError):
    """The server refused a command; the text is the server's own."""


class RetryableError(RayCacheError):
    """Nobody's fault: the same call may succeed later."""


class ShardUnavailableError(RetryableError, ConnectionError):
    """A shard could not be reached before the deadline."""

    prefix = "CLUSTERDOWN"


class DeadlineExceededError(RetryableError, TimeoutError):
    """The reply did not come in time; a write may or may not have happened."""


class ClusterLoadingError(RetryableError):
    """The cluster does not serve this slot yet."""

    prefix = "CLUSTERDOWN"
    retry_safe = True


class NotEnoughReplicasError(RetryableError):
    """Too few copies are alive, or have acknowledged a write in time; such a write may or may not last."""

    prefix = "NOREPLICAS"


class LoadFailedError(RetryableError):
    """The loader that this caller waited for has failed, here or in another process.

    Its text is the name of the loader's error class, and the text of that error: nothing else comes over the wire. In
    the process of the loader, `__cause__` is the error itself.
    """

    @property
    def type_name(self) -> str:
        """Name of the loader's error class."""
        return str(self).partition(": ")[0]

    @property
    def message(self) -> str:
        """Text of the loader's error."""
        return str(self).partition(": ")[2]


class LoadTimeoutError(RetryableError, TimeoutError):
    """Somebody else was still loading the key when `wait_s` was over."""

    retry_safe = True


class ChangeUnderWayError(RetryableError):
    """Somebody is scaling or draining the cluster already; the text says what, and since when. Nothing was changed."""


class StoreUnavailableError(RetryableError):
    """The database behind the cache cannot be used now. Nothing was changed, unless the text says "may or may not".

    After "may or may not" the key is not in the cache: the next read loads what is true.
    """


class CacheNotWrittenError(RetryableError):
    """The database has the write and the cache does not; the text says what the cache may serve until then."""


class StoreNotDrainedError(RetryableError):
    """Acknowledged writes still wait for a database, and what was asked for would lose them. Nothing was stopped."""


class QueueFullError(RetryableError):
    """As many bytes of writes wait for the database as may: it is down, or too slow. Nothing was changed."""

    prefix = "QUEUEFULL"
    retry_safe = True


class OutOfMemoryError(RetryableError):
    """The shard is full and its policy may not evict (`noeviction`)."""

    prefix = "OOM"
    retry_safe = True


class InternalError(RayCacheError):
    """A bug in raycache; please report it."""


class ProtocolError(InternalError):
    """The peer broke the framing; the connection is closed."""


class CorruptValueError(InternalError):
    """Stored bytes are not what their kind says; they are not taken for a miss."""


_BY_PREFIX: dict[str, type[RayCacheError]] = {
    "WRONGTYPE": WrongTypeError,
    "CROSSSLOT": CrossSlotError,
    "WRONGPASS": AuthenticationError,
    "NOAUTH": AuthenticationError,
    "NOPERM": NotPermittedError,
    "NOPICKLE": PickleRefusedError,
    "OOM": OutOfMemoryError,
    "QUEUEFULL": QueueFullError,
    "QUEUECLOSED": QueueClosedError,
    "FENCED": WriterReplacedError,
    "NOREPLICAS": NotEnoughReplicasError,
    "CLUSTERDOWN": ClusterLoadingError,
    "LOADING": ClusterLoadingError,
    "TRYAGAIN": ClusterLoadingError,
}


def from_reply(text: str) -> RayCacheError:
    """Return the error that a RESP error reply stands for.

    Args:
        text: the reply without its leading `-`, such as "WRONGTYPE Operation against ...".
    """
    prefix = text.partition(" ")[0]
    kind = _BY_PREFIX.get(prefix)
    if kind is None:
        if "not an integer" in text or "would overflow" in text or "not a valid float" in text:
            kind = NotANumberError
        elif "key is too large" in text or "key may not be empty" in text:
            kind = KeyTooLargeError
        elif "exceeds maximum allowed size" in text or "larger than the shard" in text:
            kind = ValueTooLargeError
        else:
            kind = CommandError
    return kind(text)
