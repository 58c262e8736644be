"""Kubernetes quantities as integers. Decides rounding: downwards. Pure."""

from __future__ import annotations

import re
from typing import Final

MIB: Final = 1024 * 1024
_FORM: Final = re.compile(r"(\d+)(?:\.(\d+))?([EPTGMk]i?|m|Ki|)")
_STEPS: Final = "kMGTPE"


def number(text: object, scale: int = 1) -> int:
    """A quantity ("2Ti", "500m", "1.5", 128) times ``scale``, floored; 0 where it is none."""
    matched = _FORM.fullmatch(str(text))
    if matched is None:
        return 0
    whole, part, unit = matched.group(1), matched.group(2) or "", matched.group(3)
    found = int(whole + part) * scale
    if unit == "m":
        return int(found // (1000 * 10 ** len(part)))
    power = _STEPS.find(unit[0].replace("K", "k")) + 1 if unit else 0
    return int(found * (1024 if unit.endswith("i") else 1000) ** power // 10 ** len(part))
