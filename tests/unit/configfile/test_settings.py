"""A file of settings: every setting explained, and everything wrong refused with its line and a way out."""

from __future__ import annotations

import inspect
import re
from dataclasses import fields
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from raycache import configfile
from raycache.actors import launch
from raycache.config import MIB, ClusterConfig, Limits
from raycache.configfile import ConfigFileError, Launch


def read(text: str) -> dict[str, Any]:
    return configfile.read(text, "raycache.yaml")


def test_every_setting_of_a_cluster_can_be_in_the_file() -> None:
    """A field that somebody adds is in it at once; only these are counted by shard, or are nobody's to choose."""
    own = {one.name for one in fields(ClusterConfig)}
    assert own - configfile.settings().keys() == {"memory_per_shard_bytes", "max_entries_per_shard", "queue_bytes",
                                                  "object_bytes", "life"}
    started = inspect.signature(launch.start).parameters.keys()
    assert {one.name for one in fields(Launch)} - started == {"memory_per_shard", "nodes"}


def test_every_setting_is_explained() -> None:
    assert [name for name, setting in configfile.settings().items() if len(setting.doc) < 10] == []


def test_what_is_written_is_what_leaving_it_out_means() -> None:
    text = configfile.written("orders")
    assert configfile.cluster_config(read(text)) == ClusterConfig("orders")
    assert yaml.safe_load(text).keys() == configfile.settings().keys()
    for setting in configfile.settings().values():
        first = setting.doc.split()[0]
        assert f"# {first}" in text, f"{setting.name} is not explained"
    assert max(map(len, text.splitlines())) <= 120


def test_nothing_is_a_file_too() -> None:
    assert read("") == read("# nothing\n") == {}


def test_totals_are_shared_out_among_the_shards() -> None:
    config = configfile.cluster_config(read("name: a\nshards: 4\nmemory: 64MiB\nmax_entries: 401\nqueue_memory: 1MiB"))
    assert (config.memory_per_shard_bytes, config.max_entries_per_shard, config.queue_bytes) == (16 * MIB, 100, MIB)
    each = configfile.cluster_config(read("name: a\nshards: auto\nmemory_per_shard: 64MiB"), shards=7)
    assert (each.shards, each.memory_per_shard_bytes) == (7, 64 * MIB)
    with pytest.raises(ValueError, match="shards must be a whole number here, not 'auto'"):
        configfile.cluster_config({"name": "a", "shards": "auto"})


def test_numbers_text_and_settings_of_their_own() -> None:
    config = configfile.cluster_config(read(
        "name: a\nbacklog_bytes: 2MiB\ntombstone_ttl_s: 60\nsnapshot_dir: /var/lib/raycache\nallow_stale: true\n"
        "limits:\n  max_key_bytes: 1KiB\n"))
    assert (config.backlog_bytes, config.tombstone_ttl_s, config.allow_stale) == (2 * MIB, 60.0, True)
    assert config.snapshot_dir == "/var/lib/raycache"
    assert config.limits == Limits(max_key_bytes=1024)


@pytest.mark.parametrize(("text", "line", "said"), [
    ("name: a\npolcy: lru", 2, "there is no setting 'polcy'; did you mean 'policy'?"),
    ("Gateway-Port: 1", 1, "there is no setting 'Gateway-Port'; did you mean 'gateway_port'?"),
    ("zzz: 1", 1, "there is no setting 'zzz'; `raycache config` lists all settings"),
    ("life: x", 1, "there is no setting 'life'"),
    ("name: a\nname: b", 2, "name stands in line 1 already"),
    ("name: a\n\ncopies: two", 3, "copies must be a whole number, not 'two'"),
    ("copies: 2.0", 1, "copies must be a whole number, not 2.0"),
    ("copies: yes", 1, "copies must be a whole number, not True"),
    ("copies:", 1, "copies must be a whole number, not null"),
    ("allow_stale: maybe", 1, "allow_stale must be true or false, not 'maybe'"),
    ("shards: many", 1, "shards must be a whole number or auto, not 'many'"),
    ("shards: [1, 2]", 1, "shards must be a whole number or text, not a list"),
    ("policy:\n  name: lru", 2, "policy must be text, not a mapping"),
    ("backlog_bytes: 3 apples", 1, "backlog_bytes: '3 apples' is not a size"),
    ("limits: 3", 1, "limits must be settings of its own, indented below it, not 3"),
    ("limits:\n  max_key_byte: 1", 2, "limits has no setting 'max_key_byte'; did you mean 'max_key_bytes'?"),
    ("limits:\n  q: 1", 2, "limits has no setting 'q'; there are max_key_bytes, "),
    ("limits:\n  max_arguments: 1\n  max_key_bytes: -1", 3, "limits: max_key_bytes must be positive, not -1"),
    ("name: a\npolicy: lruu", 2, "no policy 'lruu'; choose one of lru,"),
    ("name: a\ncopies: 9", 2, "copies must be 1 to 5, not 9"),
    ("name: a b", 1, "'a b' is no cluster name"),
    ("port: 6400\ngateway_port: 6401", 2, "gateway_port 6401 is one of the shards' ports"),
    ("memory: 3GiB\nmemory_per_shard: 1GiB", 1, "memory and memory_per_shard are two ways to say the same"),
    ("shards: 3\nmemory: 10", 2, "memory of 3 B a shard is too small"),
    ("shards: 3\nmax_entries: 2", 2, "max_entries must allow each of 3 shards at least one"),
    ("shards: 1001", 1, "shards must be 1 to 1,000, not 1001"),
    ("nodes: -1", 1, "nodes must not be negative"),
    ("name: a\ntimeout_s: 0", 2, "timeout_s must be positive"),
    ("a: b: c", 1, "this is no YAML: mapping values are not allowed here"),
    ("a: 'b", 1, "this is no YAML: found unexpected end of stream"),
    ("a: 1\n---\nb: 2", 2, "this is no YAML: but found another document"),
    ("\x00", 1, "this is no YAML: unacceptable character"),
    ("- a", 1, "settings are lines such as `shards: 3`"),
    ("[a]: 1", 1, "the name of a setting is a word"),
    ("? [a]\n: 1", 1, "the name of a setting is a word"),
])  # fmt: skip
def test_what_is_wrong_is_said_with_its_line(text: str, line: int, said: str) -> None:
    with pytest.raises(ConfigFileError) as refused:
        read(text)
    place, _, message = str(refused.value).partition(": ")
    assert message.startswith(said)
    assert place == f"raycache.yaml:{line}"


@given(st.text(max_size=60) | st.text(alphabet="ab:-[]{}'\"\n #&*!|>%@0", max_size=40))
def test_any_text_is_settings_or_one_error(text: str) -> None:
    try:
        found = read(text)
    except ConfigFileError as error:
        place = str(error).split(": ")[0]
    else:
        assert found.keys() <= configfile.settings().keys()
        return
    assert re.fullmatch(r"raycache\.yaml:\d+", place)
