"""Links: how a near cache hears of changes, one connection and one thread for each shard that it reads from.

What lives here: connecting, listening, signs of life, for both handles. What does not: what follows from it for values
(`raycache.near`), reading (`near.py`, `aio_near.py`). A thread, because changes must count while nobody calls the
handle, and while an event loop is busy.

A link is up from the answer to its greeting on. From then on the shard says over it what changes of what was read for
it (by RC.NEAR, on whatever connection). Whoever may have missed something makes a new `Source`: at the end of the
connection, and when the shard says that everything may have changed.

Signs of life: RC.FRESH is asked four times within `max_staleness_s`. What the shard announced before it answered has
come before the answer; so values are served until `max_staleness_s` after the *question*. A shard that has lost touch
with the others answers that it may not be the one to ask any more, and one that stands still does not answer.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import weakref
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Final

import hiredis

from raycache.client import forks
from raycache.client.connection import Connection
from raycache.client.info import Address, Login
from raycache.client.near_wire import FRESH, GREETINGS, NOT_FRESH, announced, greeting
from raycache.client.retry import Failure, full_jitter_s, reply_failure
from raycache.client.settings import ClientSettings
from raycache.errors import ProtocolError, RayCacheError
from raycache.near import NearTable, Source

log = logging.getLogger(__name__)

BEATS: Final = 4
"""Signs of life within the time that a value may be served without one."""
LONGEST_BEAT_S: Final = 0.5
"""However long that time is: a lost connection is found out by them, too."""
TOKEN_BYTES: Final = 16
UNWANTED_S: Final = 10.0
"""A link that is down ends when nobody has asked for it for so long: its shard has most likely left."""


class Link:
    """The link to the shard at `address`; its thread holds it, and nothing that the handle's user holds."""

    def __init__(self, address: Address, login: Login, table: NearTable, settings: ClientSettings,
                 max_staleness_s: float, *, whole: bool) -> None:
        self._address = address
        self._login = login
        self._table = table
        self._settings = settings
        self._max_staleness_s = max_staleness_s
        self._whole = whole
        self._beat_s = min(max_staleness_s / BEATS, LONGEST_BEAT_S)
        self._closed = threading.Event()
        self.source: Source | None = None
        """None while it is down."""
        self.wanted_s = monotonic()
        self.has_ended = False

    def start(self) -> None:
        """Start its thread."""
        threading.Thread(target=self._run, name="raycache-near", daemon=True).start()

    def close(self) -> None:
        """End it; nothing that came by it is served any more."""
        self._closed.set()
        source, self.source = self.source, None
        if source is not None:
            self._table.lose(source)

    def _run(self) -> None:
        failures, rng = 0, random.Random()
        try:
            while not self._closed.is_set() and monotonic() - self.wanted_s < UNWANTED_S:
                try:
                    self._serve()
                except (Failure, RayCacheError) as error:
                    log.debug("near link to %s: %s", self._address, error)
                failures = 1 if self.source is not None else failures + 1
                self._renew(None)
                self._closed.wait(full_jitter_s(failures, rng))
        finally:
            self.has_ended = True
            self._renew(None)

    def _renew(self, source: Source | None) -> None:
        """Go on with another source: something may have been missed."""
        before, self.source = self.source, source
        if before is not None:
            self._table.lose(before)
        if source is not None and self._closed.is_set():  # closed in this very moment
            self.source = None
            self._table.lose(source)

    def _serve(self) -> None:
        """Connect, and listen until the connection breaks or the link is closed.

        Raises:
            Failure, RayCacheError: it has broken, or could not be made.
        """
        settings, asked_s = self._settings, monotonic()
        deadline_s = asked_s + settings.timeout_s
        connection = Connection.open(self._address, self._login, deadline_s, settings.connect_timeout_s)
        try:
            token = os.urandom(TOKEN_BYTES)
            asked_s = monotonic()
            connection.send(greeting(token, whole=self._whole), deadline_s)
            answers: list[object] = []
            while len(answers) < GREETINGS:
                if monotonic() > deadline_s or self._closed.is_set():
                    return
                # What is said unasked concerns others: nothing has been read for this link yet.
                answers += [each for each in connection.listen(self._beat_s)
                            if not isinstance(each, hiredis.PushNotification)]
            for answer in answers:
                if isinstance(answer, hiredis.ReplyError):
                    raise reply_failure(str(answer))
            self._renew(Source(token, asked_s))
            self._heard(answers[-1], asked_s)
            self._listen(connection)
        finally:
            connection.close()

    def _listen(self, connection: Connection) -> None:
        asked: deque[float] = deque()
        """When the questions were sent that have not been answered."""
        next_s = monotonic() + self._beat_s
        while not self._closed.is_set():
            now_s = monotonic()
            if now_s >= next_s:
                next_s = now_s + self._beat_s
                if len(asked) < 2 * BEATS:  # one that stands still need not find thousands of them
                    asked.append(now_s)
                    connection.send(FRESH, now_s + self._settings.timeout_s)
                elif now_s - asked[0] > self._settings.timeout_s:
                    return
            for message in connection.listen(next_s - now_s):
                self._take(message, asked)

    def _take(self, message: object, asked: deque[float]) -> None:
        if isinstance(message, hiredis.PushNotification):
            keys = announced(message)
            if keys is not None:
                self._table.invalidate(keys)
            elif (source := self.source) is not None:
                self._renew(Source(source.token, source.fresh_until_s))
        elif not asked:
            raise ProtocolError(f"a shard answered what was not asked: {message!r:.100}")
        else:
            self._heard(message, asked.popleft())

    def _heard(self, answer: object, asked_s: float) -> None:
        """Take in the answer to RC.FRESH."""
        if type(answer) is not int:
            raise ProtocolError(f"a shard answered RC.FRESH with {answer!r:.100}")
        source = self.source
        if answer != NOT_FRESH and source is not None:
            source.fresh_until_s = max(source.fresh_until_s, asked_s + self._max_staleness_s - answer / 1000)


