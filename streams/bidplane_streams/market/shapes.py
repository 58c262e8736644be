"""Shapes and their size in units (sevenths of a device), as MECHANISM fixes them."""

from __future__ import annotations

from typing import Final

MIG: Final = ("1g", "2g", "3g", "4g")
WHOLE: Final = ("1", "2", "4", "8")
GANGS: Final = ("16", "32", "64")
UNITS: Final[dict[str, int]] = {
    "1g": 1, "2g": 2, "3g": 3, "4g": 4, "1": 7, "2": 14, "4": 28, "8": 56, "16": 112, "32": 224,
    "64": 448,
}  # fmt: skip
NODE_DEVICES: Final = 8
