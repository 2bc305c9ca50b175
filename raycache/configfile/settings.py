"""Which settings a file may have, reading one, and writing one with every setting explained.

Names, defaults and explanations are those of the dataclasses `ClusterConfig` and `Launch` themselves, so the file, its
explanation and the code cannot drift apart. What does not live here: YAML (`values`).
"""

from __future__ import annotations

import ast
import difflib
import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import cache
from itertools import pairwise
from typing import Any, Final, get_type_hints

from raycache.config import ClusterConfig, object_share, parse_bytes
from raycache.configfile.values import Place, Reader, default_text

_WIDTH: Final = 100
# ClusterConfig's own fields of which a file says something else, or nothing.
_REPLACED: Final = {"memory_per_shard_bytes", "max_entries_per_shard", "queue_bytes", "object_bytes", "shards"}
_OURS_ALONE: Final = {"life"}


@dataclass(frozen=True, slots=True)
class Launch:
    """What a file says in other words than `ClusterConfig`, which counts by shard, and of the start itself."""

    shards: int | str = 3
    """How many shards, 1 to 1,000; or auto: one for each cpus_per_shard CPUs (or each CPU, where that is 0) of the Ray
    nodes, or as many as a node's label raycache-shards says."""
    memory: int | str | None = None
    """For all shards together: bytes or, say, 2GiB. Each keeps its share when the cluster is scaled. null: 256MiB for
    each, or what memory_per_shard says."""
    memory_per_shard: int | str | None = None
    """For each shard, instead of memory; with shards: auto the one that makes sense."""
    max_entries: int | None = None
    """For all shards together. null: only memory counts."""
    queue_memory: int | str | None = None
    """What writes that wait for a database may take of each shard. null: a quarter."""
    object_memory: int | str | None = None
    """For the large values of all shards together, in Ray's object store. 0: none there. null: as much as memory."""
    nodes: int = 0
    """Wait until so many Ray nodes that take shards are there before anything is placed. 0: start with those there."""
    timeout_s: float = 60.0
    """Seconds to wait until everything serves, and before that for the nodes."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One line of the file."""

    name: str
    kind: Any
    """Its annotation."""
    default: Any
    doc: str
    of: type
    """The dataclass that it is a field of."""


@cache
def settings() -> Mapping[str, Setting]:
    """Return every setting that a file may have, in the order of a written file. Reads sources, once."""
    ours = {one.name: one for one in _settings_of(ClusterConfig)}
    launch = {one.name: one for one in _settings_of(Launch)}
    found = {"name": ours.pop("name"), **launch}
    return found | {name: one for name, one in ours.items() if name not in _REPLACED | _OURS_ALONE}


def read(text: str, source: str) -> dict[str, Any]:
    """Return the settings that a file gives, by name; what it leaves out is left out.

    Args:
        text: the file's.
        source: its name, for errors.
    Raises:
        ConfigFileError: it is no YAML, or has something that is no setting, twice the same, or of the wrong type; the
            text says in which line, and what was probably meant.
    """
    known = settings()
    reader = Reader(source)
    given: dict[str, Any] = {}
    lines: dict[str, int] = {}
    for name, node, place in reader.entries(reader.parse(text)):
        setting = known.get(name)
        if setting is None:
            raise place.error(f"there is no setting {name!r}{_meant(name, known)}")
        given[name] = reader.value(node, setting.kind, name)
        lines[name] = place.line
    _check(given, lines, source)
    return given


