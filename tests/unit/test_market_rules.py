"""A market's rules as they are typed: limits in words, from the contract itself."""

from __future__ import annotations

import pytest

import builders
from bidplane_agents import market_rules
from bidplane_agents.errors import BadInput


@pytest.mark.parametrize(
    ("option", "text", "said"),
    [
        ("--window", "0s", "--window 0ms: at least 50ms"),
        ("--window", "2h", "--window 2h: at most 1h"),
        ("--slot", "0ms", "at least 1ms"),
        ("--max-duration", "31d", "at most 30d"),
        ("--grace", "31d", "at most 30d"),
        ("--window", "0", "a number and a unit"),
    ],
)
def test_a_time_beyond_the_contract_is_told_in_the_words_of_the_option(
    option: str, text: str, said: str
) -> None:
    """The option, what was typed and the limit; no word of the wire."""
    with pytest.raises(BadInput, match=said) as caught:
        market_rules.span_ms(option, text)
    assert "$" not in str(caught.value)


def test_what_the_contract_allows_is_read() -> None:
    """Both ends of a limit are allowed."""
    assert market_rules.span_ms("--window", "50ms") == 50
    assert market_rules.span_ms("--stale-after", "30d") == 30 * 86_400_000
    assert market_rules.permille("--pool-scarcity", "1000000") == 1_000_000


def test_an_unknown_rule_is_answered_with_those_there_are() -> None:
    """All three price rules are named."""
    assert market_rules.rule("uniform") == "uniform"
    with pytest.raises(BadInput, match="greedy, uniform, pay-as-bid"):
        market_rules.rule("foo")


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "x", "1000001"])
def test_scarcity_is_a_whole_number_of_permille(text: str) -> None:
    """Anything else is refused with the range."""
    with pytest.raises(BadInput, match="1 to 1000000"):
        market_rules.permille("--pool-scarcity", text)


def test_a_reserve_that_moves_shows_from_where_to_where() -> None:
    """Without a rate the reserve stands alone; with one its cap stands beside it."""
    still = builders.market(reserve_micros=10_000)
    moving = builders.market(
        reserve_micros=10_000, reserve_rate_permille=20, reserve_cap_micros=50_000
    )
    assert market_rules.reserve_range(still) == "0.01"
    assert market_rules.reserve_range(moving) == "0.01 to 0.05"
