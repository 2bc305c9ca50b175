"""Runs the Python blocks of documents as a reader would who pastes one after the other, and compares what they say.

    documents.py '{"6400": "35117"}' README.md docs/loading.md

What an expression gives must be what the comment behind it begins with, where that is a Python value. The first
argument says what else stands for some of their words here: ports, folders. What a document takes for granted is below:
a database `db`, and a package `shop` in the folder that this runs in.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import io
import json
import logging
import re
import sys
import tokenize
from pathlib import Path
from typing import Any, Final

BLOCK: Final = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Database:
    """What the documents call `db`."""

    def read(self, *_: object) -> dict[str, str]:
        return {"name": "Ada"}

    def update(self, *_: object) -> None:
        """Nothing reads what would change."""


def comments_of(source: str) -> dict[int, str]:
    """Return the comments of a block, by line."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}


def promised(comment: str) -> list[Any]:
    """Return the value that a comment begins with, if there is one: `{"a": 1}: only what is there`, `True if ...`."""
    for end in [len(comment), *(found.start() for found in re.finditer(r"[:;,] | if ", comment))]:
        try:
            return [ast.literal_eval(comment[:end])]
        except (ValueError, SyntaxError):
            continue
    return []


def run(document: Path, words: dict[str, str]) -> int:
    """Run all blocks of a document in one namespace; return how many values were compared."""
    text, count = document.read_text(), 0
    names: dict[str, Any] = {"__name__": "shop", "db": Database()}
    for block in BLOCK.finditer(text):
        source = block[1]
        for word, instead in words.items():
            source = source.replace(word, instead)
        first = text.count("\n", 0, block.start(1))
        known = set(names)
        comments = comments_of(source)
        for node in ast.parse(source).body:
            line = node.end_lineno or 0
            ast.increment_lineno(node, first)  # so that a traceback names the document's line
            if isinstance(node, ast.Expr):
                value = eval(compile(ast.Expression(node.value), str(document), "eval"), names)
                for expected in promised(comments.get(line, "")):
                    count += 1
                    assert value == expected, f"{document}:{first + line}: {value!r} and not {expected!r}"
            else:
                exec(compile(ast.Module([node], []), str(document), "exec"), names)
        if "main" in names.keys() - known and inspect.iscoroutinefunction(names["main"]):
            asyncio.run(names["main"]())
        if "CACHES" in names.keys() - known:
            try_django(names["CACHES"])
    return count


def try_django(settings: Any) -> None:
    """Use the cache that Django's settings name."""
    from django.conf import settings as django
    from django.core.cache import cache

    django.configure(CACHES=settings)
    cache.set("of-django", [1, 2])
    assert cache.get("of-django") == [1, 2]


def main() -> None:
    logging.basicConfig(level=logging.ERROR)
    sys.path.insert(0, ".")
    for name in sys.argv[2:]:
        print(Path(name).name, run(Path(name), json.loads(sys.argv[1])))


if __name__ == "__main__":
    main()
