"""The error tree: who must act, what a retry risks, and the way from a reply's text to a class."""

from __future__ import annotations

import copy
import pickle

import pytest

from raycache import errors
from raycache.errors import (
    AuthenticationError,
    CacheNotWrittenError,
    CallerError,
    ChangeUnderWayError,
    ClusterLoadingError,
    ClusterNotFoundError,
    CommandError,
    CorruptValueError,
    CrossSlotError,
    DeadlineExceededError,
    InternalError,
    KeyTooLargeError,
    LoadFailedError,
    LoadTimeoutError,
    NotANumberError,
    NotEnoughReplicasError,
    NotPermittedError,
    OutOfMemoryError,
    PickleRefusedError,
    ProtocolError,
    QueueClosedError,
    QueueFullError,
    RayCacheError,
    ReentrantLoadError,
    RetryableError,
    ShardUnavailableError,
    StoreNotDrainedError,
    StoreRefusedError,
    StoreUnavailableError,
    UncacheableArgumentError,
    UnsupportedTypeError,
    ValueTooLargeError,
    WriterReplacedError,
    WrongTypeError,
    from_reply,
)
from raycache.resp import encode
from raycache.shard import core, owned
from raycache.shard.commands import command

# Branch, the built-in error that it also is, prefix on the wire, whether it surely did not happen.
TREE: dict[type[RayCacheError], tuple[type[RayCacheError], type[Exception], str, bool]] = {
    UncacheableArgumentError: (CallerError, TypeError, "ERR", False),
    UnsupportedTypeError: (CallerError, TypeError, "ERR", False),
    KeyTooLargeError: (CallerError, ValueError, "ERR", False),
    ValueTooLargeError: (CallerError, ValueError, "ERR", False),
    WrongTypeError: (CallerError, TypeError, "WRONGTYPE", False),
    NotANumberError: (CallerError, ValueError, "ERR", False),
    CrossSlotError: (CallerError, ValueError, "CROSSSLOT", False),
    AuthenticationError: (CallerError, PermissionError, "WRONGPASS", False),
    NotPermittedError: (CallerError, PermissionError, "NOPERM", False),
    PickleRefusedError: (CallerError, PermissionError, "NOPICKLE", False),
    ClusterNotFoundError: (CallerError, LookupError, "ERR", False),
    CommandError: (CallerError, Exception, "ERR", False),
    ReentrantLoadError: (CallerError, Exception, "ERR", False),
    StoreRefusedError: (CallerError, ValueError, "ERR", False),
    QueueClosedError: (CallerError, Exception, "QUEUECLOSED", False),
    WriterReplacedError: (CallerError, Exception, "FENCED", False),
    ShardUnavailableError: (RetryableError, ConnectionError, "CLUSTERDOWN", False),
    DeadlineExceededError: (RetryableError, TimeoutError, "ERR", False),
    ClusterLoadingError: (RetryableError, Exception, "CLUSTERDOWN", True),
    OutOfMemoryError: (RetryableError, Exception, "OOM", True),
    NotEnoughReplicasError: (RetryableError, Exception, "NOREPLICAS", False),
    LoadFailedError: (RetryableError, Exception, "ERR", False),
    LoadTimeoutError: (RetryableError, TimeoutError, "ERR", True),
    ChangeUnderWayError: (RetryableError, Exception, "ERR", False),
    StoreUnavailableError: (RetryableError, Exception, "ERR", False),
    CacheNotWrittenError: (RetryableError, Exception, "ERR", False),
    StoreNotDrainedError: (RetryableError, Exception, "ERR", False),
    QueueFullError: (RetryableError, Exception, "QUEUEFULL", True),
    ProtocolError: (InternalError, Exception, "ERR", False),
    CorruptValueError: (InternalError, Exception, "ERR", False),
}
BRANCHES = (CallerError, RetryableError, InternalError)


def all_errors() -> list[type[RayCacheError]]:
    return [thing for thing in vars(errors).values() if isinstance(thing, type) and issubclass(thing, RayCacheError)]


def test_the_tree_is_complete() -> None:
    assert set(all_errors()) == {RayCacheError, *BRANCHES, *TREE}


