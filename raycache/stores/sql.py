"""A table of an SQL database as a backing store, through SQLAlchemy: SQLite or PostgreSQL.

What lives here: `SqlStore`. What does not: which errors mean what (`sql_errors`), its statements (`sql_tables`).
Any thread; connections are SQLAlchemy's, pooled.

How a write comes to be idempotent and in order, whoever sends it and how often: beside the table stands another,
`<table>_versions`, with the version of each key's last write or deletion. A transaction first raises the versions of
its keys, where they are lower, and only those keys it then writes. The rows that it has raised stay locked until it
ends, so two writers that do not know of each other cannot mix, and an old one changes nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import sqlalchemy as sa

from raycache.errors import StoreRefusedError, StoreUnavailableError
from raycache.stores.config import masked
from raycache.stores.protocol import ABSENT, Deletion, Write
from raycache.stores.sql_errors import is_refusal, reason_of
from raycache.stores.sql_tables import Tables, open_tables

T = TypeVar("T")

_CHUNK: Final = 500
"""Keys in one SELECT: SQLite takes 32,766 parameters, and plans are kept for each number of them."""
_TIMEOUT_S: Final = 5
_DRIVER: Final[dict[str, dict[str, Any]]] = {
    # A server that has vanished without a word is noticed within some ten seconds.
    "postgresql": {"connect_timeout": _TIMEOUT_S, "keepalives_idle": 5, "keepalives_interval": 2,
                   "keepalives_count": 2, "tcp_user_timeout": 10_000},
    "sqlite": {"timeout": _TIMEOUT_S},
}
_MS_SHIFT: Final = 21
"""Versions of the cluster begin with 42 bits of milliseconds; those that are made here, too."""


class SqlStore:
    """A `BackingStore`.

    Args:
        url: of SQLAlchemy; SQLite or PostgreSQL (with psycopg).
        table, key_column, columns, key_prefix: see `StoreConfig`.
    Raises:
        ValueError: the database is of another kind, or SQLAlchemy or the driver is not installed.
    """

    def __init__(self, url: str, *, table: str = "raycache", key_column: str = "key", columns: Sequence[str] = (),
                 key_prefix: str = "") -> None:
        self._shown = masked(url)
        try:
            parsed = sa.make_url(url)
            kind = parsed.get_backend_name()
            if kind not in _DRIVER:
                raise ValueError(f"{self._shown}: raycache writes to SQLite and PostgreSQL, not to {kind}")
            if parsed.drivername == "postgresql":
                parsed = parsed.set(drivername="postgresql+psycopg")
            # Parameters are values of users: they have no place in logs and error texts.
            self._engine = sa.create_engine(parsed, hide_parameters=True, pool_pre_ping=kind == "postgresql",
                                            connect_args=_DRIVER[kind])
        except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError, ImportError) as error:
            raise ValueError(f"{self._shown} cannot be opened: {masked(str(error))}") from None
        self._names = table, key_column, tuple(columns), key_prefix
        self._tables: Tables | None = None
        self._opening = threading.Lock()

    def __repr__(self) -> str:
        return f"<raycache SqlStore {self._shown} {self._names[0]}>"

    def close(self) -> None:
        """Close the connections; what comes later opens others."""
        self._engine.dispose()

    def load(self, key: str) -> Any:
        """Return the value of `key`, `ABSENT` if there is none.

        Raises:
            StoreRefusedError: the database cannot have such a key.
            StoreUnavailableError: it cannot be reached.
        """
        return self.load_many([key]).get(key, ABSENT)

    def load_many(self, keys: Sequence[str]) -> Mapping[str, Any]:
        """Return the values of those `keys` that are there. Errors as `load`."""
        def work(connection: sa.Connection, tables: Tables) -> dict[str, Any]:
            found: dict[str, Any] = {}
            for start in range(0, len(keys), _CHUNK):
                found.update(tables.select(connection, keys[start : start + _CHUNK]))
            return found

        return self._run(work)

    def store_many(self, writes: Sequence[Write]) -> None:
        """Store values in one transaction. Errors as `load`; nothing was changed, unless the text says otherwise."""
        def work(connection: sa.Connection, tables: Tables) -> None:
            rows = {write.key: tables.row(write) for write in writes}
            won = self._raise_versions(connection, tables, writes)
            tables.upsert(connection, [rows[key] for key in won])

        if writes:
            self._run(work)

    def delete_many(self, deletions: Sequence[Deletion]) -> None:
        """Delete keys in one transaction. Errors as `store_many`."""
        def work(connection: sa.Connection, tables: Tables) -> None:
            tables.delete(connection, self._raise_versions(connection, tables, deletions))

        if deletions:
            self._run(work)

    def forget_versions(self, older_than_s: float) -> int:
        """Forget the versions of keys that are not there and were deleted so long ago; return of how many.

        Whatever still waits in a cluster must be younger: an older write of such a key would come back.
        """
        before = int((time.time() - older_than_s) * 1000) << _MS_SHIFT
        return self._run(lambda connection, tables: tables.forget(connection, before))

    @staticmethod
    def _raise_versions(connection: sa.Connection, tables: Tables, changes: Sequence[Write | Deletion]) -> list[str]:
        """Return the keys whose version could be raised; ordered, so that two writers cannot lock each other out."""
        won: list[str] = []
        ordered = sorted(changes, key=lambda change: change.key)
        if versioned := [one for one in ordered if one.version is not None]:
            won += tables.raise_versions(connection, [(one.key, one.version or 0) for one in versioned], always=False)
        if others := [one.key for one in ordered if one.version is None]:
            now = int(time.time() * 1000) << _MS_SHIFT
            won += tables.raise_versions(connection, [(key, now) for key in others], always=True)
        return won

    def _run(self, work: Callable[[sa.Connection, Tables], T]) -> T:
        """Run `work` in a transaction."""
        is_committing = False
        try:
            tables = self._tables or self._open()
            with self._engine.connect() as connection:
                with connection.begin() as transaction:
                    answer = work(connection, tables)
                    is_committing = True
                    transaction.commit()
                return answer
        except Exception as error:
            if isinstance(error, StoreRefusedError | StoreUnavailableError):
                raise
            reason = masked(reason_of(error))
            if is_refusal(error):
                raise StoreRefusedError(f"{self._shown} refuses this: {reason}") from None
            what = "may or may not have happened" if is_committing else "nothing was changed"
            raise StoreUnavailableError(f"{self._shown} cannot be used: {reason}; {what}") from None

    def _open(self) -> Tables:
        with self._opening:
            if self._tables is None:
                self._tables = open_tables(self._engine, *self._names)
            return self._tables
