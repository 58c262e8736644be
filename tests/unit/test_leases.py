"""What a lease gives back when it ends."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import builders
from bidplane_streams.market import leases

T = builders.T0_MS


@pytest.mark.parametrize(
    ("bound_ms", "cause", "after_ms", "refund"),
    [
        (0, "bind_timeout", 5000, 1000),
        (0, "released", 5000, 970),
        (T, "released", 0, 970),
        (T, "released", 1, 870),
        (T, "node_lost", 1, 900),
        (T, "bind_failed", 4000, 600),
        (T, "node_lost", 4001, 500),
        (T, "released", 9999, 0),
        (T, "expired", 12_000, 0),
        (T, "node_lost", 12_000, 0),
    ],
)
def test_unused_slots_come_back(bound_ms: int, cause: str, after_ms: int, refund: int) -> None:
    """A begun slot is used; what is unused comes back, less the fee where the holder chose."""
    ends_ms = bound_ms and bound_ms + 10_000
    lease = builders.lease(bound_at_ms=bound_ms, ends_at_ms=ends_ms, cause=cause, state="ending")
    assert leases.refund_micros(lease, T + after_ms, 1000, 30) == refund


@settings(derandomize=True, database=None, deadline=None)
@given(
    price=st.integers(0, 2**53 - 1), duration_ms=st.integers(1, 10**7),
    slot_ms=st.integers(1, 10**6), fee=st.integers(0, 2**53 - 1), times=st.tuples(
        st.integers(-(10**4), 10**7), st.integers(0, 10**7)),
    cause=st.sampled_from(("released", "node_lost", "expired")), bound=st.booleans(),
)  # fmt: skip
def test_a_refund_only_shrinks(
    price: int, duration_ms: int, slot_ms: int, fee: int, times: tuple[int, int],
    cause: str, *, bound: bool,
) -> None:  # fmt: skip
    """A refund is never negative, never above the price, and never grows with time."""
    lease = builders.lease(
        price_micros=price, duration_ms=duration_ms, bound_at_ms=T if bound else 0,
        ends_at_ms=T + duration_ms if bound else 0, cause=cause,
    )  # fmt: skip
    first = leases.refund_micros(lease, T + times[0], slot_ms, fee)
    later = leases.refund_micros(lease, T + times[0] + times[1], slot_ms, fee)
    assert 0 <= later <= first <= price