def test_the_tree_is_drawn_in_the_modules_text() -> None:
    assert errors.__doc__ is not None
    for kind in all_errors():
        assert kind.__name__ in errors.__doc__


@pytest.mark.parametrize("kind", TREE, ids=lambda kind: kind.__name__)
def test_each_error_has_one_branch_and_says_what_it_is_in_python_and_on_the_wire(kind: type[RayCacheError]) -> None:
    branch, builtin, prefix, retry_safe = TREE[kind]
    assert [base for base in BRANCHES if issubclass(kind, base)] == [branch]
    assert issubclass(kind, builtin)
    assert (kind.prefix, kind.retry_safe) == (prefix, retry_safe)


@pytest.mark.parametrize("kind", all_errors(), ids=lambda kind: kind.__name__)
def test_errors_survive_pickling_and_copying(kind: type[RayCacheError]) -> None:
    # Ray pickles them on their way out of a task; the async handle copies one for each waiter.
    for twin in (pickle.loads(pickle.dumps(kind("what went wrong"))), copy.copy(kind("what went wrong"))):
        assert type(twin) is kind
        assert str(twin) == "what went wrong"


def test_only_what_surely_did_not_happen_is_safe_to_repeat() -> None:
    assert {kind for kind in all_errors() if kind.retry_safe} == {
        ClusterLoadingError, LoadTimeoutError, OutOfMemoryError, QueueFullError}


@pytest.mark.parametrize(("text", "kind"), [
    ("WRONGTYPE Operation against a key holding the wrong kind of value", WrongTypeError),
    ("CROSSSLOT Keys in request don't hash to the same slot", CrossSlotError),
    ("WRONGPASS invalid username-password pair or user is disabled.", AuthenticationError),
    ("NOAUTH Authentication required.", AuthenticationError),
    ("NOPERM this user has no permissions", NotPermittedError),
    ("NOPICKLE this cluster takes no pickled values", PickleRefusedError),
    ("OOM command not allowed when used memory > 'maxmemory'.", OutOfMemoryError),
    ("CLUSTERDOWN Hash slot not served", ClusterLoadingError),
    ("LOADING the dataset is loading", ClusterLoadingError),
    ("TRYAGAIN Slots moved while the command ran", ClusterLoadingError),
    ("ERR value is not an integer or out of range", NotANumberError),
    ("ERR increment or decrement would overflow", NotANumberError),
    ("ERR value is not a valid float", NotANumberError),
    ("ERR key is too large (70000 bytes, at most 65536)", KeyTooLargeError),
    ("ERR key may not be empty", KeyTooLargeError),
    ("ERR string exceeds maximum allowed size (proto-max-bulk-len)", ValueTooLargeError),
    ("ERR value is larger than the shard's memory", ValueTooLargeError),
    ("ERR unknown command 'NONSENSE', with args beginning with: ", CommandError),
    ("EXECABORT Transaction discarded because of previous errors.", CommandError),
    ("", CommandError),
    ("OOMPH is no prefix of ours", CommandError),
])
def test_a_reply_becomes_the_error_that_says_who_must_act(text: str, kind: type[RayCacheError]) -> None:
    error = from_reply(text)
    assert type(error) is kind
    assert str(error) == text


@pytest.mark.parametrize(("reply", "kind"), [
    (core.NOAUTH, AuthenticationError), (core.OUT_OF_MEMORY, OutOfMemoryError), (core.NEVER_FITS, ValueTooLargeError),
    (core.MOVED_MEANWHILE, ClusterLoadingError), (core.INTERNAL_ERROR, CommandError),
    (owned.CLUSTER_DOWN, ClusterLoadingError), (owned.CROSS_SLOT, CrossSlotError),
    (owned.TRY_AGAIN, ClusterLoadingError), (encode.error(command.WRONG_TYPE), WrongTypeError),
    (encode.error(command.STRING_TOO_LONG), ValueTooLargeError),
])
def test_the_replies_that_a_shard_really_gives_are_told_apart(reply: bytes, kind: type[RayCacheError]) -> None:
    assert reply[:1] == b"-"
    assert type(from_reply(reply[1:-2].decode())) is kind
