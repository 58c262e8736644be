"""Who may be served on a device, from what the market told."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

import builders
from bidplane_agents.gate import Gate
from bidplane_topics.outcomes import OutcomeReported

DEVICE = builders.lease().devices[0]
ENDS_MS = 5_000


class Scene:
    """A server with one device and a clock that a test moves."""

    def __init__(self, early_ms: int = 0) -> None:
        """It has heard nothing."""
        self.now_ms = 1_000
        self.gate = Gate([DEVICE.uuid], early_ms=early_ms, clock=lambda: self.now_ms)

    def told(self, kind: Any, epoch: int, lease: str = "l", **more: Any) -> None:
        """The market says something of a lease on the device."""
        fields = {"devices": (DEVICE,) if kind == "bound" else (), "ends_at_ms": ENDS_MS} | more
        self.gate.hear(
            OutcomeReported(
                outcome_id=f"{kind}|{lease}|{epoch}", kind=kind, tenant="t", agent="a", at_ms=1,
                lease_id=lease, epoch=epoch, **fields,
            )
        )  # fmt: skip


def test_a_lease_is_served_from_its_first_word_to_its_end() -> None:
    """Under its own epoch, as often as wanted; not before, not under another, not after."""
    scene = Scene()
    assert not scene.gate.allows("l", 3)
    scene.told("bound", 3)
    assert all(scene.gate.allows("l", 3) for _ in range(100))
    assert not scene.gate.allows("l", 2)
    assert not scene.gate.allows("l", 4)
    assert not scene.gate.allows("other", 3)
    scene.now_ms = ENDS_MS
    assert not scene.gate.allows("l", 3)


def test_a_renewal_goes_on_under_the_same_epoch() -> None:
    """It is told as won, with the devices and the new end; an older word shortens nothing."""
    scene = Scene()
    scene.told("bound", 3)
    scene.told("won", 3, devices=(DEVICE,), ends_at_ms=2 * ENDS_MS)
    scene.told("bound", 3)
    scene.now_ms = ENDS_MS
    assert scene.gate.allows("l", 3)


def test_an_early_end_counts_as_soon_as_it_is_told_and_whatever_is_repeated() -> None:
    """A late repetition of ``bound`` gives nothing back."""
    scene = Scene()
    scene.told("bound", 3)
    scene.told("ending", 4)
    assert not scene.gate.allows("l", 3)
    scene.told("bound", 3)
    assert not scene.gate.allows("l", 3)
    assert not scene.gate.allows("l", 4)


def test_the_next_holder_ends_the_last_ones_right() -> None:
    """Also where only the new lease was heard of: its epoch is higher."""
    scene = Scene()
    scene.told("bound", 3)
    scene.told("bound", 5, "next")
    assert not scene.gate.allows("l", 3)
    assert scene.gate.allows("next", 5)


def test_devices_of_others_are_no_business_of_this_server() -> None:
    """A lease elsewhere is not served here."""
    scene = Scene()
    scene.told("bound", 3, devices=(replace(DEVICE, uuid="elsewhere"),))
    assert not scene.gate.allows("l", 3)


def test_a_server_may_stop_before_the_end() -> None:
    """So a clock that is behind serves nobody too long."""
    scene = Scene(early_ms=1_000)
    scene.told("bound", 3)
    scene.now_ms = ENDS_MS - 1_001
    assert scene.gate.allows("l", 3)
    scene.now_ms = ENDS_MS - 1_000
    assert not scene.gate.allows("l", 3)
