"""How the interpreter shares itself out in a worker: between threads, and with its collector.

Decides a few numbers. A lane clears in a thread beside the loop that serves Kafka: at the usual
5 ms a turn, every answer of the broker could wait that long for it. And a collection over all that
a worker has loaded and remembers stops every thread: what start-up made is left out, the rest is
looked at more rarely. Refuses to switch the collector off: asyncio leaves cycles behind.
"""

from __future__ import annotations

import gc
import sys
from typing import Final

SWITCH_S: Final = 0.0005
COLLECT_AFTER: Final = (20_000, 20, 50)


def settle() -> None:
    """Call once, when everything is imported."""
    sys.setswitchinterval(SWITCH_S)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
