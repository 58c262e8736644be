"""Leases on standing claims: what a sink reports elsewhere, the lane says itself at the close.

Decides that such a lease is bound by the closing that awards it, and given back by the one that
ends it: the market's own claims hold the devices all along, so nothing is written in between.
Refuses to know who serves whom on a device: the holder's right is the lease with its epoch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bidplane_topics import reports

if TYPE_CHECKING:
    from bidplane_streams.market.market import Turn


def answer(turn: Turn) -> None:
    """Give back what ends; then bind what is awarded, those included who waited for it."""
    for lease in [row.lease for row in turn.state.leases.values()]:
        if lease.standing and lease.state == "ending":
            turn.report(
                reports.LeaseReleased(
                    market=lease.market, lease_id=lease.lease_id, epoch=lease.epoch
                )
            )
    for lease in [row.lease for row in turn.state.leases.values()]:
        if lease.standing and lease.state == "awarded":
            turn.report(
                reports.LeaseBound(market=lease.market, lease_id=lease.lease_id, epoch=lease.epoch)
            )
