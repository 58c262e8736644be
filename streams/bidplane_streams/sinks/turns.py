"""Whose turn it is: which planned actions start when there is room.

Decides how many actions run at once and in which order the others wait: in the order of the plan,
owner after owner; an action that may come ``later`` after those that may not, but with room of its
own, so that neither kind starves the other. What costs the API server nothing runs ``aside``.
Refuses to know what an action does. What waits is replaced by every plan: nothing starts that the
newest plan does not want.
"""

from __future__ import annotations

import enum
from collections import Counter, deque
from collections.abc import Iterable
from typing import Final

from bidplane_streams.sinks import base

AT_ONCE: Final = 16
# Of those, so many for one owner: whoever makes much work for us waits behind itself.
AT_ONCE_EACH: Final = 4
# Of those, so many for what may come later, while such waits.
AT_ONCE_LATER: Final = 4
AT_ONCE_ASIDE: Final = 64


class Kind(enum.Enum):
    """Which room an action takes."""

    SOON = "soon"
    LATER = "later"
    ASIDE = "aside"


def kind_of(action: base.Action) -> Kind:
    """An action says so itself; most say nothing."""
    if getattr(action, "aside", False):
        return Kind.ASIDE
    return Kind.LATER if getattr(action, "later", False) else Kind.SOON


def owner_of(action: base.Action) -> str:
    """Whose work it is; empty where all of it is ours."""
    return str(getattr(action, "owner", ""))


class Turns:
    """What waits, and how many of which run."""

    def __init__(self) -> None:
        """Nothing waits."""
        self._waiting: dict[Kind, dict[str, deque[base.Action]]] = {kind: {} for kind in Kind}
        self._running: Counter[Kind] = Counter()
        self._of_owner: Counter[str] = Counter()

    def put(self, actions: Iterable[base.Action]) -> None:
        """These wait now, and nothing else."""
        self._waiting = {kind: {} for kind in Kind}
        for action in actions:
            owners = self._waiting[kind_of(action)]
            owners.setdefault(owner_of(action), deque()).append(action)

    def take(self) -> base.Action | None:
        """The next action that there is room for; it takes up room until ``done``."""
        for kind in self._open():
            action = self._first(kind)
            if action is not None:
                self._running[kind] += 1
                self._of_owner[owner_of(action)] += 1
                return action
        return None

    def done(self, action: base.Action) -> None:
        """It takes up no room any more."""
        self._running[kind_of(action)] -= 1
        owner = owner_of(action)
        self._of_owner[owner] -= 1
        if not self._of_owner[owner]:
            del self._of_owner[owner]

    def _open(self) -> list[Kind]:
        """The kinds that may start one more, the first choice first."""
        found = [Kind.ASIDE] if self._running[Kind.ASIDE] < AT_ONCE_ASIDE else []
        if self._running[Kind.SOON] + self._running[Kind.LATER] < AT_ONCE:
            kept = self._running[Kind.LATER] < AT_ONCE_LATER
            found += [Kind.LATER, Kind.SOON] if kept else [Kind.SOON, Kind.LATER]
        return found

    def _first(self, kind: Kind) -> base.Action | None:
        owners = self._waiting[kind]
        for owner in list(owners):
            if owner and self._of_owner[owner] >= AT_ONCE_EACH:
                continue
            waiting = owners.pop(owner)
            action = waiting.popleft()
            if waiting:
                owners[owner] = waiting  # behind the other owners
            return action
        return None
