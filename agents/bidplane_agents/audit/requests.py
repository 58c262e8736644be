"""How far the accounts lane has read, and what it passed on to markets besides bids.

Decides which commands must have left a trace. Refuses to judge them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from bidplane_agents.audit.books import Books
from bidplane_agents.audit.contents import Seen
from bidplane_agents.audit.findings import Findings
from bidplane_agents.audit.heap import Record
from bidplane_agents.audit.money import Money
from bidplane_agents.audit.signatures import Signed
from bidplane_topics import bids, codec, envelope, ids, orders, registry
from bidplane_topics.errors import ContractError
from bidplane_topics.outcomes import OutcomeReported

_DEAL: Final = "deal"


class Requests:
    """What one partition's tenants asked of markets besides bids, by what it is about."""

    def __init__(self, books: Books, partition: int) -> None:
        """Find every request of ``partition``."""
        self._contents = books.contents
        self._made: dict[tuple[str, str], list[Seen]] = {}
        for one in books.contents.all(registry.ORDERS):
            event = one.event
            if isinstance(event, orders.OrderPlaced) or event.source != partition:
                continue
            self._made.setdefault(_about(event), []).append(one)

    def take(self, bid_id: str, lease_id: str) -> Seen | None:
        """A request to end an order or a lease that nobody has explained yet."""
        return self._taken((bid_id, lease_id))

    def dealt(self, command_id: str) -> Seen | None:
        """The offer or acceptance that a command made, once."""
        return self._taken((command_id, _DEAL))

    def _taken(self, about: tuple[str, str]) -> Seen | None:
        found = self._made.get(about)
        return found.pop(0) if found else None

    def excuse(self, signed: Signed) -> None:
        """A request may be the only trace of an envelope: what it could have made is no riddle."""
        for index, command in enumerate(signed.envelope.commands):
            self.dealt(signed.bid_id(index))
            if command.cancel is not None:
                self.take(command.cancel.bid_id, "")
            elif command.release is not None:
                self.take("", command.release.lease_id)

    def check_made(self, findings: Findings) -> None:
        """No request is left that no command made; each names the order's own market."""
        for left in self._made.values():
            for one in left:
                findings.check(
                    1, self._contents.late(one), one.record, "a request that no command made",
                    "none", one.event,
                )  # fmt: skip


def _about(event: Any) -> tuple[str, str]:
    """What a request is filed under: its command, or what it asks to end."""
    match event:
        case orders.OfferMade():
            return event.command_id, _DEAL
        case orders.OfferAccepted():
            return event.bid_id, _DEAL
        case orders.CancelRequested():
            return event.bid_id, ""
        case _:
            return "", event.lease_id


def reach_of_bids(books: Books, money: Money) -> int:
    """The last offset of bids that left a trace in money, answers or dead letters.

    The lane reads in order, so everything before it was judged.
    """
    contents, topic, partition = books.contents, registry.BIDS.name, money.partition
    reached = [
        origin[2] for origin, group in money.groups.items()
        if origin[0] == topic and not contents.late(group.entries[0])
    ]  # fmt: skip
    reached += [
        origin[2] for origin, letter in contents.dead.items()
        if origin[:2] == (topic, partition) and not contents.log.is_late(letter.record)
    ]  # fmt: skip
    begun = _begun(contents.log.of(topic, partition))
    for one in contents.of(registry.OUTCOMES, partition):
        if not contents.late(one):
            reached.append(_answered(one.event, begun))
    return max(reached, default=-1)


def _begun(records: Iterable[Record]) -> dict[str, int]:
    """The offset of each envelope by what its commands' ids begin with, forged or not."""
    found: dict[str, int] = {}
    for record in records:
        try:
            one: bids.Envelope = codec.decode(registry.BIDS, record.value)
            key_id = envelope.key_of(record.headers)
        except ContractError:
            continue
        first = ids.bid_id(one.tenant, one.agent, key_id, one.sequence, 0)
        found.setdefault(first.rpartition("/")[0], record.offset)
    return found


def _answered(event: OutcomeReported, begun: dict[str, int]) -> int:
    """The offset of the envelope that an outcome answers; -1 for none."""
    _, _, about = event.outcome_id.partition("|")
    if event.kind == "replayed":
        last = about.rpartition("|")[2]
        return int(last) if last.isdigit() else -1
    if event.kind in ("held", "refused", "declined"):
        return begun.get(about.rpartition("/")[0], -1)
    return -1
