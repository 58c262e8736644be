"""From lane to lane without a gap: the numbers that each lane gives its records.

Decides whether anything was lost or repeated on the way. Refuses to know what the records say.
"""

from __future__ import annotations

from typing import Final

from bidplane_agents.audit.contents import Contents
from bidplane_agents.audit.findings import Findings
from bidplane_agents.audit.log import Place
from bidplane_topics import registry
from bidplane_topics.markets import MarketDeclared

# What a market's round says how far it has read.
INPUTS: Final = (registry.MARKETS, registry.SUPPLY, registry.REPORTS, registry.ORDERS)


def audit_numbers(contents: Contents, findings: Findings) -> None:
    """Orders count up per (source, market), settlements per (source, tenants' partition)."""
    for topic in (registry.ORDERS, registry.SETTLEMENTS):
        for partition in contents.log.partitions(topic.name):
            last: dict[int, int] = {}
            if contents.log.begins(topic.name, partition):
                for one in contents.of(topic, partition):
                    last.setdefault(one.event.source, one.event.seq - 1)
            for one in contents.of(topic, partition):
                source, seq = one.event.source, one.event.seq
                findings.same(
                    6, last.get(source, 0) + 1, seq, one.record,
                    f"the number that {source} gave its record",
                )  # fmt: skip
                last[source] = seq


def audit_addresses(contents: Contents, findings: Findings) -> None:
    """Whatever is asked of a market stands on the market's own partition."""
    homes = {
        one.event.market: one.event.partition
        for one in contents.all(registry.MARKETS)
        if isinstance(one.event, MarketDeclared)
    }
    for one in contents.all(registry.ORDERS):
        home = homes.get(one.event.market)
        # The declaration of a removed market may be compacted away.
        if home is not None or contents.log.is_whole(registry.MARKETS.name, 0):
            findings.same(
                6, home, one.record.partition, one.record, f"the partition of {one.event.market}"
            )


def audit_unreadable(contents: Contents, findings: Findings) -> None:
    """A record that does not decode lies in the dead letters, or has not been read yet."""
    dead_lettered = {topic.name for topic in registry.DEAD_LETTERED}
    read_to = _read_to(contents)
    for record in contents.unreadable:
        if record.topic not in dead_lettered:
            findings.check(6, False, record, "a record of a lane", "an event", "undecodable bytes")
        elif record.origin in contents.dead:
            continue
        elif record.offset < read_to.get(record.place, 0):
            findings.check(
                6, False, record, "an undecodable record that a round has read", "a dead letter",
                "none",
            )  # fmt: skip
        else:
            findings.left_open("undecodable records that nobody has set aside yet")


def _read_to(contents: Contents) -> dict[Place, int]:
    """How far markets have read their inputs, by what their rounds say."""
    found: dict[Place, int] = {}
    for one in contents.all(registry.ROUNDS):
        if contents.late(one):
            continue
        for topic in INPUTS:
            place = topic.name, 0 if topic.partitioned_by == "one" else one.record.partition
            found[place] = max(found.get(place, 0), one.event.inputs.get(topic.name, 0))
    return found
