"""The clearing: greedy by density, in one scan that never looks back.

Decides who wins. Refuses to know money beyond the instance, named devices, and how winners pay:
that is pricing.py. No local search: the better of two heuristics is not monotone, hence not
truthful; nor v/√w, which reached 76-82 % of the LP bound where density with scarcity weights
reached 99 %.
"""

from __future__ import annotations

from typing import Final

from bidplane_streams.market import optimum, pricing, results
from bidplane_streams.market.greedy import Auction
from bidplane_topics.instances import Instance, Result

RULES: Final = (*pricing.PRICING, optimum.RULE)


def clear(instance: Instance, rule: str = "greedy") -> Result:
    """Clear one window.

    The input's order does not matter. Prices are micro-credits. Under ``exact``, whatever needs a
    solver falls back: the core has none.

    Raises:
        KeyError: ``rule`` is none of RULES.
    """
    if rule == optimum.RULE:
        return optimum.clear(instance, clear)
    price = pricing.PRICING[rule]
    auction = Auction(instance)
    outcome = auction.run()
    return results.assembled(instance, rule, outcome, price(auction, outcome))
