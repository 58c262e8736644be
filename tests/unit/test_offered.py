"""What is offered, as a person reads it, and that the README asks for what is there."""

from __future__ import annotations

import itertools
import re
import shlex
from pathlib import Path

import msgspec
import pytest

from bidplane_agents import offered, placing
from bidplane_streams.embedded import devices
from bidplane_topics import selectors
from bidplane_topics.rounds import PoolRound

CLASS = "gpu.nvidia.com"
README = Path(__file__).parents[2] / "agents" / "README.md"


def pool(device_class: str = CLASS, **facts: str | int) -> PoolRound:
    """A pool with those facts, half of it on sale."""
    return PoolRound(
        units_offered=28, units_sold=0, units_total=56, price_micros=2_000_000, reserve_micros=1,
        scarcity_permille=1000, device_class=device_class, facts=facts,
    )  # fmt: skip


def simulated(number: int) -> PoolRound:
    """The pool of a simulated node of `bidplane up`, with what the inventory source reads of it."""
    model = devices.model_of(number)
    return pool(
        productName=model.product, memory=f"{model.memory_gi}Gi", architecture=model.architecture,
        domain="rack-00",
    )  # fmt: skip


@pytest.mark.parametrize("found", [pool(name="a b", index=3), pool("nic.x", domain="r|1")])
def test_the_terms_of_a_pool_select_it_when_pasted(found: PoolRound) -> None:
    """A shell and the bid command read them back as a selector that the pool meets."""
    words = shlex.split(offered.terms(found, CLASS))
    assert set(words[::2]) == {"--select"}
    selector = placing.parse_selector([term.replace("r|1", "r1") for term in words[1::2]])
    facts = {name: "r1" if fact == "r|1" else fact for name, fact in found.facts.items()}
    assert selectors.meets(facts, "p", found.device_class, selector, CLASS)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"memory": "80Gi"}, "whole devices"),
        ({"profile": "1g.10gb"}, "static MIG 1g.10gb"),
        ({"companions": "nic.x"}, "whole devices with nic.x"),
        ({"isolation": "none", "shares": 10}, "shares, 10 a device, isolation none"),
        ({"profile": "1g", "isolation": "none", "shares": 2},
         "static MIG 1g, 2 a device, isolation none"),
    ],
)  # fmt: skip
def test_a_pool_says_what_one_thing_of_it_is(facts: dict[str, str | int], words: str) -> None:
    """Whole, cut, shared or in a bundle, and what isolates it where little does."""
    assert offered.kind(msgspec.structs.replace(pool(), facts=facts)) == words


def test_a_market_shows_its_pools_with_units_and_prices() -> None:
    """Units on sale and in all, the last price, the reserve, and the class that bids mean."""
    text = "\n".join(
        offered.lines(
            [offered.Offered(market="m", window=7, device_class=CLASS, pools={"p": pool(a="b")})]
        )
    )
    for part in (
        "window 7",
        "p: gpu.nvidia.com, whole devices, 28 of 56 units",
        "last price 2.00",
        "scarcity 1000",
        "--select a=b",
    ):
        assert part in text


def test_an_empty_market_says_what_would_offer_something() -> None:
    """Without pools the source is named, without rounds the worker."""
    empty, unread = offered.lines(
        [offered.Offered(market="m", window=1), offered.Offered(market="n")]
    )
    assert "`bidplane source inventory --market m`" in empty
    assert "`bidplane worker`" in unread


def test_the_readme_asks_for_devices_that_up_has() -> None:
    """Every selector in the README's row of `bid` is met by a pool of the simulated nodes."""
    row = next(line for line in README.read_text().splitlines() if line.startswith("| `bid "))
    text = row.replace("\\|", "|")
    code = " ".join(re.findall(r"`(--(?:select|alternative)[^`]*)`", text))
    words = shlex.split(code)
    terms = [word for flag, word in itertools.pairwise(words) if flag == "--select"]
    ways = [word for flag, word in itertools.pairwise(words) if flag == "--alternative"]
    assert terms
    assert ways
    asked = [placing.parse_selector(terms)]
    asked += [dict(placing.parse_alternative(way).selector) for way in ways]
    pools = [simulated(0), simulated(1)]
    for selector in asked:
        assert any(selectors.meets(one.facts, "p", CLASS, selector, CLASS) for one in pools)
