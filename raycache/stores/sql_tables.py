"""The tables of an SQL store and the statements on them.

What lives here: the two layouts (a table of raycache's own, or columns of a table that is there), and their statements
for SQLite and PostgreSQL. What does not: transactions and errors (`sql`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from raycache.codec import decode, encode
from raycache.stores.protocol import Write

Row = dict[str, Any]


class Tables:
    """The table of values and that of versions, on one engine.

    Args:
        columns: those of the value; empty: `kind` and `value` as `raycache.codec` writes them.
        key_prefix: of the keys in the cache.
    """

    def __init__(self, values: sa.Table, versions: sa.Table, key_column: str, columns: tuple[str, ...],
                 key_prefix: str, dialect: str) -> None:
        self.values, self.versions = values, versions
        self._key = values.c[key_column]
        self._columns = columns
        self._prefix = key_prefix
        self._key_type = _python_type(self._key)
        self._insert: Any = postgresql.insert if dialect == "postgresql" else sqlite.insert
        written = columns or ("kind", "value")
        upsert = self._insert(values)
        self._upsert = upsert.on_conflict_do_update(index_elements=[self._key],
                                                    set_={name: upsert.excluded[name] for name in written})
        names: Any = sa.bindparam("names", expanding=True)
        self._select = sa.select(self._key, *(values.c[name] for name in written)).where(self._key.in_(names))
        self._delete = sa.delete(values).where(self._key.in_(names))

    # Keys

    def column_of(self, key: str) -> Any:
        """Return `key` as the key's column holds it.

        Raises:
            ValueError: it cannot.
        """
        if not key.startswith(self._prefix):
            raise ValueError(f"key {key!r} does not begin with {self._prefix!r}, and so has no row in this table")
        rest = key[len(self._prefix) :]
        if self._key_type is int:
            number = int(rest)
            if str(number) != rest:
                raise ValueError(f"key {key!r} is not how the number {number} is written")
            return number
        return rest

    def key_of(self, value: Any) -> str:
        """Return the key in the cache of a row."""
        return f"{self._prefix}{value}"

    # Values

    def row(self, write: Write) -> Row:
        """Return the row of a write.

        Raises:
            ValueError, TypeError: the table cannot have it.
        """
        row = {self._key.name: self.column_of(write.key)}
        if not self._columns:
            kind, data = encode(write.value)
            return row | {"kind": kind, "value": data}
        value = write.value
        if not isinstance(value, dict) or set(value) - set(self._columns):
            raise ValueError(f"the value of {write.key!r} must be a dict of {', '.join(self._columns)}")
        return row | {name: value.get(name) for name in self._columns}

    def select(self, connection: sa.Connection, keys: Sequence[str]) -> Iterator[tuple[str, Any]]:
        """Yield the keys that have a row, and their values."""
        for key, *cells in connection.execute(self._select, {"names": [self.column_of(key) for key in keys]}):
            value = dict(zip(self._columns, cells, strict=True)) if self._columns else decode(cells[0], cells[1])
            yield self.key_of(key), value

    def upsert(self, connection: sa.Connection, rows: list[Row]) -> None:
        """Write rows."""
        if rows:
            connection.execute(self._upsert, rows)

    def delete(self, connection: sa.Connection, keys: Sequence[str]) -> None:
        """Delete the rows of `keys`."""
        if keys:
            connection.execute(self._delete, {"names": [self.column_of(key) for key in keys]})

    # Versions

    def raise_versions(self, connection: sa.Connection, versions: list[tuple[str, int]], *, always: bool) -> list[str]:
        """Set the version of each key, where it is lower; return those keys. `always`: higher than what is there."""
        table = self.versions
        insert = self._insert(table)
        given = insert.excluded.version
        if always:
            raised = sa.case((given > table.c.version, given), else_=table.c.version + 1)
            insert = insert.on_conflict_do_update(index_elements=[table.c.key], set_={"version": raised})
        else:
            insert = insert.on_conflict_do_update(index_elements=[table.c.key], set_={"version": given},
                                                  where=table.c.version < given)
        rows = [{"key": key, "version": version} for key, version in versions]
        return list(connection.execute(insert.returning(table.c.key), rows).scalars())

    def forget(self, connection: sa.Connection, before: int) -> int:
        """Forget versions below `before` of keys without a row; return of how many."""
        key = sa.literal(self._prefix) + sa.cast(self._key, sa.String)
        there = sa.select(self._key).where(key == self.versions.c.key).exists()
        done = connection.execute(sa.delete(self.versions).where(self.versions.c.version < before, ~there))
        return int(done.rowcount)


def _python_type(column: sa.Column[Any]) -> type:
    try:
        return column.type.python_type
    except NotImplementedError:
        return str


def open_tables(engine: sa.Engine, table: str, key_column: str, columns: tuple[str, ...], key_prefix: str) -> Tables:
    """Look up the tables in the database; make those that are raycache's own.

    Raises:
        ValueError: the table lacks a column.
        sqlalchemy.exc.SQLAlchemyError: the database cannot be reached, or the user's own table is not there.
    """
    metadata = sa.MetaData()
    # PostgreSQL sorts text by its locale, and makes keys equal that are not under some.
    text: sa.types.TypeEngine[str] = sa.String(collation="C") if engine.dialect.name == "postgresql" else sa.String()
    versions = sa.Table(f"{table}_versions", metadata, sa.Column("key", text, primary_key=True),
                        sa.Column("version", sa.BigInteger, nullable=False))
    if columns:
        values = sa.Table(table, metadata, autoload_with=engine)
        missing = {key_column, *columns} - set(values.c.keys())
        if missing:
            raise sa.exc.NoSuchColumnError(f"table {table} has no column {', '.join(sorted(missing))}")
        versions.create(engine, checkfirst=True)
    else:
        values = sa.Table(table, metadata, sa.Column(key_column, text, primary_key=True),
                          sa.Column("kind", sa.SmallInteger, nullable=False),
                          sa.Column("value", sa.LargeBinary, nullable=False))
        metadata.create_all(engine)
    return Tables(values, versions, key_column, columns, key_prefix, engine.dialect.name)
