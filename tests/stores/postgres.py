"""A real PostgreSQL for tests: on a free port of loopback, as an unprivileged user, in a folder of its own.

What does not live here: tests. Debian's package brings the programs and starts no server of its own where a test runs.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

import psycopg
import pytest

BINARIES = Path("/usr/lib/postgresql")
USER = "raycache"
PASSWORD = "very-secret-word"


def find_binaries() -> Path:
    """Return where the newest server's programs are; skip where there is none, but fail under CI=true."""
    found = sorted(BINARIES.glob("*/bin/postgres"), key=lambda path: int(path.parts[-3].split(".")[0]))
    if found:
        return found[-1].parent
    reason = "PostgreSQL is not installed; Debian has it in postgresql"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


class Postgres:
    """A server with a database; it may be killed and started again with the same data."""

    def __init__(self) -> None:
        self._bin = find_binaries()
        self._folder = Path(tempfile.mkdtemp(prefix="raycache-postgres-"))
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._user: dict[str, object] = {}
        if os.getuid() == 0:  # it refuses to run as root
            user = pwd.getpwnam("postgres")
            os.chown(self._folder, user.pw_uid, user.pw_gid)
            self._user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}

    @property
    def url(self) -> str:
        """What SQLAlchemy needs."""
        return f"postgresql+psycopg://{USER}:{PASSWORD}@127.0.0.1:{self.port}/postgres"

    def __enter__(self) -> Self:
        word = self._folder / "word"
        word.write_text(PASSWORD)
        word.chmod(0o644)
        self._run("initdb", "-D", str(self._folder / "data"), "-A", "scram-sha-256", "-U", USER, "--pwfile", str(word),
                  "--no-locale", "-E", "UTF8", "--no-sync")
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self, program: str, *words: str) -> None:
        done = subprocess.run([str(self._bin / program), *words], cwd=self._folder, capture_output=True, text=True,
                              check=False, env={"HOME": str(self._folder), "PATH": os.defpath},
                              **self._user)  # type: ignore[call-overload]
        assert done.returncode == 0, done.stderr

    def start(self) -> None:
        """Start the server and wait until it answers."""
        options = {"listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": self._folder,
                   "shared_buffers": "16MB", "max_connections": 30}
        words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._bin / "postgres"), "-D", str(self._folder / "data"), *words], cwd=self._folder, stdout=log,
                stderr=log, start_new_session=True, env={"HOME": str(self._folder), "PATH": os.defpath},
                **self._user)  # type: ignore[call-overload]
        end_s = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(self.url.replace("+psycopg", ""), connect_timeout=5).close()
                return
            except psycopg.OperationalError:
                assert self._process.poll() is None, (self._folder / "log").read_text()
                assert time.monotonic() < end_s, "PostgreSQL does not answer"
                time.sleep(0.05)

    def kill(self) -> None:
        """End the server and all its processes at once, with SIGKILL, in whatever they are doing."""
        process, self._process = self._process, None
        if process is None:
            return
        os.killpg(process.pid, signal.SIGKILL)  # a group of its own: it was started in a new session
        process.wait(10)
        (self._folder / "data" / "postmaster.pid").unlink(missing_ok=True)
        for socket_file in self._folder.glob(".s.PGSQL*"):
            socket_file.unlink()
