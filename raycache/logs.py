"""How raycache's processes write their logs: lines for people, or one JSON object a line.

What lives here: both formats, keeping secrets out of either, and setting them up. What does not: what is logged, and
when. An event worth finding again has a name: `log.info(text, extra=event("failover", shard="s1"))`.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable
from typing import Any, Final

TEXT_FORMAT: Final = "%(asctime)s %(name)s %(levelname)s %(message)s"
REDACTED: Final = "(redacted)"
_FIELDS: Final = "raycache_fields"


def event(name: str, **fields: object) -> dict[str, Any]:
    """Return what `extra=` takes, so that a JSON line has `"event": name` and these fields."""
    return {_FIELDS: {"event": name, **fields}}


class _Redacting(logging.Formatter):
    """A formatter whose lines never contain a secret.

    Args:
        secrets: texts that are replaced wherever they stand, in tracebacks, too.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__(TEXT_FORMAT)
        self._secrets = tuple(secret for secret in secrets if secret)

    def format(self, record: logging.LogRecord) -> str:
        return self.redacted(super().format(record))

    def redacted(self, text: str) -> str:
        """Return `text` without secrets."""
        for secret in self._secrets:
            text = text.replace(secret, REDACTED)
        return text


class JsonFormatter(_Redacting):
    """One JSON object a line: time, level, logger, message, and an event's name and fields.

    Args:
        fields: what every line has, such as the cluster and the shard.
    """

    def __init__(self, secrets: Iterable[str] = (), **fields: object) -> None:
        super().__init__(secrets)
        self._always = fields

    def format(self, record: logging.LogRecord) -> str:
        moment = time.gmtime(record.created)
        line: dict[str, object] = {
            "time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', moment)}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(), "logger": record.name, **self._always,
            "message": record.getMessage(), **getattr(record, _FIELDS, {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        # Before it becomes JSON, where a quote in a secret would be written in another way.
        return json.dumps({key: self._plain(value) for key, value in line.items()}, ensure_ascii=False)

    def _plain(self, value: object) -> object:
        return value if isinstance(value, int | float | bool | None) else self.redacted(str(value))


def set_up(log_format: str, secrets: Iterable[str] = (), **fields: object) -> None:
    """Let this process' log be written as a cluster wants it.

    Args:
        log_format: "text" or "json".
        secrets: texts that must not stand in any line.
        fields: what every JSON line has.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter(secrets, **fields) if log_format == "json" else _Redacting(secrets))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
