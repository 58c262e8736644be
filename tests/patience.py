"""How long a test waits for something that must come: a busy machine is late, not wrong.

Waits end as soon as the thing is there, so patience costs nothing where the truth holds.
"""

from __future__ import annotations

import time

# Limits are named for an idle machine of two cores; others may share it.
FACTOR = 4


def deadline(seconds: float) -> float:
    """The moment on the monotonic clock up to which to wait."""
    return time.monotonic() + seconds * FACTOR
