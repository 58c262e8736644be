"""Kubernetes quantities as integers. Decides rounding: downwards. Pure."""

from __future__ import annotations

import re
from typing import Final

MIB: Final = 1024 * 1024
_FORM: Final = re.compile(r"\+?(\d+)(?:\.(\d*))?([EPTGMk]i?|[num]|Ki|[eE][+-]?\d{1,2}|)")
_STEPS: Final = "kMGTPE"
_SMALL: Final = {"m": 3, "u": 6, "n": 9}


def number(text: object, scale: int = 1) -> int:
    """A quantity ("2Ti", "500m", "1.5", 128) times ``scale``, floored; 0 where it is none."""
    matched = _FORM.fullmatch(str(text))
    if matched is None:
        return 0
    whole, part, unit = matched.group(1), matched.group(2) or "", matched.group(3)
    found = int(whole + part) * scale
    if unit in _SMALL:
        return int(found // 10 ** (len(part) + _SMALL[unit]))
    if unit[:1] in ("e", "E") and len(unit) > 1 and unit != "Ei":
        power = int(unit[1:]) - len(part)
        return int(found * 10**power if power >= 0 else found // 10**-power)
    power = _STEPS.find(unit[0].replace("K", "k")) + 1 if unit else 0
    return int(found * (1024 if unit.endswith("i") else 1000) ** power // 10 ** len(part))
