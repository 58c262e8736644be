"""What a selector asks for, said once for markets and bidders.

Decides whether a pool's facts meet a selector. Refuses to know where the facts come from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bidplane_topics import bids

Facts = Mapping[str, str | int]
SAYS_CLASS: Final = frozenset({"pool", "device_class", "profile", "isolation"})


def meets(
    facts: Facts, pool: str, device_class: str, selector: bids.Selector, usual_class: str
) -> bool:
    """Whether every condition holds for the pool's attributes, name and device class.

    A selector that names neither pool nor class means ``usual_class``, the market's: a bid for "one
    device" must not win a network card, nor a part of a device, which has a class of its own. Who
    names a profile or an isolation means such a part.
    """
    if not SAYS_CLASS & set(selector) and device_class != usual_class:
        return False
    known = {**facts, "pool": pool, "device_class": device_class}
    return all(name in known and _holds(known[name], wanted) for name, wanted in selector.items())


def _holds(fact: str | int, wanted: str | int | bids.Condition) -> bool:
    if not isinstance(wanted, bids.Condition):
        return fact == wanted
    if wanted.one_of is not None:
        return fact in wanted.one_of
    return isinstance(fact, int) and wanted.at_least is not None and fact >= wanted.at_least
