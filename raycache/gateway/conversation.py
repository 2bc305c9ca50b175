"""What each command of one client leads to: an answer at once, a shard, a transaction, or waiting its turn.

What lives here: `Conversation`, the choice for each command and the client's transactions. What does
not: sockets, order and flow control of replies (`connection`), sending (`executor`). It belongs to the
gateway's loop.

Commands that need no shard are run by a `ShardCore` of the gateway's own, with an empty store and no
topology: so greetings, CLIENT, COMMAND, queueing in MULTI and every refusal are exactly the shards'.

Nearly everything is pipelined. A few commands wait until all before them are answered, and hold up
what comes after: those that change the protocol, those that use another connection than the rest
(WATCH, EXEC after it, long commands), because order between two connections is nobody's.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

from raycache.gateway import call
from raycache.gateway.access import SharedAccess
from raycache.gateway.call import Done
from raycache.gateway.executor import Executor
from raycache.gateway.hearing import Hearing
from raycache.gateway.plan import is_local
from raycache.gateway.settings import GatewaySettings
from raycache.gateway.watch import Watches
from raycache.resp import encode
from raycache.resp.reply import Frame, is_error
from raycache.shard.commands import DISPATCH, TABLE, resolve
from raycache.shard.commands.access import run_whole
from raycache.shard.commands.arguments import int64
from raycache.shard.commands.command import NOT_AN_INTEGER, Command, Refusal
from raycache.shard.commands.tracking import note_reads
from raycache.shard.core import ShardCore
from raycache.shard.session import REPLY_ON, REPLY_SKIP, Session
from raycache.shard.tracking import settle_caching

log = logging.getLogger(__name__)

_INTERNAL_ERROR: Final = encode.error("ERR internal error, see the gateway's log")
CHANGES_PROTOCOL: Final = frozenset({"hello", "reset"})
_CHANGES_USERS: Final = frozenset({"acl|setuser", "acl|deluser"})
_WAITS: Final = frozenset({"keys", "rc.read", "rc.write"})
"""Commands whose reply may take long, for their work or because they wait for other copies."""


_HERE_TOO: Final = frozenset({"config|set", "config|resetstat"})
"""Commands for every shard that concern what the gateway itself counts and measures, too."""


class Client(call.Client, Protocol):
    """Where answers go, as far as a conversation must know."""

    def answer(self, reply: Frame) -> None:
        """The present command's reply, at once."""

    def answer_later(self, request_bytes: int) -> Done:
        """Return what takes the present command's reply when it comes."""

    def answer_alone(self, request_bytes: int, begin: Callable[[Done], None]) -> None:
        """Call `begin` when all earlier replies are out; no later command starts before its reply is."""


