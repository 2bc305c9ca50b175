"""What the HTTP door is told: tokens, limits, and where they come from.

What lives here: `HttpSettings`, checked when it is built, and the one place of this package that is handed the
environment. What does not: how they are applied (`auth.py`, `admission.py`). Pure values; any thread.

Everything that opens the door to more people is off by default: no origins for browsers, and no administration. Where
no token is set nobody is asked for one, so such a door belongs on loopback (`raycache http` sees to that).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal, get_args

Role = Literal["reader", "writer", "admin"]
"""What a token may do; each may do what those before it may."""

MIB: Final = 1024 * 1024
PREFIX: Final = "RAYCACHE_HTTP_"
"""How the names of the environment's variables begin; the rest is a setting's name in capitals."""

ADMIN: Final = "admin secret"
"""Name of the token that the setting `admin_secret` stands for."""

_QUOTAS: Final = ("max_requests_per_s", "max_bytes_per_s")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


def digest_of(token: str) -> str:
    """Return what is kept of a token: its SHA-256, in hex. A long random token needs no slower hash."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


@dataclass(frozen=True, slots=True)
class Token:
    """One bearer token.

    Raises:
        ValueError: the role is none, the digest is no SHA-256 in hex, or the user makes no sense.
    """

    name: str
    """Who it was given to; appears in logs, the token never does."""
    digest: str = field(repr=False)
    """See `digest_of`."""
    role: Role = "reader"
    clusters: tuple[str, ...] = ()
    """The clusters that it is for; empty: all."""
    user: str = ""
    """Whose rights requests with it have at the clusters (ACL), beside what the role allows; "": the door's own."""
    password_file: str = ""
    """Holds that user's password, at this path wherever a Serve replica may run."""
    max_requests_per_s: float | None = None
    """What it may send to one Serve replica; 0: as many as it can, None: as the setting of that name has it for all."""
    max_bytes_per_s: float | None = None
    """The same for the bytes of bodies, in both directions."""

    def __post_init__(self) -> None:
        for limit in (self.max_requests_per_s, self.max_bytes_per_s):
            if limit is not None and (type(limit) not in (int, float) or not 0 <= limit < float("inf")):
                raise ValueError(f"token {self.name!r}: a limit must be 0 (none) or a positive number, not {limit!r}")
        if self.role not in get_args(Role):
            raise ValueError(f"the role of token {self.name!r} must be one of {get_args(Role)}, not {self.role!r}")
        if not _SHA256.fullmatch(self.digest):
            raise ValueError(f"the digest of token {self.name!r} must be the SHA-256 of the token, 64 hex digits")
        if bool(self.user) != bool(self.password_file):
            raise ValueError(f"token {self.name!r}: user needs a password_file, and password_file its user")
        if self.user and self.role == "admin":
            raise ValueError(f"token {self.name!r}: administration is not done as a user; use reader or writer")

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Token:
        """Return the token that a file or `user_config` describes: with `token` itself, or its `sha256`.

        Raises:
            ValueError: it is described wrongly; the text never shows the token.
        """
        known = {"name", "token", "sha256", "role", "clusters", "user", "password_file", *_QUOTAS}
        name = record.get("name", "")
        if unknown := set(record) - known:
            raise ValueError(f"token {name!r} has unknown fields {sorted(unknown)}; known are {sorted(known)}")
        if not isinstance(name, str) or not name:
            raise ValueError("every token needs a name")
        if ("token" in record) == ("sha256" in record):
            raise ValueError(f"token {name!r} needs either `token` or its `sha256`")
        token = record.get("token")
        if token is not None and (not isinstance(token, str) or len(token) < 16):
            raise ValueError(f"token {name!r} must be a text of at least 16 characters: shorter ones can be guessed")
        user, password_file = record.get("user", ""), record.get("password_file", "")
        if not (isinstance(user, str) and isinstance(password_file, str)):
            raise ValueError(f"token {name!r}: user and password_file must be texts")
        digest = digest_of(token) if token is not None else str(record["sha256"])
        return cls(name, digest, record.get("role", "reader"), tuple(record.get("clusters", ())),
                   user, password_file, *(record.get(quota) for quota in _QUOTAS))


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """All settings of the HTTP door, each with its reason.

    Raises:
        ValueError: one of them makes no sense; the text says which.
    """

    cluster: str = ""
    """The cluster of requests that name none (the Redis convention, the page); "": the only one that runs."""
    tokens: tuple[Token, ...] = ()
    """Who may use the door; empty: everybody who reaches it."""
    user: str = ""
    """Whose rights the door has at its clusters (ACL), but for tokens with a user of their own; "": it shows their
    secret, and has all."""
    password_file: str = ""
    """Holds that user's password, at this path wherever a Serve replica may run: so it is in no configuration."""
    accept_secrets: bool = False
    """Whether a cluster's secret is taken as a token for that cluster, with a writer's rights; then one is demanded."""
    cors_origins: tuple[str, ...] = ()
    """Origins whose pages may call from a browser; "*" is every page that any user of this network opens."""
    max_body_bytes: int = 64 * MIB
    """Of one request. A body is held in memory until its shard has it; a shard would take 512 MiB."""
    max_held_bytes: int = 512 * MIB
    """Of all bodies that a Serve replica holds at a time, in either direction: what it may need beside its 150 MB."""
    max_concurrent_requests: int = 1_000
    """Under way in one Serve replica. A replica answers some 4,000 a second, so the last of 1,000 waits 0.25 s."""
    max_requests_per_s: float = 0.0
    """Of one token, or of all that show none, on one Serve replica; 0: as many as it can."""
    max_bytes_per_s: float = 0.0
    """Of bodies in both directions, likewise. Charged afterwards: one request may go beyond, the next is refused."""
    max_batch_keys: int = 10_000
    """Of one batch. 1,000 take some 10 ms of the replica's only thread; others wait that long."""
    deadline_s: float = 10.0
    """How long any request may take, in seconds; a caller may ask for less with `Prefer: wait=`."""

    def __post_init__(self) -> None:
        for name in ("max_body_bytes", "max_held_bytes", "max_concurrent_requests", "max_batch_keys", "deadline_s"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)!r}")
        if bool(self.user) != bool(self.password_file):
            raise ValueError("user needs a password_file, and password_file its user")
        for name in _QUOTAS:
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 (no limit) or positive, not {getattr(self, name)!r}")
        if self.max_body_bytes > self.max_held_bytes:
            raise ValueError("max_held_bytes must be at least max_body_bytes, or no large body is ever taken")
        if len({token.name for token in self.tokens}) < len(self.tokens):
            raise ValueError("two tokens have the same name")
        if "*" in self.cors_origins and len(self.cors_origins) > 1:
            raise ValueError('cors_origins is "*" or a list of origins, not both')

    @property
    def is_open(self) -> bool:
        """Whether nobody is asked for a token; administration always asks for one of its role."""
        return not self.accept_secrets and all(token.role == "admin" for token in self.tokens)

    @classmethod
    def from_mapping(cls, given: Mapping[str, Any]) -> HttpSettings:
        """Return the settings that a `user_config` or the arguments of a config file state.

        `admin_secret` stands for one more token, with the role admin.

        Raises:
            ValueError: a name is unknown, a type is wrong, or a setting makes no sense.
        """
        known = {each.name: each for each in fields(cls)}
        if unknown := set(given) - set(known) - {"admin_secret"}:
            raise ValueError(f"unknown settings {sorted(unknown)}; known are {sorted(known)}")
        values: dict[str, Any] = {}
        for name, value in given.items():
            if name == "admin_secret":
                continue
            if name == "tokens":
                values[name] = tuple(each if isinstance(each, Token) else Token.from_record(each) for each in value)
            elif name == "cors_origins":
                values[name] = (value,) if isinstance(value, str) else tuple(value)
            else:
                values[name] = _typed(name, value, type(known[name].default))
        if secret := given.get("admin_secret"):
            admin = Token.from_record({"name": ADMIN, "token": secret, "role": "admin"})
            values["tokens"] = (*values.get("tokens", ()), admin)
        return cls(**values)

    def as_mapping(self) -> dict[str, Any]:
        """Return what `from_mapping` makes the same settings of: plain values, and no token but as its digest."""
        plain = {each.name: getattr(self, each.name) for each in fields(self)}
        plain["tokens"] = [{"name": token.name, "sha256": token.digest, "role": token.role,
                            "clusters": list(token.clusters), "user": token.user,
                            "password_file": token.password_file,
                            **{quota: getattr(token, quota) for quota in _QUOTAS}} for token in self.tokens]
        return plain | {"cors_origins": list(self.cors_origins)}

    def but(self, given: Mapping[str, Any]) -> HttpSettings:
        """Return these settings with those of `given` in their place.

        Tokens that are given take the place of all others but the `admin_secret`, which only another one replaces: so a
        file that changes a limit opens the door to nobody.

        Raises:
            ValueError: as `from_mapping`.
        """
        own = self.as_mapping()
        tokens = list(given.get("tokens", [each for each in own["tokens"] if each["name"] != ADMIN]))
        if "admin_secret" not in given:
            tokens += [each for each in own["tokens"] if each["name"] == ADMIN]
        return HttpSettings.from_mapping({**own, **given, "tokens": tokens})

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> HttpSettings:
        """Return the settings in the variables `RAYCACHE_HTTP_...`.

        `RAYCACHE_HTTP_TOKENS_FILE` names a JSON file with a list of tokens, `RAYCACHE_HTTP_ADMIN_SECRET_FILE` one that
        holds the secret, so that neither has to stand in the environment; `RAYCACHE_HTTP_CORS_ORIGINS` is separated
        by commas.

        Raises:
            ValueError: as `from_mapping`. OSError: a file cannot be read.
        """
        given: dict[str, Any] = {}
        for variable, text in environment.items():
            if not variable.startswith(PREFIX) or not text:
                continue
            name = variable.removeprefix(PREFIX).lower()
            if name == "tokens_file":
                given["tokens"] = tokens_in(Path(text))
            elif name == "admin_secret_file":
                given["admin_secret"] = Path(text).read_text().strip()
            elif name == "cors_origins":
                given[name] = tuple(each.strip() for each in text.split(","))
            elif name in {"tokens"}:
                raise ValueError(f"{variable} is not read: name a file in {PREFIX}TOKENS_FILE")
            else:
                given[name] = text
        return cls.from_mapping(given)


def tokens_in(path: Path) -> list[Mapping[str, Any]]:
    """Return the tokens that a file describes: a JSON list of objects, see `Token.from_record`.

    Raises:
        ValueError: it holds something else. OSError: it cannot be read.
    """
    try:
        records = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}") from None
    if not isinstance(records, list) or not all(isinstance(each, dict) for each in records):
        raise ValueError(f"{path} must hold a list of tokens, each an object with name, token or sha256, and role")
    return records


def _typed(name: str, value: Any, kind: type) -> Any:
    """Return `value` as `kind`; text is read, since the environment has nothing else."""
    if kind is bool:
        if isinstance(value, bool):
            return value
        if str(value).lower() in ("1", "true", "yes", "on"):
            return True
        if str(value).lower() in ("0", "false", "no", "off"):
            return False
        raise ValueError(f"{name} must be true or false, not {value!r}")
    if kind is str:
        if not isinstance(value, str):
            raise ValueError(f"{name} must be a text")
        return value
    try:
        return kind(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a number, not {value!r}") from None