class Links:
    """The links of one handle.

    Args:
        login: how connections begin now.
        whole: whether large values themselves are wanted, and not where they are.
    """

    def __init__(self, table: NearTable, settings: ClientSettings, max_staleness_s: float,
                 login: Callable[[], Login], *, whole: bool = False) -> None:
        self._table = table
        self._settings = settings
        self._max_staleness_s = max_staleness_s
        self._login = login
        self._whole = whole
        self._lock = threading.Lock()
        self._links: dict[Address, Link] = {}
        self._is_closed = False
        # A handle may be dropped without close(): its threads must not outlive it.
        self._finalizer = weakref.finalize(self, _close_all, self._links)
        forks.watch(self)

    def source(self, address: Address) -> Source | None:
        """Return the present source of the shard at `address`; None: there is none yet, or none any more."""
        link = self._links.get(address)
        if link is None or link.has_ended:
            link = self._begin(address)
            if link is None:
                return None
        source = link.source
        if source is None:
            link.wanted_s = monotonic()
        return source

    def count(self) -> int:
        """Return how many are up."""
        return sum(link.source is not None for link in list(self._links.values()))

    def close(self) -> None:
        """End all of them, for good."""
        with self._lock:
            self._is_closed = True
            _close_all(self._links)

    def forget_connections(self) -> None:
        """Start anew in a forked child, which has none of the threads, and must not say anything over its parent's
        connections."""
        self._lock = threading.Lock()
        self._links.clear()
        self._table.restart(threading.Lock())

    def _begin(self, address: Address) -> Link | None:
        with self._lock:
            if self._is_closed:
                return None
            link = self._links.get(address)
            if link is None or link.has_ended:
                link = self._links[address] = Link(address, self._login(), self._table, self._settings,
                                                   self._max_staleness_s, whole=self._whole)
                link.start()
            return link


def _close_all(links: dict[Address, Link]) -> None:
    for link in list(links.values()):
        link.close()
