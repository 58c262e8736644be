"""The kernel's door: the layout of its structure, and one call.

Decides what the C side sees (kernel/window.h holds the same layout). Refuses to know where the
library comes from, and what its answers become. The interpreter's lock is free during the call.
"""

from __future__ import annotations

import ctypes
import pathlib
from array import array
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from bidplane_streams.fast.columns import Columns
from bidplane_streams.market.feasibility import Counters
from bidplane_topics.instances import InstancePool

RULES: Final = {"greedy": 0, "uniform": 1, "pay-as-bid": 2}
CLEARED, BEYOND, NO_MEMORY, BROKEN = range(4)

_INTEGER: Final = ctypes.c_int64
_COLUMN: Final = ctypes.c_void_p
_COLUMNS: Final = (
    "value", "boost", "weight", "tier", "elastic", "level_min", "level_max", "pair_start",
    "pair_count", "pair_pool", "pair_shape", "pair_slots", "ids", "id_start", "id_length",
)  # fmt: skip
_IN: Final = ("capacity", "rest", "scarcity", "reserve", *_COLUMNS, "beacon")
_OUT: Final = {"won_row": "q", "won_alternative": "i", "won_level": "i", "paid": "q"}


class KernelBroken(Exception):
    """The kernel met what cannot be: a bug, after which it is not asked again."""


class _Window(ctypes.Structure):
    _fields_ = (
        *((name, _INTEGER) for name in ("rows", "pairs", "pools", "rule")),
        *((name, _COLUMN) for name in _IN),
        ("beacon_length", _INTEGER),
        *((name, _INTEGER) for name in ("winners", "replays", "steps")),
        *((name, _COLUMN) for name in _OUT),
    )


class Wins(NamedTuple):
    """Winners in the order of acceptance; the payments' replays and the pairs they looked at."""

    rows: array[int]
    alternatives: array[int]
    levels: array[int]
    paid: array[int]
    replays: int
    steps: int


class Kernel:
    """The loaded library."""

    def __init__(self, path: pathlib.Path) -> None:
        """Load it. Raises OSError or AttributeError for what is no kernel."""
        library = ctypes.CDLL(str(path))
        text, length = ctypes.c_char_p, ctypes.c_int64
        self._sha256 = library.bidplane_sha256
        self._sha256.argtypes = (text, length, text, length, ctypes.c_int, text)
        self._clear = library.bidplane_clear
        self._clear.argtypes = (ctypes.POINTER(_Window),)
        self._clear.restype = ctypes.c_int

    def clear(
        self, columns: Columns, pools: Sequence[InstancePool], beacon: bytes, rule: int
    ) -> Wins | None:
        """Who wins and pays what; None where numbers are beyond the kernel's bounds.

        ``pools`` come in the order of ``columns.pools``.

        Raises:
            KernelBroken: a bug.
        """
        empty = [Counters.of(pool) for pool in pools]
        # A winner holds a seventh of a device at least.
        most = min(len(columns.bids), sum(pool.units for pool in pools))
        held = {
            "capacity": array("q", [blocks for counters in empty for blocks in counters.capacity]),
            "rest": array("q", [count for counters in empty for count in counters.rest]),
            "scarcity": array("q", [pool.scarcity_permille for pool in pools]),
            "reserve": array("q", [pool.reserve_micros for pool in pools]),
            "beacon": array("B", beacon),
        }
        held |= {name: getattr(columns, name) for name in _COLUMNS}
        out = {name: array(code, bytes(array(code).itemsize * most)) for name, code in _OUT.items()}
        window: Any = _Window(
            rows=len(columns.bids), pairs=len(columns.pair_pool), pools=len(pools), rule=rule,
            beacon_length=len(beacon),
        )  # fmt: skip
        for name, column in (held | out).items():
            setattr(window, name, column.buffer_info()[0])
        verdict = self._clear(ctypes.byref(window))
        if verdict == BROKEN:
            raise KernelBroken("the kernel refused its own result")
        if verdict != CLEARED:
            return None
        rows, alternatives, levels, paid = (out[name][: window.winners] for name in _OUT)
        return Wins(rows, alternatives, levels, paid, window.replays, window.steps)

    def sha256(self, first: bytes, second: bytes, *, native: bool) -> bytes | None:
        """The kernel's own hash of two texts put together, for the tests.

        None: this processor has no instructions for it, and ``native`` asked for them.
        """
        digest = ctypes.create_string_buffer(32)
        known = self._sha256(first, len(first), second, len(second), native, digest)
        return digest.raw if known else None
