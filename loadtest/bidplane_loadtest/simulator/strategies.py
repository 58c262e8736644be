"""What an agent gains by not telling the truth, per rule: one window, one liar, many draws.

Decides five lies and how their gain is counted: what the liar gets is worth its true value to it,
less what it pays; a lie that always gains nothing, or loses, makes the rule truthful against it.
The clearing is the production core's. Refuses to know budgets and later windows.

Run as `python -m bidplane_loadtest.simulator.strategies`.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from bidplane_agents.commands import output
from bidplane_streams.exact import solving
from bidplane_streams.market import clearing, optimum
from bidplane_streams.market.shapes import UNITS
from bidplane_topics.bids import Shape
from bidplane_topics.instances import Instance, InstanceAlternative, InstanceBid, InstancePool

POOL: Final = "pool"
ME: Final = "me"
ALLY: Final = "ally"
# A value per GPU, in micro-credits, and how it varies.
MEAN: Final = 1_000_000
SIGMA: Final = 0.6
RIVALS: Final = 30
NODES: Final = (8, 8, 4, 2)
SHAPES: Final[tuple[Shape, ...]] = ("1", "1", "1", "2", "2", "4", "8")
COPIES: Final = 4
# Long enough for a proof in every draw.
SOLVE_MS: Final = 60_000
LARGER: Final[dict[str, Shape]] = {"1": "2", "2": "4", "4": "8", "8": "8"}


class Case(NamedTuple):
    """The same world told truthfully and with a lie; ``mine`` are the bids that the liar owns."""

    honest: Instance
    told: Instance
    mine: frozenset[str]


Lie = Callable[[random.Random, int], Case]


class Gain(NamedTuple):
    """Per rule and lie: what honesty and the lie leave of the value at stake, in percent.

    ``paid_off`` is the percentage of draws in which the lie was better.
    """

    rule: str
    lie: str
    honest: float
    lied: float
    paid_off: float


def bid(name: str, agent: str, shape: Shape, value: int, copies: int = 1) -> InstanceBid:
    """A rigid bid, or an elastic one for up to so many copies at ``value`` each."""
    return InstanceBid(
        bid_id=name, agent=agent, value_micros=max(1, value),
        mode="elastic" if copies > 1 else "rigid", level_max=copies,
        alternatives=(InstanceAlternative(pool=POOL, shape=shape, slots=1),),
    )  # fmt: skip


def draw(dice: random.Random, shape: Shape) -> int:
    """What a copy of the shape is worth."""
    return round(dice.lognormvariate(0, SIGMA) * MEAN) * UNITS[shape] // UNITS["1"]


def world(seed: int, *bids: InstanceBid) -> Instance:
    """These bids among rivals, who tell the truth."""
    dice = random.Random(f"rivals {seed}")
    rivals = []
    for number in range(RIVALS):
        shape = dice.choice(SHAPES)
        rivals.append(bid(f"rival-{number:02d}", f"rival-{number}", shape, draw(dice, shape)))
    return Instance(
        market="m", window=1, beacon=f"{seed:08x}", slot_ms=1000,
        pools=(InstancePool(name=POOL, device_class="gpu", nodes=NODES, reserve_micros=10_000),),
        bids=(*rivals, *bids),
    )  # fmt: skip


def shade(dice: random.Random, seed: int) -> Case:
    """Bid seven tenths of the value."""
    shape = dice.choice(SHAPES)
    value = draw(dice, shape)
    return Case(
        world(seed, bid(ME, ME, shape, value)), world(seed, bid(ME, ME, shape, value * 7 // 10)),
        frozenset({ME}),
    )  # fmt: skip


def boast(dice: random.Random, seed: int) -> Case:
    """Bid half as much again."""
    shape = dice.choice(SHAPES)
    value = draw(dice, shape)
    return Case(
        world(seed, bid(ME, ME, shape, value)), world(seed, bid(ME, ME, shape, value * 3 // 2)),
        frozenset({ME}),
    )  # fmt: skip


def split(dice: random.Random, seed: int) -> Case:
    """Four bids for one GPU under four names, in place of one elastic bid for up to four."""
    value = draw(dice, "1")
    names = [f"{ME}-{number}" for number in range(COPIES)]
    parts = [bid(name, name, "1", value) for name in names]
    whole = world(seed, bid(ME, ME, "1", value, COPIES))
    return Case(whole, world(seed, *parts), frozenset({ME, *names}))


def collude(dice: random.Random, seed: int) -> Case:
    """Two agents that want alike: the one with less to gain stays away; they share the gain."""
    shape = dice.choice(SHAPES)
    values = sorted(draw(dice, shape) for _ in range(2))
    ally, mine = bid(ALLY, ALLY, shape, values[0]), bid(ME, ME, shape, values[1])
    return Case(world(seed, ally, mine), world(seed, mine), frozenset({ME, ALLY}))


def enlarge(dice: random.Random, seed: int) -> Case:
    """Ask for a shape twice as large as what is of use."""
    shape = dice.choice(SHAPES)
    value = draw(dice, shape)
    return Case(
        world(seed, bid(ME, ME, shape, value)), world(seed, bid(ME, ME, LARGER[shape], value)),
        frozenset({ME}),
    )  # fmt: skip


LIES: Final[dict[str, Lie]] = {
    "shade": shade, "boast": boast, "split": split, "collude": collude, "enlarge": enlarge,
}  # fmt: skip


def utility(told: Instance, truth: dict[str, int], mine: frozenset[str], rule: str) -> int:
    """Micro-credits that the liars are better off: true values of what they won, less prices."""
    exact = rule == optimum.RULE
    cleared = solving.clear(told, SOLVE_MS) if exact else clearing.clear(told, rule)
    awards = cleared.awards
    won = [(name, awards[name]) for name in sorted(mine & awards.keys())]
    return sum(truth[name] * award.level - award.price_micros for name, award in won)


def truths(case: Case) -> dict[str, int]:
    """What a copy is worth under each of the liar's names: what the honest bid says."""
    honest = {one.bid_id: one.value_micros for one in case.honest.bids if one.bid_id in case.mine}
    return {name: honest.get(name, honest[ME]) for name in case.mine}


def gains(rule: str, lie: str, draws: int) -> Gain:
    """The mean over so many seeded worlds."""
    stake = honest = lied = better = 0
    for seed in range(draws):
        case = LIES[lie](random.Random(f"{lie} {seed}"), seed)
        truth = truths(case)
        plain = utility(case.honest, truth, case.mine, rule)
        other = utility(case.told, truth, case.mine, rule)
        honest, lied, better = honest + plain, lied + other, better + (other > plain)
        stake += sum(
            one.value_micros * one.level_max for one in case.honest.bids if one.bid_id in case.mine
        )
    return Gain(rule, lie, honest * 100 / stake, lied * 100 / stake, better * 100 / draws)


def main(arguments: list[str]) -> None:
    """Print the table; the one argument is the number of draws."""
    draws = msgspec.convert(arguments[0] if arguments else "300", int, strict=False)
    rows = [gains(rule, lie, draws) for rule in clearing.RULES for lie in LIES]
    output.table(
        ["rule", "lie", ">honest %", ">lie %", ">pays off in %"],
        [
            [row.rule, row.lie, f"{row.honest:.1f}", f"{row.lied:.1f}", f"{row.paid_off:.1f}"]
            for row in rows
        ],
    )


if __name__ == "__main__":
    main(sys.argv[1:])
