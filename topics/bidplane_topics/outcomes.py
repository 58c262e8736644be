"""What an agent is told; the router copies it, byte for byte, to its tenant's topic."""

from __future__ import annotations

from typing import Literal

from bidplane_topics.event import Count, Event, Millis
from bidplane_topics.ids import Name
from bidplane_topics.leases import LeasedDevice
from bidplane_topics.money import Micros
from bidplane_topics.receipts import Receipt
from bidplane_topics.rejections import Rejection

OutcomeKind = Literal[
    "registered", "granted", "refused", "replayed", "held", "won", "lost", "cancelled", "expired",
    "declined", "settled", "bound", "notice", "ending", "voided", "ended", "receipt", "offered",
    "transferred",
]  # fmt: skip
# A bid has exactly one of these. `declined` refuses a command that is no bid; `replayed` refuses a
# record, not a bid; what follows `won` is the lease's own life, and `settled` tells that money has
# moved (evidence: available_micros, held_micros). `receipt` is about a round, not about one bid:
# its `bid_id` is empty. `offered` tells the seller its offer's id, and `transferred` that it was
# taken; the buyer is told `won` under the id of its accept command.
TERMINAL_BID_KINDS: frozenset[str] = frozenset({"refused", "won", "lost", "cancelled", "expired"})


class OutcomeReported(Event, frozen=True, kw_only=True):
    """One fact for one agent. ``reason`` and ``sentence`` say why, ``evidence`` gives the figures.

    ``evidence`` holds only what the agent may know: own values, public prices, capacities.
    """

    outcome_id: str
    kind: OutcomeKind
    tenant: Name
    agent: str
    at_ms: Millis
    bid_id: str = ""
    market: str = ""
    window: Count = 0
    reason: Rejection | None = None
    sentence: str = ""
    evidence: dict[str, int | str] = {}
    amount_micros: Micros = 0
    price_micros: Micros = 0
    refund_micros: Micros = 0
    lease_id: str = ""
    epoch: Count = 0
    level: Count = 0
    market_pool: str = ""
    devices: tuple[LeasedDevice, ...] = ()
    ends_at_ms: Millis = 0
    grace_until_ms: Millis = 0
    receipt: Receipt | None = None
    offer_id: str = ""
