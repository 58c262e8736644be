"""Terms after terms, as an agent sees them: what is bid for, when it stops, what is believed."""

from __future__ import annotations

from typing import Any

import pytest

import builders
from bidplane_agents import history, renewing, view
from bidplane_agents.commands import renewing as command
from bidplane_agents.errors import BadInput
from bidplane_agents.lease import Lease
from bidplane_topics import ids
from bidplane_topics.leases import LeasedDevice
from bidplane_topics.outcomes import OutcomeKind, OutcomeReported

DEVICES = builders.lease().devices


def told(kind: OutcomeKind, bid_id: str = "t/a/k/1/0", **more: Any) -> OutcomeReported:
    """An outcome about lease l of one device."""
    given: dict[str, Any] = {
        "outcome_id": ids.joined(kind, bid_id), "tenant": "t", "agent": "a", "at_ms": 1,
        "market": "m", "lease_id": "l", "epoch": 4, "price_micros": 70, "ends_at_ms": 1000,
    }  # fmt: skip
    return OutcomeReported(kind=kind, bid_id=bid_id, **(given | more))


WON, BOUND = told("won", devices=DEVICES), told("bound", devices=DEVICES)
RENEWED = told("won", "t/a/k/2/0", ends_at_ms=3000, price_micros=90, devices=DEVICES)


@pytest.mark.parametrize(
    ("limits", "wanted"),
    [
        ({}, True),
        ({"until_ms": 1500}, True),
        ({"until_ms": 1499}, False),
        ({"spend_micros": 120}, True),
        ({"spend_micros": 119}, False),
    ],
)
def test_no_term_is_bid_for_beyond_a_limit(limits: dict[str, int], *, wanted: bool) -> None:
    """A term must end in time, and its whole value must still be within what may be spent."""
    terms = renewing.Terms(duration_ms=500, value_micros=50, **limits)
    assert terms.another(ends_at_ms=1000, spent_micros=70) == wanted


def test_a_renewal_bids_for_the_devices_that_are_held() -> None:
    """The bid names the lease and repeats how many whole devices it has."""
    place = renewing.place(
        market="m", lease_id="l", devices=DEVICES * 2, value_micros=5, duration_ms=1000
    )
    assert (place.renews, place.alternatives[0].shape, place.mode) == ("l", "2", "rigid")


def test_what_cannot_be_renewed_is_not_even_sent() -> None:
    """Slices, and devices of several nodes, are said to need a new bid."""
    other = LeasedDevice(
        node="n1", name="g", driver="d", pool="n1", uuid="u", device_class="c", parent="gpu-0",
    )  # fmt: skip
    for devices in ((other,), (*DEVICES, other)):
        with pytest.raises(BadInput, match="bid anew"):
            renewing.place(
                market="m", lease_id="l", devices=devices, value_micros=5, duration_ms=1000
            )


def test_a_lease_hears_of_its_next_term() -> None:
    """Its end and price are the new term's, its epoch and devices stay, and nobody is noticed."""
    lease = Lease(WON, BOUND)
    lease.hear(RENEWED)
    assert (lease.ends_at_ms, lease.price_micros) == (3000, 90)
    assert (lease.epoch, lease.devices, lease.noticed) == (4, DEVICES, None)


def test_a_term_that_is_lost_is_the_notice() -> None:
    """The first word that the lease will end counts: the lost bid's, with its reason and price."""
    lease = Lease(WON, BOUND)
    lost = told("lost", "t/a/k/2/0")
    lease.unrenewed(lost)
    lease.hear(told("notice"))
    assert lease.noticed == lost
    assert lease.live


def test_a_view_shows_a_renewed_lease_as_bound() -> None:
    """The won of another term changes end and price of what is held, not its state."""
    seen = view.View(tenant="t", agent="a")
    for outcome in (WON, BOUND, RENEWED):
        seen = view.told(seen, outcome)
    (held,) = seen.leases.values()
    assert (held.state, held.ends_at_ms, held.price_micros) == ("bound", 3000, 90)


def test_the_story_of_a_renewal_says_that_the_lease_goes_on() -> None:
    """`why` of a term that was won names the new end, where a first award says to wait."""
    told_so_far = [WON, BOUND, RENEWED]
    assert "goes on" in history.story(RENEWED.bid_id, told_so_far).next_step
    assert "Wait for `bound`" in history.story(WON.bid_id, [WON]).next_step


def test_every_term_that_is_kept_is_told() -> None:
    """Until when it lasts, what it cost, and how much of the limit is spent."""
    terms = renewing.Terms(duration_ms=500, value_micros=50, spend_micros=1_000_000)
    renewed = told("won", ends_at_ms=1_795_301_558_195, price_micros=250_000)
    assert command.renewed_line(renewed, 500_000, terms) == (
        "renewed until 2026-11-21 22:52:38 for 0.25; 0.50 of 1.00 credits spent"
    )
    lease = Lease(WON, told("bound", ends_at_ms=1_795_301_558_195))
    assert command.stopped_line(lease, 1_795_301_558_195 - 143_000).endswith(
        "the lease ends in 2m 23s, at 2026-11-21 22:52:38"
    )


def test_the_command_knows_a_lease_by_its_outcomes() -> None:
    """What was told of a lease says where it is and when its last term ends."""
    lease = command.standing("l", [WON, BOUND, RENEWED])
    assert (lease.market, lease.ends_at_ms) == ("m", 3000)
    for outcomes in ([], [WON], [WON, BOUND, told("ending")]):
        with pytest.raises(BadInput, match="no bound lease of yours"):
            command.standing("l", outcomes)
