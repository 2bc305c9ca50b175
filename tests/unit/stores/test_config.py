"""How a store is named, and that no password is shown."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from raycache.stores import ABSENT, Attachment, StoreConfig
from raycache.stores.config import masked
from raycache.stores.sql import SqlStore


class Memory:
    """A store of one's own."""

    def __init__(self, size: int = 1) -> None:
        self.size = size

    def load(self, key: str) -> Any:
        return ABSENT

    def load_many(self, keys: Any) -> Any:
        return {}

    def store_many(self, writes: Any) -> None: ...

    def delete_many(self, deletions: Any) -> None: ...


SECRET = "s3cr:t@x"


@pytest.mark.parametrize(("text", "shown"), [
    ("postgresql://ada:pass@host/db", "postgresql://ada:***@host/db"),
    ("postgresql+psycopg://ada:p@ss:w@host:5432/db?sslmode=require", "postgresql+psycopg://ada:***@host:5432/db?sslmode=require"),
    ("postgresql://host/db?user=ada&password=pass&x=1", "postgresql://host/db?user=ada&password=***&x=1"),
    ("sqlite:////tmp/a.db", "sqlite:////tmp/a.db"),
    ("cannot reach postgresql://ada:pass@host/db, trying", "cannot reach postgresql://ada:***@host/db, trying"),
])
def test_passwords_are_masked(text: str, shown: str) -> None:
    assert masked(text) == shown


def test_neither_the_config_nor_its_errors_show_the_password() -> None:
    config = StoreConfig(f"postgresql://ada:{SECRET}@host/db")
    for text in (repr(config), str(config), repr(Attachment("db", config)), config.shown,
                 config.clean(f"password {SECRET} of {config.where} is wrong")):
        assert SECRET not in text
        assert "s3cr" not in text
    assert "ada" in config.shown


def test_it_can_be_sent_elsewhere() -> None:
    attachment = Attachment("db", StoreConfig("sqlite:///x.db", columns=("a", "b"), key_prefix="u:"), "behind")
    assert pickle.loads(pickle.dumps(attachment)) == attachment


@pytest.mark.parametrize(("where", "placed"), [
    ("sqlite:///users.db", "sqlite:////here/users.db"),
    ("sqlite+pysqlite:///a/../users.db?timeout=3", "sqlite+pysqlite:////here/users.db?timeout=3"),
    ("sqlite:////var/users.db", "sqlite:////var/users.db"),
    ("sqlite:///file:x.db?mode=ro&uri=true", "sqlite:///file:x.db?mode=ro&uri=true"),
    ("sqlite:///:memory:", "sqlite:///:memory:"),
    ("sqlite://", "sqlite://"),
    ("postgresql://host/db", "postgresql://host/db"),
    ("my_module:Store", "my_module:Store"),
])
def test_a_file_is_in_the_folder_of_whoever_names_it(where: str, placed: str) -> None:
    config = StoreConfig(where, table="t")
    assert config.placed("/here") == StoreConfig(placed, table="t")


@pytest.mark.parametrize("where", ["", "x", "mysql", "a.b.c", ":Class"])
def test_what_names_no_store_is_refused(where: str) -> None:
    with pytest.raises(ValueError, match="neither"):
        StoreConfig(where)


@pytest.mark.parametrize("where", ["mysql://host/db", "nonsense://x"])
def test_other_databases_are_refused(where: str) -> None:
    with pytest.raises(ValueError, match="raycache writes to SQLite"):
        StoreConfig(where).open()


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="key's column"):
        StoreConfig("sqlite://", key_column="id", columns=("id", "name"))
    with pytest.raises(ValueError, match="options"):
        StoreConfig("sqlite://", options={"a": 1})
    with pytest.raises(ValueError, match="no name"):
        Attachment("a b", StoreConfig("sqlite://"))
    with pytest.raises(ValueError, match="write must be"):
        Attachment("a", StoreConfig("sqlite://"), "around")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="of no use"):
        Attachment("a", StoreConfig("sqlite://"), None, read=False)


def test_a_store_is_opened_by_url_or_by_the_path_of_a_class() -> None:
    assert isinstance(StoreConfig("sqlite://").open(), SqlStore)
    opened = StoreConfig("tests.unit.stores.test_config:Memory", options={"size": 7}).open()
    assert opened.size == 7  # type: ignore[attr-defined]
    for where in ("tests.unit.stores.test_config:Nothing", "no.such.module:Class"):
        with pytest.raises(ValueError, match="there is no"):
            StoreConfig(where).open()
    with pytest.raises(ValueError, match="no BackingStore"):
        StoreConfig("builtins:dict").open()
