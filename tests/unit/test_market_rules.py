"""A market's rules as they are typed: limits in words, from the contract itself."""

from __future__ import annotations

import pytest

import builders
from bidplane_agents import errors, market_rules
from bidplane_agents.errors import BadInput
from bidplane_topics import markets


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


def test_every_rule_of_a_market_is_shown_by_its_option() -> None:
    """Weights, floors, drift and the solver's time are there, in the units that they are typed."""
    facts = dict(market_rules.facts(builders.market(
        entitlements={"t": 14}, weights={"t/a": 3}, reserves={"h": 50_000}, scarcity={"h": 1500},
        scarcity_rate_permille=100, reserve_rate_permille=20, reserve_cap_micros=500_000,
        solve_ms=300, grace_ms=0,
    )))  # fmt: skip
    assert len(facts) == len(markets.MarketDeclared.__struct_fields__) - 1  # without the version
    wanted = {
        "entitle": "t=14", "weight": "t/a=3", "pool reserve": "h=0.05", "pool scarcity": "h=1500",
        "scarcity rate": "100 permille", "reserve rate": "20 permille", "reserve cap": "0.50",
        "solve": "300ms", "grace": "0s", "window": "1s", "standing": "no",
        "fingerprint": "productName,memory,architecture,domain",
    }  # fmt: skip
    assert {name: facts[name] for name in wanted} == wanted
    usual = dict(market_rules.facts(builders.market()))
    assert usual["solve"] == "a quarter of the window, 2s at most"


def test_the_list_names_what_it_has_no_column_for() -> None:
    """What was set beside the columns, and nothing that is as it always is."""
    found = builders.market(weights={"t": 2}, solve_ms=300, window_ms=5000, grace_ms=10_000,
                            bind_deadline_ms=30_000)  # fmt: skip
    assert market_rules.besides(found) == ["weight", "solve"]


def test_a_market_that_was_declared_before_says_so() -> None:
    """And names the rules that were asked for in vain."""
    declared = builders.market(weights={"t": 2})
    same = {"market": "m", "window_ms": 1000, "weights": {"t": 2}}
    assert market_rules.kept(declared, same) == "m was declared before: nothing changed"
    other = {"weights": {"t": 3}, "fingerprint": ["x"]}
    assert market_rules.kept(declared, other).endswith("asked in: fingerprint, weight")


def test_a_market_that_is_not_there_is_answered_with_one_that_is_near() -> None:
    """In one line for every command that names one; without a near one it says where to look."""
    assert str(errors.no_market("pol-a", ["pool-a", "x"])) == (
        "no market 'pol-a': did you mean 'pool-a'? see `bidplane market list`"
    )
    assert str(errors.no_market("zz", ["pool-a"])) == "no market 'zz': see `bidplane market list`"


def test_a_reserve_that_moves_shows_from_where_to_where() -> None:
    """Without a rate the reserve stands alone; with one its cap stands beside it."""
    still = builders.market(reserve_micros=10_000)
    moving = builders.market(
        reserve_micros=10_000, reserve_rate_permille=20, reserve_cap_micros=50_000
    )
    assert market_rules.reserve_range(still) == "0.01"
    assert market_rules.reserve_range(moving) == "0.01 to 0.05"
