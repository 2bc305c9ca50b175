"""When an operation is tried again, after how long, and what its caller is told in the end.

What lives here: the private kinds of failure that the connections report, full-jitter backoff, and the decision
after each failed attempt: pure, so one object serves the sync and the async handle. What does not: waiting, and
asking for a new topology. One object per operation, used by one thread or task.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

from raycache.errors import (
    AuthenticationError,
    ClusterLoadingError,
    DeadlineExceededError,
    NotEnoughReplicasError,
    RayCacheError,
    ShardUnavailableError,
    from_reply,
)

# While another copy takes over, which takes some hundred milliseconds: short, and never all clients at once.
BRISK_DELAYS_S: Final = (0.01, 0.05)
# How often reads that have to go elsewhere look for a newer topology.
LOOK_INTERVAL_S: Final = 0.1
# How long too few copies must be alive before the caller is told: owners take a pause of each other's for a loss.
ALONE_S: Final = 0.5
# First steps as long as a few round trips; the last as long as a shard's restart leaves room for in one deadline.
FIRST_DELAY_S: Final = 0.02
LONGEST_DELAY_S: Final = 0.5


class Failure(Exception):
    """An attempt failed in a way that a new topology or some time may cure. Never reaches a caller."""

    sent: bool = False
    """Whether the command may have run."""


class Moved(Failure):
    """The shard does not serve the slot: the topology in use is old, or the shard's is."""

    @property
    def target(self) -> tuple[str, int] | None:
        """Where the shard pointed: the best one to ask for the new topology."""
        host, _, port = str(self).rpartition(" ")[2].rpartition(":")
        return (host, int(port)) if host and port.isdigit() else None


class NoOwner(Failure):
    """The topology in use, if any, names nobody for the slot."""


class Lost(Failure):
    """No connection, or it broke. `sent`: all of the command may have reached the shard."""

    def __init__(self, text: str, *, sent: bool = False) -> None:
        super().__init__(text)
        self.sent = sent


class Silent(Failure):
    """The shard is connected and does not answer, or has not for a while; somebody else may."""

    def __init__(self, text: str, *, sent: bool = True) -> None:
        super().__init__(text)
        self.sent = sent


class TooFew(Failure):
    """A copy that could not reach enough of the others, and has done nothing; another one may be luckier."""


class Interrupted(Failure):
    """The slot moved away while the command ran."""

    sent = True


RETRIED: Final = (Failure, ClusterLoadingError, AuthenticationError)
"""What `Attempts.after` takes; everything else goes straight to the caller."""


def reply_failure(text: str) -> Exception:
    """Return what an error reply stands for: Moved, or one of raycache's errors.

    A handle groups keys by shard itself, so CROSSSLOT, too, means that its topology is not the shard's.
    """
    if text.startswith(("MOVED ", "CROSSSLOT ")):
        return Moved(text)
    return Interrupted(text) if text.startswith("TRYAGAIN Slots moved") else from_reply(text)


def elsewhere(error: Exception, *, is_read: bool) -> Exception:
    """Return TooFew in the place of a NotEnoughReplicasError that says that nothing was done; else `error`."""
    if isinstance(error, NotEnoughReplicasError) and (is_read or str(error).endswith("are alive")):
        return TooFew(str(error))
    return error


class Alone:
    """How often what too few copies refuse may be tried again; one object per operation.

    Args:
        end_s: when it is given up in any case, on the caller's monotonic clock.
        is_read: whether no refusal has done anything.
    """

    def __init__(self, now_s: float, end_s: float, *, is_read: bool, rng: random.Random) -> None:
        self._end_s = min(end_s, now_s + ALONE_S)
        self._is_read = is_read
        self._rng = rng

    def after(self, refusal: NotEnoughReplicasError, now_s: float) -> float:
        """Return for how many seconds to wait.

        Raises:
            NotEnoughReplicasError: `refusal`: something has been done, or it has been long enough.
        """
        delay_s = self._rng.uniform(*BRISK_DELAYS_S)
        if now_s + delay_s >= self._end_s or not isinstance(elsewhere(refusal, is_read=self._is_read), TooFew):
            raise refusal
        return delay_s


