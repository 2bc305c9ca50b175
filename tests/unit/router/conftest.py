"""The `World` that the router's tests drive stands beside them; importlib mode does not find it by itself."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
