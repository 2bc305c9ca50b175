"""When an operation is tried again, and what its caller is told: pure, on a clock that is a number."""

from __future__ import annotations

import copy
import pickle
import random

import pytest

from raycache.client.retry import (
    BRISK_DELAYS_S,
    FIRST_DELAY_S,
    LONGEST_DELAY_S,
    Attempts,
    Interrupted,
    Lost,
    Moved,
    NoOwner,
    Silent,
    full_jitter_s,
    reply_failure,
)
from raycache.errors import (
    AuthenticationError,
    ClusterLoadingError,
    DeadlineExceededError,
    NotEnoughReplicasError,
    OutOfMemoryError,
    ShardUnavailableError,
)


def attempts(*, repeatable: bool = True, deadline_s: float = 10.0) -> Attempts:
    return Attempts(deadline_s, repeatable=repeatable, rng=random.Random(1))


def test_jitter_is_full_and_bounded() -> None:
    rng = random.Random(7)
    for failures in (1, 2, 3, 10, 1000):
        bound = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(failures - 1, 20))
        delays = [full_jitter_s(failures, rng) for _ in range(500)]
        assert 0 <= min(delays) < bound * 0.1
        assert bound * 0.9 < max(delays) <= bound


def test_the_first_moved_waits_for_nothing_and_the_second_does() -> None:
    tried = attempts()
    assert tried.after(Moved("MOVED 1 h:1"), 0.0).delay_s == 0.0
    assert tried.after(Moved("MOVED 1 h:1"), 0.0).delay_s > 0.0


def test_a_first_lost_connection_waits_a_little() -> None:
    assert 0.0 < attempts().after(Lost("gone", sent=True), 0.0).delay_s <= FIRST_DELAY_S


def test_what_may_have_run_is_repeated_only_if_repeatable() -> None:
    assert attempts(repeatable=False).after(Lost("refused", sent=False), 0.0)
    assert attempts(repeatable=False).after(Moved("MOVED 1 h:1"), 0.0)
    with pytest.raises(ShardUnavailableError, match="may or may not"):
        attempts(repeatable=False).after(Lost("reset", sent=True), 0.0)


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (Lost("refused"), ShardUnavailableError),
        (Moved("MOVED 1 h:1"), ClusterLoadingError),
        (NoOwner("nobody"), ClusterLoadingError),
        (ClusterLoadingError("CLUSTERDOWN"), ClusterLoadingError),
    ],
)
def test_the_deadline_ends_it_with_the_reason(failure: Exception, error: type[Exception]) -> None:
    with pytest.raises(error, match=str(failure)):
        attempts(deadline_s=1.0).after(failure, 1.0)


def test_a_refused_secret_is_looked_up_once_more() -> None:
    tried, refused = attempts(), AuthenticationError("WRONGPASS")
    assert tried.after(refused, 0.0)
    with pytest.raises(AuthenticationError):
        tried.after(refused, 0.0)


def test_error_replies_are_told_apart() -> None:
    assert isinstance(reply_failure("CROSSSLOT Keys in request don't hash to the same slot"), Moved)
    assert isinstance(reply_failure("OOM command not allowed"), OutOfMemoryError)
    moved = reply_failure("MOVED 3999 10.0.0.1:6381")
    assert isinstance(moved, Moved)
    assert moved.target == ("10.0.0.1", 6381)
    assert Moved("MOVED").target is None


def test_a_lost_connection_keeps_what_it_knows_when_copied() -> None:
    for lost in (copy.copy(Lost("x", sent=True)), pickle.loads(pickle.dumps(Lost("x", sent=True)))):
        assert (str(lost), lost.sent) == ("x", True)


def test_with_other_copies_a_lost_connection_is_followed_up_at_once_and_then_in_short_steps() -> None:
    tried = Attempts(10.0, repeatable=True, rng=random.Random(1), brisk=True)
    assert tried.after(Lost("gone"), 0.0).delay_s == 0.0
    delays = [tried.after(Lost("gone"), 0.0).delay_s for _ in range(300)]
    assert BRISK_DELAYS_S[0] <= min(delays) < 0.012
    assert 0.048 < max(delays) <= BRISK_DELAYS_S[1]


def test_a_refusal_is_not_followed_up_at_once() -> None:
    tried = Attempts(10.0, repeatable=True, rng=random.Random(1), brisk=True)
    assert tried.after(ClusterLoadingError("TRYAGAIN"), 0.0).delay_s >= BRISK_DELAYS_S[0]


def test_a_silent_shard_is_a_missed_deadline_in_the_end() -> None:
    with pytest.raises(DeadlineExceededError, match="nor has any other copy"):
        attempts().after(Silent("h:1 has not answered"), 10.0)
    assert copy.copy(Silent("x", sent=False)).sent is False


def test_a_command_that_a_move_has_cut_off_has_perhaps_run() -> None:
    failure = reply_failure("TRYAGAIN Slots moved while the command ran")
    assert isinstance(failure, Interrupted)
    assert failure.sent
    with pytest.raises(ShardUnavailableError, match="may or may not"):
        attempts(repeatable=False).after(failure, 0.0)


def test_too_few_copies_is_nothing_to_try_again() -> None:
    assert isinstance(reply_failure("NOREPLICAS 1 of the 2 copies needed are alive"), NotEnoughReplicasError)
