"""What a sink is: a pure plan over desired and observed, and actions that are applied one by one.

Decides the shape that every sink and source shares, so that one worker runs them all. Refuses to
know Kafka, Kubernetes and the clock: they are in ``worker``, in the sinks' ``observe`` and in an
argument.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class Action(Protocol):
    """One step towards the desired state; actions of one ``key`` never run at the same time.

    It may say more (``turns``): ``owner``, whose work it is, so that nobody takes all the room;
    ``later`` if nobody counts the seconds; ``aside`` if it costs the API server nothing.
    """

    @property
    def key(self) -> str:
        """What the action works on, e.g. a lease: back-off and order are per key."""
        ...


class Sink(Protocol):
    """A level-triggered worker's substance.

    ``plan`` sees whole states, never events: it may be called at any time, as often as wanted,
    after any crash. ``apply`` is idempotent: doing an action twice leaves the same objects.
    """

    name: str

    def observe(self) -> Any | None:
        """What is true now, from mirrors and tables; None while not all of it may be believed."""
        ...

    def plan(self, observed: Any, now_ms: int) -> Sequence[Action]:
        """The next step for every key that is not as desired. Pure."""
        ...

    async def apply(self, action: Any) -> None:
        """Take one step.

        Raises:
            SinkError: Retriable is tried again soon, Permanent rarely and loudly.
        """
        ...

    def doubt(self) -> None:
        """Believe nothing until it is read again: this process was frozen."""
        ...

    async def run(self) -> None:
        """Keep what ``observe`` reads true, until cancelled."""
        ...

    async def close(self) -> None:
        """Free what ``run`` does not own, e.g. connections or child processes."""
        ...