def cluster_config(given: Mapping[str, Any], *, shards: int | None = None) -> ClusterConfig:
    """Return the configuration that settings of a file mean.

    Args:
        given: as `read` returns them, with a name.
        shards: how many `shards: auto` means.
    Raises:
        ValueError: they make no sense together.
    """
    known = settings()
    count = given.get("shards", known["shards"].default) if shards is None else shards
    if not isinstance(count, int):
        raise ValueError(f"shards must be a whole number here, not {count!r}")
    own = {name: value for name, value in given.items() if known[name].of is ClusterConfig}
    if given.get("memory") is not None and given.get("memory_per_shard") is not None:
        raise ValueError("memory and memory_per_shard are two ways to say the same: give one of them")
    if not 1 <= count <= 1000:
        raise ValueError(f"shards must be 1 to 1,000, not {count}")
    if (memory := given.get("memory")) is not None:
        own["memory_per_shard_bytes"] = parse_bytes(memory) // count
    elif (memory := given.get("memory_per_shard")) is not None:
        own["memory_per_shard_bytes"] = parse_bytes(memory)
    if (entries := given.get("max_entries")) is not None:
        if entries < count:
            raise ValueError(f"max_entries must allow each of {count} shards at least one, not {entries} in all")
        own["max_entries_per_shard"] = entries // count
    if (queue := given.get("queue_memory")) is not None:
        own["queue_bytes"] = parse_bytes(queue)
    if "object_memory" in given:
        own["object_bytes"] = object_share(given["object_memory"], count)
    return ClusterConfig(shards=count, **own)


def written(name: str = "features") -> str:
    """Return a file with every setting, each with its explanation and default: it says what leaving it out says."""
    lines = [*_comment("Settings of a cluster, for `raycache up --config raycache.yaml`. Each line below says what is "
                       "the default anyway; sizes are bytes or text such as 512MiB, times are seconds.")]
    for setting in settings().values():
        lines += ["", *_comment(setting.doc)]
        default = name if setting.name == "name" else setting.default
        lines += _entry(setting.name, default)
    return "\n".join(lines) + "\n"


def _entry(name: str, default: Any) -> Iterator[str]:
    if not is_dataclass(default):
        yield f"{name}: {default_text(default)}"
        return
    yield f"{name}:"
    docs = field_docs(type(default))
    for one in fields(default):
        yield ""
        yield from (f"  {line}" for line in _comment(docs.get(one.name, "")))
        yield f"  {one.name}: {default_text(getattr(default, one.name))}"


def _comment(text: str) -> list[str]:
    for word, in_yaml in (("None", "null"), ("True", "true"), ("False", "false")):
        text = re.sub(rf"\b{word}\b", in_yaml, text)
    return textwrap.wrap(text, _WIDTH, initial_indent="# ", subsequent_indent="# ") if text else []


def _check(given: Mapping[str, Any], lines: Mapping[str, int], source: str) -> None:
    """Refuse what `ClusterConfig` refuses, with the line of the setting that its text names first."""
    if isinstance(shards := given.get("shards"), str) and shards != "auto":
        raise Place(source, lines["shards"]).error(f"shards must be a whole number or auto, not {shards!r}")
    if given.get("nodes", 0) < 0 or given.get("timeout_s", 1.0) <= 0:
        name = "nodes" if given.get("nodes", 0) < 0 else "timeout_s"
        raise Place(source, lines[name]).error(f"{name} must {'not be negative' if name == 'nodes' else 'be positive'}")
    try:
        cluster_config({"name": "unnamed", **given}, shards=1 if shards == "auto" else None)
    except ValueError as error:
        raise Place(source, _line_meant(str(error), lines)).error(str(error)) from None


def _line_meant(text: str, lines: Mapping[str, int]) -> int:
    """Return the line of the setting that an error's text names first; the first of all where it names none."""
    found = [(match.start(), line) for name, line in lines.items() if (match := re.search(rf"\b{name}\b", text))]
    return min(found)[1] if found else min(lines.values(), default=1)


def _meant(name: str, known: Mapping[str, Setting]) -> str:
    close = difflib.get_close_matches(name.lower().replace("-", "_"), known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else "; `raycache config` lists all settings"


def _settings_of(cls: type) -> Iterator[Setting]:
    kinds, docs = get_type_hints(cls), field_docs(cls)
    for one in fields(cls):
        yield Setting(one.name, kinds[one.name], _default(one), docs.get(one.name, ""), cls)


def _default(one: Field[Any]) -> Any:
    if one.default_factory is not MISSING:
        return one.default_factory()
    return None if one.default is MISSING else one.default


def field_docs(cls: type) -> dict[str, str]:
    """Return what stands in the sources below each field of a dataclass, in one line each."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    docs = {}
    for before, after in pairwise(body):
        match before, after:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                docs[name] = " ".join(text.split())
    return docs
