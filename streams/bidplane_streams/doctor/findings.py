"""What the doctor found: what, where, what to do, and how bad it is.

Decides the severities. ``error``: something does not work. ``differs``: it is not as the registry
or the blueprint says. ``warning``: a person should look. ``note``: worth knowing, nothing to do.
Errors and differences make the exit code 5; the rest leaves it 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

Severity = Literal["error", "differs", "warning", "note"]
ORDER: Final[tuple[Severity, ...]] = ("error", "differs", "warning", "note")
TO_MEND: Final = 5


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing. ``where`` names the object: a topic, a market, a resource; ``todo`` is a step."""

    severity: Severity
    what: str
    where: str
    todo: str = ""


def ordered(found: Iterable[Finding]) -> list[Finding]:
    """The worst first, else as they came."""
    return sorted(found, key=lambda one: ORDER.index(one.severity))


def exit_code(found: Iterable[Finding]) -> int:
    """0, or 5 where something does not work or is not as it should be."""
    return TO_MEND if any(one.severity in {"error", "differs"} for one in found) else 0