class Conversation:
    """One client's session with the gateway."""

    def __init__(self, core: ShardCore, session: Session, executor: Executor, client: Client,
                 settings: GatewaySettings, spawn: Callable[[Coroutine[Any, Any, None]], None],
                 access: SharedAccess, hearing: Hearing) -> None:
        self.session = session
        self._core = core
        self._executor = executor
        self._client = client
        self._settings = settings
        self._spawn = spawn
        self._access = access
        self._hearing = hearing
        self._watches = Watches(executor, client)

    def start(self, argv: list[bytes]) -> None:
        """Begin one command. Its reply comes through the client, now or later."""
        command = DISPATCH.get(argv[0]) or resolve(argv)
        session = self.session
        if command is None or not command.min_argc <= len(argv) <= command.max_argc or not session.plain:
            self._start_carefully(command, argv)
            return
        session.command = command
        session.last_ms = self._core.now_ms
        if is_local(command):
            self._start_local(command, argv)
        else:
            self._forward(command, argv)

    def close(self) -> None:
        """The client is gone."""
        self._watches.close()

    def _start_carefully(self, command: Command | None, argv: list[bytes]) -> None:
        """Whatever is refused, queued or answered in silence; the core knows which."""
        session = self.session
        is_refused = (command is None or not command.min_argc <= len(argv) <= command.max_argc
                      or (command.needs_auth and not session.authenticated)
                      or self._core.guard.refusal(session, command, argv, is_logged=False) is not None)
        if command is None or is_refused or (session.multi is not None and command.queueable):
            self._answer_locally(argv)
        elif is_local(command):
            self._start_local(command, argv)
        else:
            self._forward(command, argv)

    def _start_local(self, command: Command, argv: list[bytes]) -> None:
        name, session = command.name, self.session
        if command.full_name in _CHANGES_USERS:
            self._client.answer_alone(0, lambda done: self._await(self._change_users(argv), done))
        elif command.full_name == "client|tracking":
            self._client.answer_alone(0, lambda done: self._await(self._track(argv), done))
        elif command.parent:
            self._answer_locally(argv)
        elif name in CHANGES_PROTOCOL:
            self._client.answer_alone(0, lambda done: self._change_protocol(command, argv, done))
        elif name == "exec" and session.multi is not None:
            self._execute()
        elif name == "watch" and session.multi is None:
            keys, protocol = argv[1:], session.protocol
            self._count(command)
            self._client.answer_alone(0, lambda done: self._await(self._watches.watch(keys, protocol), done))
        elif self._watches and (name == "unwatch" or (name == "discard" and session.multi is not None)):
            self._watches.forget()
            self._answer_locally(argv)
        else:
            self._answer_locally(argv)

    def _count(self, command: Command) -> None:
        """Count a command that the core does not see."""
        self._core.calls[command.number] += 1

    def _answer_locally(self, argv: list[bytes]) -> None:
        self._client.answer(self._locally(argv))

    def _locally(self, argv: list[bytes]) -> Frame:
        reply = self._core.execute(self.session, argv)
        return reply if isinstance(reply, bytes) else run_whole(reply)

    def _change_protocol(self, command: Command, argv: list[bytes], done: Done) -> None:
        if command.name == "reset":
            self._watches.forget()
        done(self._locally(argv))

    async def _change_users(self, argv: list[bytes]) -> Frame:
        """Change users here and on every shard before the answer; other gateways ask the shards."""
        reply = self._locally(argv)
        if is_error(reply):
            return reply
        spread = await self._access.spread()
        return spread if is_error(spread) else reply

    async def _track(self, argv: list[bytes]) -> Frame:
        """CLIENT TRACKING: before it is answered, all shards are heard."""
        session = self.session
        was_tracking = session.tracking is not None
        reply = self._locally(argv)
        if session.tracking is not None and not was_tracking:
            await self._hearing.ready(session)
        return reply

    def _forward(self, command: Command, argv: list[bytes]) -> None:
        if self.session.tracking is not None:
            note_reads(self._core, self.session, argv)
            settle_caching(self.session, command)
        client, protocol = self._client, self.session.protocol
        self._count(command)
        if command.full_name in _HERE_TOO:
            with contextlib.suppress(Refusal):  # the shards say what is wrong with it
                command.handler(self._core, self.session, argv)
        if command.name == "rc.topology":
            client.answer(self._topology(argv))
            return
        size, settings = sum(map(len, argv)), self._settings
        if command.name in _WAITS or len(argv) > settings.long_arguments or size > settings.long_request_bytes:
            client.answer_alone(size, lambda done: self._executor.run(argv, command, client, protocol, True, done))
        else:
            self._executor.run(argv, command, client, protocol, False, self._reply_taker(size))

    def _reply_taker(self, request_bytes: int) -> Done:
        """Return what takes the reply; after CLIENT REPLY OFF or SKIP it takes no place on the wire."""
        done, session = self._client.answer_later(request_bytes), self.session
        if session.reply == REPLY_ON:
            return done
        if session.reply == REPLY_SKIP:
            session.reply = REPLY_ON
            session.refresh()
        return lambda _: done(b"")

    def _execute(self) -> None:
        """EXEC: the core has queued the commands and knows whether one was refused."""
        session, client = self.session, self._client
        queue, size = session.multi, session.multi_bytes
        assert queue is not None
        if session.multi_error:
            self._watches.forget()
            self._answer_locally([b"EXEC"])
            return
        if session.tracking is not None:
            note_reads(self._core, session, [b"EXEC"])
        session.end_transaction()
        settle_caching(session, None)
        guard = self._core.guard
        for command, argv in queue if session.rights is not None else ():
            if (denied := guard.refusal(session, command, argv)) is not None:  # its rights have changed meanwhile
                self._watches.forget()
                client.answer(denied)
                return
        self._count(TABLE[b"EXEC"])
        if self._watches:
            client.answer_alone(size, lambda done: self._await(self._watches.execute(queue, self._locally), done))
        else:
            self._executor.transact(queue, client, session.protocol, self._locally, self._reply_taker(size))

    def _await(self, work: Coroutine[Any, Any, Frame], done: Done) -> None:
        async def answered() -> None:
            try:
                reply = await work
            except Exception:
                log.exception("a transaction failed")
                reply = _INTERNAL_ERROR
            done(reply)

        self._spawn(answered())

    def _topology(self, argv: list[bytes]) -> Frame:
        """RC.TOPOLOGY: lets a Python handle start from the gateway's address."""
        topology = self._executor.topology()
        known = int64(argv[1]) if len(argv) > 1 else -1
        if known is None:
            return encode.error(NOT_AN_INTEGER)
        if topology is None or topology.epoch <= known:
            return encode.null(self.session.protocol)
        return encode.bulk(topology.to_bytes())
