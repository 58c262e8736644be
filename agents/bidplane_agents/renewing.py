"""Terms after terms: a lease that is bid for again before each end, as long as it is worth it.

Decides when the next term is bid for and when to stop. Refuses to decide its price: that is the
market's, like that of any bid. Every term that was won is the holder's to its end; only between two
of them can somebody who bids more take its place.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from bidplane_agents import clock, placing
from bidplane_agents.errors import BadInput, Refusal, Unreachable
from bidplane_topics import bids
from bidplane_topics.leases import LeasedDevice
from bidplane_topics.outcomes import OutcomeReported

if TYPE_CHECKING:
    from bidplane_agents.client import Client
    from bidplane_agents.lease import Lease

# A renewal is decided before the lease's end; the word of it may take this much longer.
WORD_S: Final = 30.0


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What every further term is worth, and how long it lasts.

    ``until_ms``: no term that would end later is bid for; 0 sets no end. ``spend_micros``: nor one
    that could make the whole lease cost more; 0 sets no limit.
    """

    duration_ms: int
    value_micros: int
    until_ms: int = 0
    spend_micros: int = 0

    def another(self, ends_at_ms: int, spent_micros: int) -> bool:
        """Whether one more term is wanted after ``ends_at_ms``."""
        if self.until_ms and ends_at_ms + self.duration_ms > self.until_ms:
            return False
        return not self.spend_micros or spent_micros + self.value_micros <= self.spend_micros


def place(
    *, market: str, lease_id: str, devices: tuple[LeasedDevice, ...], value_micros: int,
    duration_ms: int,
) -> bids.Place:  # fmt: skip
    """The bid for another term of a lease of these devices.

    Raises:
        BadInput: a lease of such devices is never renewed.
    """
    whole = [one for one in devices if not one.companion_of]
    if any(one.parent for one in whole) or len({one.node for one in whole}) != 1:
        raise BadInput(f"lease {lease_id}: only whole devices of one node are renewed: bid anew")
    way = placing.alternative(str(len(whole)), duration_ms)
    return placing.checked(
        market=market, value_micros=value_micros, alternatives=(way,), renews=lease_id
    )


async def keep(
    client: Client, lease: Lease, terms: Terms, lost: Callable[[OutcomeReported], None],
    won: Callable[[OutcomeReported, int], None] = lambda *_: None,
) -> None:  # fmt: skip
    """Bid for one term after the other; tell ``lost`` of the one that was not won, and stop.

    ``won`` hears each that was, and what the lease cost so far, in micro-credits. The next term is
    bid for as soon as one is sure, so its money is held from then on.
    """
    spent_micros = lease.price_micros
    while lease.live and terms.another(lease.ends_at_ms, spent_micros):
        try:
            bid_id = await client.renew_for(lease, terms.value_micros, terms.duration_ms)
            left_s = max(0, lease.ends_at_ms - clock.now_ms()) / 1000
            renewed = await client.wait_for(bid_id, {"won"}, left_s + WORD_S)
        except Refusal as error:
            lost(error.outcome)
            return
        spent_micros += renewed.price_micros
        lease.hear(renewed)
        won(renewed, spent_micros)


async def quietly(
    client: Client, lease: Lease, terms: Terms, lost: Callable[[OutcomeReported], None]
) -> None:
    """``keep``, where a server that cannot be reached means that the lease ends as any other."""
    with contextlib.suppress(Unreachable):
        await keep(client, lease, terms, lost)
