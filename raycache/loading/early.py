"""XFetch: whether a value is refreshed although it has not expired yet.

Source: Vattani, Chierichetti and Lowenstein, "Optimal Probabilistic Cache Stampede Prevention", PVLDB 8(8), 2015,
figure 3: refresh when now - delta * beta * ln(U) >= expiry, with U uniform in (0, 1], delta = how long the last load
took. The gap before the expiry at which one caller refreshes is then exponential with mean delta * beta, which the
paper proves optimal: no caller knows of another, and yet few refresh at once, and seldom none before the end.
What does not live here: what a refresh is. Pure.
"""

from __future__ import annotations

import math
import random
from typing import Final

NEVER_BEFORE: Final = 37.0
"""-ln of the smallest U that there is, 2 ** -53, is 36.7: farther from the end nobody need draw one."""


def is_due(left_s: float, load_s: float, beta: float, rng: random.Random) -> bool:
    """Return whether this caller should refresh a value.

    Args:
        left_s: what is left of the value's lifetime (expiry - now), in seconds.
        load_s: how long its last load took, in seconds (delta).
        beta: above 0; 1 is the paper's optimum.
    """
    if left_s > load_s * beta * NEVER_BEFORE:
        return False
    # random() is in [0, 1), so 1 - random() is in (0, 1].
    return -load_s * beta * math.log(1.0 - rng.random()) >= left_s
