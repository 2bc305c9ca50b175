"""What the real backend does without Ray."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import os, sys
from raycache.cli.backend import only_python_on_stderr

os.write(2, b"native before\\n")
try:
    with only_python_on_stderr():
        os.write(2, b"native inside\\n")
        print("python inside", file=sys.stderr)
        raise OSError("failed")
except OSError as error:
    print(error, file=sys.stderr)
os.write(2, b"native after\\n")
print("python after", file=sys.stderr)
"""


def test_what_rays_native_code_says_while_connecting_is_not_shown() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines() == ["native before", "python inside", "failed", "native after", "python after"]
