"""How a backing store is named: settings that may be sent to another process and shown to an operator.

What lives here: `StoreConfig`, `Attachment`, masking of passwords, and opening the store that is meant. What does not:
the stores. Nothing is unpickled: a class of one's own goes by its import path.
"""

from __future__ import annotations

import importlib
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, get_args

from raycache.stores.protocol import BackingStore

WriteMode = Literal["through", "behind"]

_CLASS: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
_URL: Final = re.compile(r"[A-Za-z0-9+_.-]+://.*", re.DOTALL)
_PASSWORD: Final = re.compile(r"(://[^:/?#\s]*:)([^\s]*)(@)")
_QUERY_PASSWORD: Final = re.compile(r"(\b(?:password|passwd|pwd|secret|token)=)[^&\s]*", re.IGNORECASE)
_SQLITE_FILE: Final = re.compile(r"(sqlite(?:\+\w+)?:///)(?!:memory:|file:)([^/?][^?]*)(.*)", re.DOTALL)
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")
MASK: Final = "***"


def masked(text: str) -> str:
    """Return `text` with the passwords of all URLs in it replaced."""
    return _QUERY_PASSWORD.sub(rf"\1{MASK}", _PASSWORD.sub(rf"\1{MASK}\3", text))


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """Which store, and what of it.

    Args:
        where: an SQLAlchemy URL of SQLite or PostgreSQL, such as "sqlite:///cache.db" or
            "postgresql+psycopg://user:password@host/db"; or "package.module:Class" of a `BackingStore` of one's own,
            which `options` are passed to.
        table: the table's name.
        key_column: which column holds the key.
        columns: the columns that make a value, which is then a dict of them; empty: the table is raycache's own, made
            where it is not there, and takes values of every type.
        key_prefix: what keys begin with in the cache and not in the database: with "user:" the key "user:17" is the
            row 17.
        options: keyword arguments for a class of one's own.
    Raises:
        ValueError: a setting makes no sense.
    """

    where: str = field(repr=False)
    table: str = "raycache"
    key_column: str = "key"
    columns: tuple[str, ...] = ()
    key_prefix: str = ""
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not (_URL.fullmatch(self.where) or _CLASS.fullmatch(self.where)):
            raise ValueError(f'{masked(self.where)!r} is neither an SQLAlchemy URL nor "package.module:Class"')
        object.__setattr__(self, "columns", tuple(self.columns))
        if self.key_column in self.columns:
            raise ValueError(f"{self.key_column!r} is the key's column and cannot be one of the value's, too")
        if self.options and not self.is_class:
            raise ValueError("options are for a class of your own; say all else in the URL")

    @property
    def is_class(self) -> bool:
        """Whether it names a class and no URL."""
        return not _URL.fullmatch(self.where)

    @property
    def shown(self) -> str:
        """What may be logged and shown: the URL without its password, or the class."""
        return masked(self.where)

    def clean(self, text: object) -> str:
        """Return an error's text without the password, wherever it stands in it."""
        found = _PASSWORD.search(self.where)
        shown = str(text).replace(self.where, self.shown)
        return masked(shown.replace(found[2], MASK) if found is not None and found[2] else shown)

    def placed(self, folder: str) -> StoreConfig:
        """Return the same with the whole path of a SQLite file in `folder`: processes have folders of their own."""
        found = _SQLITE_FILE.fullmatch(self.where)
        if found is None:
            return self
        return replace(self, where=f"{found[1]}{posixpath.normpath(posixpath.join(folder, found[2]))}{found[3]}")

    def open(self) -> BackingStore:
        """Return the store; it connects when it is first used.

        Raises:
            ValueError: there is no such class, or it is no store, or the database is of another kind.
        """
        if not self.is_class:
            from raycache.stores.sql import SqlStore

            return SqlStore(self.where, table=self.table, key_column=self.key_column, columns=self.columns,
                            key_prefix=self.key_prefix)
        module, _, name = self.where.partition(":")
        try:
            found: Any = importlib.import_module(module)
            for part in name.split("."):
                found = getattr(found, part)
        except (ImportError, AttributeError) as error:
            raise ValueError(f"there is no {self.where!r}: {error}") from error
        store = found(**self.options)
        if not isinstance(store, BackingStore):
            raise ValueError(f"{self.where!r} is no BackingStore: it lacks one of load, load_many, store_many, "
                             "delete_many")
        return store

    def __repr__(self) -> str:
        return f"StoreConfig({self.shown!r}, table={self.table!r})"


@dataclass(frozen=True, slots=True)
class Attachment:
    """A store that is attached to a cluster under a name.

    Args:
        name: letters, digits, "_", "-" and ".", at most 32.
        config: which store; None: one that is handed over open.
        write: "through": the database first, then the cache; "behind": queued in the shards, written later; None: what
            is written to the cache does not go to the database.
        read: whether a miss is loaded from it.
    Raises:
        ValueError: a setting makes no sense.
    """

    name: str
    config: StoreConfig | None
    write: WriteMode | None = "through"
    read: bool = True

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is no name for a store: letters, digits, '_', '-' and '.', at most 32")
        if self.write is not None and self.write not in get_args(WriteMode):
            raise ValueError(f'write must be "through", "behind" or None, not {self.write!r}')
        if self.write is None and not self.read:
            raise ValueError("a store that is neither read nor written is of no use")

    @property
    def shown(self) -> str:
        """What may be logged and shown of where it is."""
        return self.config.shown if self.config is not None else "a store of this process"

    def clean(self, text: object) -> str:
        """Return an error's text without passwords."""
        return self.config.clean(text) if self.config is not None else masked(str(text))

    def open(self) -> BackingStore:
        """Return the store; see `StoreConfig.open`."""
        if self.config is None:
            raise ValueError(f"store {self.name!r} was attached without saying where it is")
        return self.config.open()
