"""The key of a call: `module.function:arg=value,other=value`.

What lives here: binding arguments as Python does, defaults filled in; what is left out; what is too long to be read.
What does not: the text of one argument (`text`). Pure.

    module.function            the name, or `name=`
    @2                         `version=`, where one is given
    :                          up to here is the prefix of all keys of the function
    user_id=7,lang='en'        the arguments in the order of the signature, all of them, however they were passed
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Final

from raycache.errors import UncacheableArgumentError
from raycache.functions.text import DECIMAL, NoStableText, digest_of, name_of, text_of

MAX_READABLE: Final = 200
"""Characters of arguments that a key shows. Longer ones keep the first `KEPT` of them, and a digest of all."""
KEPT: Final = 100

_VARIADIC: Final = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_NONE: Final = object()

KeyFunction = Callable[..., Any]


def function_name(function: Callable[..., Any]) -> str:
    """Return the name of a function in keys: its module and its qualified name, without "<locals>"."""
    return f"{function.__module__}.{function.__qualname__}".replace(".<locals>", "").replace("<lambda>", "lambda")


class KeyMaker:
    """Makes the keys of one function.

    Args:
        function: what is decorated.
        name: instead of module and name of the function.
        version: part of the key: another one leaves what was stored before aside.
        ignore: parameters that are not part of the key.
        key: given the arguments of a call, returns what stands after the prefix: a str as it is, anything else by its
            text, shortened as that of arguments is.
    Raises:
        ValueError: `ignore` names something that is no parameter, or `name` or `version` is empty or has ":" in it.
    """

    def __init__(self, function: Callable[..., Any], *, name: str | None = None, version: int | str | None = None,
                 ignore: Sequence[str] = (), key: KeyFunction | None = None) -> None:
        if isinstance(ignore, str):
            raise ValueError(f"ignore is a sequence of parameter names: write ({ignore!r},)")
        self.name = name if name is not None else function_name(function)
        version_text = f"@{version}" if version is not None else ""
        if not self.name or ":" in self.name or ":" in version_text or version_text == "@":
            raise ValueError("name and version must not be empty, and must have no ':' in them")
        self.prefix = f"{self.name}{version_text}:"
        self.signature = inspect.signature(function)
        parameters = self.signature.parameters
        unknown = [each for each in ignore if each not in parameters]
        if unknown:
            raise ValueError(f"{self.name} has no parameter {unknown[0]!r} to ignore; it has "
                             f"{', '.join(parameters) or 'none'}")
        self._key = key
        self._names = list(parameters)
        self._shown = [(at, each) for at, each in enumerate(parameters) if each not in ignore]
        self._receiver = _receiver_of(function, self._names)
        self._owner = f"{function.__module__}.{function.__qualname__.rpartition('.')[0]}"
        self._is_receiver_ignored = self._receiver is not None and self._receiver in ignore
        kinds = [each.kind for each in parameters.values()]
        self._is_plain = not any(kind in _VARIADIC for kind in kinds)
        self._positional = sum(kind is not inspect.Parameter.KEYWORD_ONLY for kind in kinds)
        self._keywords = {each: at for at, (each, kind) in enumerate(zip(parameters, kinds, strict=True))
                          if kind is not inspect.Parameter.POSITIONAL_ONLY}
        empty = inspect.Parameter.empty
        self._defaults = [_NONE if each.default is empty else each.default for each in parameters.values()]

    def key(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        """Return the key of a call.

        Raises:
            TypeError: the function does not take these arguments.
            UncacheableArgumentError: one of them has no stable text.
        """
        if self._key is not None:
            made = self._key(*args, **kwargs)
            return self.prefix + (made if type(made) is str else _short(self._text("the result of key=", made)))
        values = self._bound(args, kwargs)
        parts = []
        for at, name in self._shown:
            value = values[at]
            kind = type(value)
            if kind is int and -DECIMAL < value < DECIMAL:  # what most arguments are, without a call
                parts.append(f"{name}={value}")
            elif at == 0 and name == self._receiver and isinstance(value, type):
                if name_of(value) != self._owner:  # a classmethod of a subclass may answer otherwise
                    parts.append(f"{name}={text_of(value)}")
            else:
                parts.append(f"{name}={self._text(name, value)}")
        if self._is_receiver_ignored and (name := name_of(type(values[0]))) != self._owner:
            parts.insert(0, f"{self._receiver}={name}")  # so may a method of a subclass, whatever its object
        return self.prefix + _short(",".join(parts))

    def _text(self, name: str, value: Any) -> str:
        try:
            return text_of(value)
        except NoStableText as error:
            raise self._refusal(name, value, error) from None

    def _refusal(self, name: str, value: object, error: NoStableText) -> UncacheableArgumentError:
        part = "" if error.value is value else f" (a {type(error.value).__qualname__} in it)"
        start = f"{self.name}: {name}{part} {error.reason}"
        if name == self._receiver:
            return UncacheableArgumentError(
                f"{start}: give {type(value).__qualname__} a __cache_key__ that tells its objects apart, or say "
                f"ignore=({name!r},) if they all answer the same, or key= what makes the key")
        return UncacheableArgumentError(
            f"{start}: give {type(error.value).__qualname__} a __cache_key__, or leave it out by ignore=({name!r},), "
            f"or make the key yourself by key=")

    def _bound(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        """Return the value of each parameter, in their order."""
        count = len(args)
        if self._is_plain and count <= self._positional:
            values = [*args, *self._defaults[count:]]
            for name, value in kwargs.items():
                at = self._keywords.get(name, -1)
                if at < count:  # unknown, or given twice
                    break
                values[at] = value
            else:
                if count == len(values) or not any(value is _NONE for value in values[count:]):
                    return values
        # The rare forms, and the calls that Python refuses: with Python's own words.
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return [bound.arguments[name] for name in self._names]


def _short(text: str) -> str:
    if len(text) <= MAX_READABLE:
        return text
    return f"{text[:KEPT]}~{digest_of(text.encode('utf-8', 'surrogatepass'))}"


def _receiver_of(function: Callable[..., Any], names: list[str]) -> str | None:
    """Return "self" or "cls" where `function` is a method, as far as its own text tells."""
    is_inner = function.__qualname__.rpartition(".")[0].rpartition(".")[2] not in ("", "<locals>")
    return names[0] if names and is_inner and names[0] in ("self", "cls") else None