def accepts_anybody(text: str) -> bool:
    """Return whether an error reply to AUTH says that the door has no secret, so that ours is not needed."""
    return "no password" in text or "any password" in text


def full_jitter_s(failures: int, rng: random.Random) -> float:
    """Return a delay after the n-th failure in a row, n from 1.

    Source: Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog 2015: uniform from 0 to the bound
    spreads a crowd better than a delay with some jitter on top.
    """
    return rng.uniform(0.0, min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** min(failures - 1, 16)))


@dataclass(frozen=True, slots=True)
class Wait:
    """What to do before the next attempt: sleep, then refresh the topology."""

    delay_s: float


class Attempts:
    """The failed attempts of one operation so far.

    Args:
        deadline_s: on the caller's monotonic clock.
        repeatable: running the command twice does what running it once does.
        brisk: there are other copies, so that somebody else will serve soon.
    """

    def __init__(self, deadline_s: float, *, repeatable: bool, rng: random.Random, brisk: bool = False) -> None:
        self._brisk = brisk
        self.deadline_s = deadline_s
        self._repeatable = repeatable
        self._rng = rng
        self._failures = 0
        self._refused = False

    def after(self, failure: Exception, now_s: float) -> Wait:
        """Return what comes before the next attempt.

        Raises:
            RayCacheError: there is none; this is what the caller gets.
        """
        self._failures += 1
        if isinstance(failure, Failure) and failure.sent and not self._repeatable:
            raise ShardUnavailableError(f"{failure}; the operation may or may not have happened") from failure
        if isinstance(failure, AuthenticationError):
            # Once, because a cluster that was started anew under its name has a new secret.
            if self._refused:
                raise failure
            self._refused = True
        # The first MOVED is the ordinary way to learn of a new topology, as is having none: nothing to wait for.
        at_once = self._failures == 1 and isinstance(failure, Failure if self._brisk else Moved | NoOwner)
        delay_s = 0.0 if at_once else self._delay_s()
        if now_s + delay_s >= self.deadline_s:
            if isinstance(failure, RayCacheError):
                raise failure
            raise self.final(failure) from failure
        return Wait(delay_s)

    def _delay_s(self) -> float:
        return self._rng.uniform(*BRISK_DELAYS_S) if self._brisk else full_jitter_s(self._failures, self._rng)

    def final(self, failure: Exception) -> RayCacheError:
        """Return the caller's error when the deadline has passed after `failure`."""
        if isinstance(failure, RayCacheError):
            return failure
        if isinstance(failure, Silent):
            return DeadlineExceededError(f"{failure}, nor has any other copy before the deadline")
        tries = f"{self._failures} attempt{'s' if self._failures != 1 else ''}"
        if isinstance(failure, Moved | NoOwner):
            return ClusterLoadingError(f"no shard served the key before the deadline ({tries}): {failure}")
        return ShardUnavailableError(f"gave up at the deadline ({tries}): {failure}")


class Refusals:
    """Why each copy asked has not answered; `verdict` is what that amounts to."""

    def __init__(self) -> None:
        self._worst: Exception | None = None

    def add(self, error: Exception) -> None:
        """Take in why one has not."""
        if isinstance(error, TooFew):
            error = NotEnoughReplicasError(str(error))
        if self._worst is None or _weight(error) >= _weight(self._worst):
            self._worst = error

    def __bool__(self) -> bool:
        """Return whether any has not."""
        return self._worst is not None

    def verdict(self) -> Exception:
        """Return the error that says most: too few copies, a refused secret, a hint at a newer topology, the last."""
        return self._worst or NoOwner("nobody holds a copy of the slot")


def _weight(error: Exception) -> int:
    kinds = (NotEnoughReplicasError, AuthenticationError, Moved)
    return next((len(kinds) - at for at, kind in enumerate(kinds) if isinstance(error, kind)), 0)


def no_reply(address: tuple[str, int]) -> DeadlineExceededError:
    """Return the error for a shard that is connected and silent."""
    return DeadlineExceededError(
        f"no reply from {address[0]}:{address[1]} before the deadline; a write may or may not have happened"
    )
