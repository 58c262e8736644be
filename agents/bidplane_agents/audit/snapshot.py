"""One round as it was cleared: the instance rebuilt from the log, cleared again, held against it.

Decides which round is meant and whether it can still be rebuilt. Refuses to know how a window is
cleared: that is handed in, and what it gives must be what the round published.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from bidplane_agents.audit import rounds
from bidplane_agents.audit.books import Books
from bidplane_agents.audit.closing import Clear, Closing
from bidplane_agents.audit.contents import Contents, Seen
from bidplane_agents.audit.expected import Expected
from bidplane_agents.audit.findings import Findings
from bidplane_agents.audit.log import Log
from bidplane_agents.audit.replay import Replay
from bidplane_agents.errors import BadInput
from bidplane_topics import registry
from bidplane_topics.instances import Instance, Result
from bidplane_topics.rounds import RoundClosed


class Snapshot(NamedTuple):
    """A round: as published, as rebuilt, as cleared again, and where the two differ.

    ``strayed`` is the first earlier round that could not be recomputed: then the instance may not
    be the one that was cleared.
    """

    closed: RoundClosed
    instance: Instance
    result: Result
    differences: list[str]
    strayed: int | None


def take(
    log: Log, market: str, window: int, clear: Clear, progress: Callable[[str], None]
) -> Snapshot:
    """Replay the market up to the round, with ``clear`` for every clearing.

    Raises:
        BadInput: no such market or round, or what came before it is no longer kept.
    """
    progress(f"decoding {len(log)} records")
    contents = Contents(log)
    partition, upto = _upto(contents, market, window)
    if contents.late(upto[-1]):
        raise BadInput(f"window {window} of {market} closed while the log was read: ask again")
    gone = rounds.gone_topics(contents, partition)
    if gone:
        raise BadInput(
            f"window {window} of {market} cannot be rebuilt: the beginning of {', '.join(gone)} is "
            "no longer kept; name a copy with --load that `bidplane audit --save` made in time"
        )
    expected = Expected(Books(contents), partition, Findings())
    replay, before = Replay(partition, expected), dict[str, int]()
    strayed: int | None = None
    for seen in upto:
        expected.findings = Findings()
        closing = Closing(replay, seen, contents, expected, clear)
        if not closing.check(before) or closing.cleared is None:
            raise BadInput(
                f"window {window} of {market} cannot be rebuilt: the market's first declaration is "
                "no longer kept"
            )
        before = seen.event.inputs
        progress(f"round {seen.event.window} of {market}")
        if seen is not upto[-1] and not expected.findings.sound and strayed is None:
            strayed = seen.event.window
        cleared = closing.cleared
    return Snapshot(upto[-1].event, *cleared, _sentences(expected.findings), strayed)


def _upto(contents: Contents, market: str, window: int) -> tuple[int, list[Seen]]:
    """The partition, and its rounds up to the one that is meant."""
    every = [one for one in contents.all(registry.ROUNDS) if one.event.market == market]
    if not every:
        named = sorted({one.event.market for one in contents.all(registry.ROUNDS)})
        raise BadInput(
            f"no round of a market {market!r} is kept: there are rounds of "
            f"{', '.join(named) or 'no market'}"
        )
    upto = [one for one in every if one.event.window <= window]
    if not upto or upto[-1].event.window != window:
        near = [one.event.window for one in (*upto[-1:], *every[len(upto) : len(upto) + 1])]
        raise BadInput(
            f"{market} closed no window {window} that is kept: the nearest is "
            f"{' or '.join(map(str, near))}"
        )
    return upto[-1].record.partition, upto


def _sentences(findings: Findings) -> list[str]:
    return [one.sentence() for broken in findings.broken.values() for one in broken]
