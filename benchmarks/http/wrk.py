"""Load by wrk, and what it says of it.

What lives here: calling it and reading its report. What does not: what is loaded (`sides.py`).
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.harness.servers import ServerFailedError

_UNITS: Final = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 60e3}
_BATCH: Final = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = io.open(os.getenv("RAYCACHE_BENCH_BODY")):read("*a")
"""


class Report(NamedTuple):
    """What one run of wrk measured."""

    requests_per_s: float
    p50_ms: float
    p99_ms: float


def load(url: str, connections: int, seconds: int, body: Path | None = None) -> Report:
    """Load `url` with as many requests as `connections` connections make, one after the other on each.

    Args:
        body: a file whose content is posted as JSON; None: GET.
    Raises:
        ServerFailedError: there were other answers than 2xx, or wrk's report cannot be read.
    """
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
    environment = None
    if body is not None:
        script = body.with_suffix(".lua")
        script.write_text(_BATCH)
        command += ["-s", str(script)]
        environment = {"RAYCACHE_BENCH_BODY": str(body)}
    done = subprocess.run([*command, url], capture_output=True, text=True, check=False, timeout=seconds + 30,
                          env=environment)
    return read(done.stdout + done.stderr)


def read(text: str) -> Report:
    """Return what wrk's report says.

    Raises:
        ServerFailedError: it tells of errors, or is none.
    """
    if wrong := re.search(r"Non-2xx or 3xx responses: \d+|Socket errors: .*", text):
        raise ServerFailedError(f"wrk met errors: {wrong[0]}")
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    found = {name: re.search(rf"^\s+{name}%\s+([\d.]+)(us|ms|s|m)\s*$", text, re.MULTILINE) for name in ("50", "99")}
    if rate is None or found["50"] is None or found["99"] is None:
        raise ServerFailedError(f"wrk has not measured: {text.strip()[-300:]}")
    p50, p99 = (float(each[1]) * _UNITS[each[2]] for each in found.values() if each is not None)
    return Report(float(rate[1]), p50, p99)
