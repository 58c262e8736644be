"""Which agents' namespaces are known to stand, with the policy that silences their pods.

Decides for how long that is believed: nobody watches these objects, so they are applied again now
and then, and at once where the API server says that a namespace is gone. Refuses to call anybody.
"""

from __future__ import annotations

from typing import Final

AGAIN_S: Final = 600.0


class Spaces:
    """Namespaces by when they were applied last, in seconds of a clock that only grows."""

    def __init__(self) -> None:
        """None is known."""
        self._applied_s: dict[str, float] = {}

    def stands(self, name: str, now_s: float) -> bool:
        """Whether nothing is to be applied."""
        applied_s = self._applied_s.get(name)
        return applied_s is not None and now_s - applied_s < AGAIN_S

    def applied(self, name: str, now_s: float) -> None:
        """Namespace and policy stand now."""
        self._applied_s[name] = now_s

    def gone(self, name: str) -> None:
        """It is not there."""
        self._applied_s.pop(name, None)
