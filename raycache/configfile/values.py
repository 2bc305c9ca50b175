"""YAML read with its lines kept, and its values held to the types of a dataclass' fields.

What lives here: nodes to values, with errors that name the file and the line. What does not: which settings there are
(`settings`).
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from raycache.config import parse_bytes

_NAMES: Final = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "null"}


class ConfigFileError(ValueError):
    """A file of settings is wrong; the text says where and how."""


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file."""

    source: str
    line: int

    def error(self, text: str) -> ConfigFileError:
        """Return an error that names this line."""
        return ConfigFileError(f"{self.source}:{self.line}: {text}")


class Reader:
    """Reads one file."""

    def __init__(self, source: str) -> None:
        self._source = source

    def parse(self, text: str) -> yaml.Node | None:
        """Return the document; None where there is nothing in it.

        Raises:
            ConfigFileError: it is no YAML, or several documents.
        """
        try:
            return yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise Place(self._source, mark.line + 1 if mark else 1).error(
                f"this is no YAML: {error.problem or error.context}") from None
        except yaml.YAMLError as error:
            raise Place(self._source, 1).error(f"this is no YAML: {' '.join(str(error).split())}") from None

    def place(self, node: yaml.Node) -> Place:
        """Return where a node begins."""
        return Place(self._source, node.start_mark.line + 1)

    def entries(self, node: yaml.Node | None) -> Iterator[tuple[str, yaml.Node, Place]]:
        """Yield the names of a mapping, their values, and where each stands.

        Raises:
            ConfigFileError: it is no mapping, or a name comes twice.
        """
        if node is None:
            return
        if not isinstance(node, yaml.MappingNode):
            raise self.place(node).error("settings are lines such as `shards: 3`")
        seen: dict[str, int] = {}
        for key, value in node.value:
            place = self.place(key)
            name = key.value if isinstance(key, yaml.ScalarNode) else ""
            if not name:
                raise place.error("the name of a setting is a word")
            if name in seen:
                raise place.error(f"{name} stands in line {seen[name]} already")
            seen[name] = place.line
            yield name, value, place

    def value(self, node: yaml.Node, kind: Any, name: str) -> Any:
        """Return a node's value as `kind`, an annotation, wants it.

        Raises:
            ConfigFileError: it is of another type.
        """
        wanted = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
        for one in wanted:
            if is_dataclass(one) and isinstance(one, type) and isinstance(node, yaml.MappingNode):
                return self._record(node, one, name)
            if get_origin(one) in (tuple, list) and isinstance(node, yaml.SequenceNode):
                inner = get_args(one)[0]
                return tuple(self.value(each, inner, f"an entry of {name}") for each in node.value)
        given = yaml.SafeLoader("").construct_object(node, deep=True)
        return self._plain(given, wanted, name, self.place(node))

    def _plain(self, given: Any, wanted: tuple[Any, ...], name: str, place: Place) -> Any:
        for one in wanted:
            if get_origin(one) is Literal and given in get_args(one):
                return given
            if type(given) is one or (one is type(None) and given is None):
                return given
        if float in wanted and type(given) is int:
            return float(given)
        if int in wanted and type(given) is str and name.endswith("_bytes"):
            try:
                return parse_bytes(given)
            except ValueError as error:
                raise place.error(f"{name}: {error}") from None
        raise place.error(f"{name} must be {_expected(wanted)}, not {_shown(given)}")

    def _record(self, node: yaml.Node, cls: Any, name: str) -> Any:
        kinds = get_type_hints(cls)
        known = [one.name for one in fields(cls)]
        given, lines = {}, {}
        for key, value, place in self.entries(node):
            if key not in kinds:
                close = difflib.get_close_matches(key, known, n=1)
                hint = f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(known)}"
                raise place.error(f"{name} has no setting {key!r}{hint}")
            given[key], lines[key] = self.value(value, kinds[key], key), place
        try:
            return cls(**given)
        except (ValueError, TypeError) as error:
            at = next((lines[key] for key in lines if key in str(error)), self.place(node))
            raise at.error(f"{name}: {error}") from None


def default_text(value: Any) -> str:
    """Return a default as YAML writes it on one line."""
    text: str = yaml.safe_dump(list(value) if isinstance(value, tuple) else value, default_flow_style=True, width=200)
    return text.removesuffix("...\n").strip()


def _expected(wanted: tuple[Any, ...]) -> str:
    found = []
    for one in wanted:
        if get_origin(one) is Literal:
            found += [str(each) for each in get_args(one)]
        elif is_dataclass(one):
            found.append("settings of its own, indented below it")
        elif get_origin(one) in (tuple, list):
            found.append("a list")
        elif one in _NAMES:
            found.append(_NAMES[one])
    return " or ".join(found)


def _shown(given: Any) -> str:
    if isinstance(given, dict | list):
        return "a list" if isinstance(given, list) else "a mapping"
    return "null" if given is None else repr(given)
