"""Credits as typed and shown; money is integers throughout."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidplane_topics import money
from bidplane_topics.errors import ContractError


@pytest.mark.parametrize(
    ("text", "micros"),
    [("3.50", 3_500_000), ("0", 0), ("0.000001", 1), (" 7 ", 7_000_000), ("007.1", 7_100_000)],
)
def test_credits_are_read_exactly(text: str, micros: int) -> None:
    """Six decimals are a micro-credit, without a float in between."""
    assert money.parse_credits(text) == micros


@pytest.mark.parametrize(
    "text", ["", "-1", "1e3", "1,5", ".5", "1.", "0.0000001", "NaN", "٣", "9007199255", "1 2"]
)
def test_what_is_no_amount_is_refused(text: str) -> None:
    """Signs, exponents, other digits and more than six decimals are no credits."""
    with pytest.raises(ContractError):
        money.parse_credits(text)


@given(st.integers(0, money.MICROS_MAX))
def test_showing_and_reading_are_inverse(micros: int) -> None:
    """What is shown can be typed again."""
    assert money.parse_credits(money.format_credits(micros)) == micros


def test_negative_amounts_are_shown_with_their_sign() -> None:
    """The treasury may be below zero."""
    assert money.format_credits(-1_500_000) == "-1.50"


@given(st.integers(0, 2**53), st.integers(0, 1000), st.integers(1, 1000))
def test_a_share_never_exceeds_its_part(amount: int, part: int, whole: int) -> None:
    """Rounding down: shares of all parts together never give more than there was."""
    part = min(part, whole)
    given_back = money.share_floor(amount, part, whole)
    assert given_back + money.share_floor(amount, whole - part, whole) <= amount
