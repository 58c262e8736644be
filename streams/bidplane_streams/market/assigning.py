"""Nodes that an operator assigns to one market of several.

Decides which offers of a node count: those under the newest assignment, by the market that it
names. So once a round has applied an assignment, no other market can sell the node, whatever a
source still writes; the round's ``inputs`` prove it. Refuses to know whether devices are in use:
the source of the new market waits for that.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from bidplane_streams.market.rows import Rows
from bidplane_topics.supply import NodeOffered


class Assigned(msgspec.Struct, frozen=True):
    """Where a node is sold, and which record says so: its offset on the markets topic + 1."""

    market: str
    number: int


def number_of(offset: int) -> int:
    """How offers name the assignment at this offset of the markets topic; 0 names none."""
    return offset + 1


def counts(assigned: Rows[Assigned], event: NodeOffered) -> bool:
    """Whether this offer is made under the newest assignment of its node, or there is none."""
    newest = assigned.get(event.node)
    if newest is None:
        return event.assignment == 0
    return (event.market, event.assignment) == (newest.market, newest.number)


def epoch(nodes: Rows[NodeOffered], names: Iterable[str]) -> int:
    """The highest epoch that devices of these nodes had in other markets."""
    return max((nodes[name].epoch for name in names), default=0)
