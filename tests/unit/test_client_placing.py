"""Bids as a person says them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidplane_agents import durations, placing
from bidplane_agents.errors import BadInput
from bidplane_topics import bids, codec, registry
from bidplane_topics.errors import ContractError


def test_a_rigid_bid_is_what_was_said() -> None:
    """Minutes become milliseconds, credits micro-credits, terms a selector."""
    selector = placing.parse_selector(["productName=H100", "memory>=80", "zone=a|b", "index=3"])
    place = placing.rigid(
        market="pool-a", shape="2", minutes="0.5", value="3.50", selector=selector
    )
    assert place == bids.Place(
        market="pool-a",
        value_micros=3_500_000,
        alternatives=(
            bids.Alternative(
                shape="2",
                duration_ms=30_000,
                selector={
                    "productName": "H100",
                    "memory": bids.Condition(at_least=80),
                    "zone": bids.Condition(one_of=("a", "b")),
                    "index": 3,
                },
            ),
        ),
    )


def test_an_elastic_bid_has_levels() -> None:
    """Its value is for each level."""
    place = placing.elastic(
        market="pool-a", shape="1g", minutes=1, value="0.05", levels=placing.parse_levels("2..6")
    )
    assert (place.mode, place.level_min, place.level_max) == ("elastic", 2, 6)


def test_an_alternative_is_one_word() -> None:
    """Shape, duration and terms between colons."""
    found = placing.parse_alternative("1g:90s:productName=H100,memory>=80")
    assert (found.shape, found.duration_ms, len(found.selector)) == ("1g", 90_000, 2)
    assert placing.parse_alternative("8:1h").selector == {}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"shape": "3"}, "shape '3': there are 1g"),
        ({"minutes": 0}, "must be above 0"),
        ({"minutes": -1}, "minutes"),
        ({"minutes": "x"}, "minutes 'x': write minutes as a number"),
        ({"value": "0"}, "worth something"),
        ({"value": 3.5}, "as text"),
        ({"market": "Pool A"}, "market"),
        ({"minutes": 100_000}, "at most 30d"),
        ({"market": "Ä"}, "lower-case letters"),
    ],
)
def test_a_wrong_part_is_named(wrong: dict[str, object], said: str) -> None:
    """Before anything is signed."""
    right: dict[str, object] = {"market": "m", "shape": "1", "minutes": 1, "value": "1"}
    with pytest.raises((BadInput, ContractError), match=said):
        placing.rigid(**{**right, **wrong})  # type: ignore[arg-type]


def test_a_shared_selector_is_every_alternatives() -> None:
    """What an alternative says of an attribute itself wins."""
    shared = placing.parse_selector(["architecture=Hopper", "memory=80Gi"])
    plain = placing.parse_alternative("1g:5m", shared)
    own = placing.parse_alternative("1:5m:architecture=Ampere", shared)
    assert plain.selector == {"architecture": "Hopper", "memory": "80Gi"}
    assert own.selector == {"architecture": "Ampere", "memory": "80Gi"}


@pytest.mark.parametrize(("count", "mode"), [(17, "rigid"), (2, "elastic")])
def test_too_many_alternatives_are_counted_in_plain_words(count: int, mode: str) -> None:
    """The number given and the number allowed, without the names of the wire."""
    ways = (placing.parse_alternative("1:5m"),) * count
    with pytest.raises(BadInput, match=f"^{count} alternatives: ") as caught:
        placing.checked(market="m", mode=mode, value_micros=1, alternatives=ways)
    assert "$" not in str(caught.value)


@pytest.mark.parametrize("text", ["a", "=b", "a>b", "a>=x", "a>=1.5", ""])
def test_a_term_is_an_attribute_an_operator_and_a_value(text: str) -> None:
    """Anything else is refused."""
    with pytest.raises(BadInput):
        placing.parse_selector([text])


@pytest.mark.parametrize("text", ["1", "1:", "1:5", "3:5m", ":5m", "1:5m:x"])
def test_half_an_alternative_is_refused(text: str) -> None:
    """A shape and a duration with its unit are the least."""
    with pytest.raises(BadInput):
        placing.parse_alternative(text)


def test_levels_are_a_range() -> None:
    """One number counts from one."""
    assert placing.parse_levels("4") == (1, 4)
    for wrong in ("", "a", "1..", "-1..2", "1...2", "1 2", "0..2", "3..2", "65"):
        with pytest.raises(BadInput):
            placing.parse_levels(wrong)


@pytest.mark.parametrize(
    ("text", "duration_ms"),
    [("500ms", 500), ("2s", 2000), ("1.5s", 1500), ("10m", 600_000), ("1h", 3_600_000),
     ("7d", 604_800_000)],
)  # fmt: skip
def test_durations_have_units(text: str, duration_ms: int) -> None:
    """A bare number could mean anything, so it is refused."""
    assert durations.parse_ms("--window", text) == duration_ms
    with pytest.raises(BadInput, match="--window"):
        durations.parse_ms("--window", text.rstrip("mshd"))


@given(st.integers(1, 10**10))
def test_shown_durations_can_be_typed(duration_ms: int) -> None:
    """Showing and reading are inverse."""
    assert durations.parse_ms("it", durations.show(duration_ms)) == duration_ms


@pytest.mark.parametrize(
    ("duration_ms", "said"),
    [(0, "0s"), (-5, "0s"), (143_999, "2m 23s"), (3_661_000, "1h 1m"), (90_061_000, "1d 1h")],
)
def test_a_time_that_is_left_is_told_in_two_units(duration_ms: int, said: str) -> None:
    """Nobody counts milliseconds until a lease's end."""
    assert durations.rough(duration_ms) == said


@given(st.text(max_size=30))
def test_any_text_is_a_bid_or_one_error_of_ours(text: str) -> None:
    """Whatever is typed, nothing but our own errors comes out, and what passes can be sent."""
    try:
        place = placing.rigid(market=text, shape="1", minutes=1, value=text)
    except (BadInput, ContractError):
        return
    envelope = bids.Envelope(
        v=1, tenant="t", agent="a", sequence=1, expires_at_ms=1,
        commands=(bids.Command(place=place),),
    )  # fmt: skip
    codec.decode(registry.BIDS, codec.encode(envelope))
