"""The documents hold together: links lead somewhere, examples compile, names that they use exist."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import click
import pytest

import raycache
from raycache.cli.main import cli
from raycache.client.sync import Cache

REPOSITORY = Path(__file__).parents[2]
DOCUMENTS = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")])
NAMES = [path.relative_to(REPOSITORY).as_posix() for path in DOCUMENTS]

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def text_of(name: str) -> str:
    return (REPOSITORY / name).read_text()


def blocks_of(name: str, language: str) -> list[str]:
    return [body for given, body in BLOCK.findall(text_of(name)) if given == language]


def prose_of(name: str) -> str:
    return BLOCK.sub("", text_of(name))


def anchors_of(name: str) -> set[str]:
    """Return the anchors of a document's headings, as a code forge makes them."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
            for heading in HEADING.findall(prose_of(name))}


def test_the_documents_that_people_look_for_are_there() -> None:
    assert {"README.md", "CHANGELOG.md", "docs/design.md", "docs/glossary.md", "docs/operations.md",
            "docs/promises.md", "docs/ray.md"} <= set(NAMES)
    assert "Apache License" in text_of("LICENSE")
    assert "END OF TERMS AND CONDITIONS" in text_of("LICENSE")


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_to_files_and_headings_that_exist(name: str) -> None:
    for target in LINK.findall(prose_of(name)):
        if "://" in target or target.startswith("mailto:"):
            continue
        file, _, anchor = target.partition("#")
        path = (REPOSITORY / name).parent / file if file else REPOSITORY / name
        assert path.exists(), f"{name} links to {target}"
        if anchor and path.suffix == ".md":
            assert anchor in anchors_of(path.resolve().relative_to(REPOSITORY).as_posix()), f"{name} links to {target}"


@pytest.mark.parametrize("name", NAMES)
def test_code_blocks_are_closed(name: str) -> None:
    assert len(re.findall(r"^```", text_of(name), re.MULTILINE)) % 2 == 0


@pytest.mark.parametrize("name", NAMES)
def test_python_examples_compile(name: str) -> None:
    for source in blocks_of(name, "python"):
        compile(source, name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize("name", NAMES)
def test_python_examples_use_names_that_exist(name: str) -> None:
    for source in blocks_of(name, "python"):
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                if node.value.id == "raycache":
                    assert node.attr in raycache.__all__, f"{name}: raycache.{node.attr}"
                elif node.value.id == "cache":
                    assert hasattr(Cache, node.attr), f"{name}: cache.{node.attr}"


def command_lines_of(name: str) -> list[list[str]]:
    """Return the command lines of a document that begin with `raycache`, without tables of commands and comments."""
    lines = []
    for body in blocks_of(name, ""):
        for line in re.sub(r"\\\n\s*", "", body).splitlines():
            command = re.split(r"  +| +#| < ", line)[0]
            found = re.match(r"(?:[A-Z_]+=\S+ )*raycache (.+)", command)
            if found and " NAME" not in command:  # a table of commands
                lines.append(shlex.split(found[1]))
    return lines


@pytest.mark.parametrize("name", NAMES)
def test_command_lines_are_understood(name: str) -> None:
    for command, *words in command_lines_of(name):
        found = cli.get_command(click.Context(cli), command)
        assert found is not None, f"{name}: raycache {command}"
        try:
            found.make_context(command, words)
        except click.UsageError as error:
            if "does not exist" not in error.message:  # the reader's own file
                raise AssertionError(f"{name}: raycache {command}: {error.message}") from error


def test_command_lines_are_found() -> None:
    assert ["replay", "trial", "reads.gz", "--speed", "20"] in command_lines_of("docs/warming.md")
    assert ["warm", "features", "--from", "10.0.0.7:6410"] in command_lines_of("docs/warming.md")
    assert sum(len(command_lines_of(name)) for name in NAMES) > 25


@pytest.mark.parametrize("name", NAMES)
def test_modules_that_the_text_names_exist(name: str) -> None:
    for dotted in re.findall(r"`(raycache(?:/[\w/]+)+(?:\.py)?/?)`", prose_of(name)):
        assert (REPOSITORY / dotted).exists(), f"{name}: {dotted}"


@pytest.mark.parametrize("name", NAMES)
def test_the_text_names_no_place_of_somebodys_machine(name: str) -> None:
    assert not re.search(r"(?<![\w.])/(?:work|home/\w+|Users)/", text_of(name))


def test_decisions_are_numbered_without_gaps_and_have_their_three_parts() -> None:
    records = sorted((REPOSITORY / "docs" / "decisions").glob("*.md"))
    assert [path.name[:4] for path in records] == [f"{number:04d}" for number in range(1, len(records) + 1)]
    for path in records:
        headings = HEADING.findall(path.read_text())
        assert headings[0].startswith(f"{path.name[:4]} "), path.name
        assert headings[1:4] == ["Context", "Decision", "Consequence"], path.name


def test_the_changelog_begins_with_what_is_being_built() -> None:
    assert "## [0.1.0] - unreleased" in text_of("CHANGELOG.md")
    assert raycache.__version__ == "0.1.0"
