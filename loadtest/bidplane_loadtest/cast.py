"""Who plays: 24 agents in four tenants, what each wants, what each can pay.

Decides strategies, budgets, values and which agent gets which job; all of it seeded. Refuses to
know Kafka or clocks. A value per GPU-second is drawn from a lognormal, whatever the job's size.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from bidplane_loadtest.jobs import SEVENTHS, Arrival
from bidplane_topics import money
from bidplane_topics.bids import Alternative, Condition, Place

Strategy = Literal["gang", "single", "sweep", "slice"]

# Credits for a GPU-second, as the median of what work is worth; sigma of the logarithm.
VALUE_MEDIAN_MICROS: Final = 10_000
VALUE_SIGMA: Final = 0.6
# An agent with a cluster runs a pod in every lease by kubectl: a few, not hundreds.
CLUSTER_SHARE: Final = 0.5
CLUSTER_DURATION_MIN_MS: Final = 20_000
SWEEP_LEVELS_MAX: Final = 3
GANG_REST_MS: Final = 24_000

_AMPERE: Final = "Ampere"
_HOPPER: Final = "Hopper"


class Role(msgspec.Struct, frozen=True, kw_only=True):
    """An agent of the cast. ``purse`` is its budget as a share of what its jobs are worth."""

    tenant: str
    agent: str
    strategy: Strategy
    purse_permille: int
    urgency_permille: int
    cluster: bool = False
    rebids: int = 0

    @property
    def id(self) -> str:
        """tenant/name."""
        return f"{self.tenant}/{self.agent}"


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A job with its agent and its worth: for the whole job, or for each level of a sweep."""

    arrival: Arrival
    value_micros: int
    levels: int = 1

    @property
    def most_micros(self) -> int:
        """What it could cost at most."""
        return self.value_micros * self.levels


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A role with its asks by arrival, and the money it starts with."""

    role: Role
    asks: tuple[Ask, ...]
    budget_micros: int


def roles() -> tuple[Role, ...]:
    """5 trainers, 7 inference services, 6 sweeps, 6 users of slices; three have clusters."""
    return (
        *_tenant("research", "trainer", "gang", (900, 700, 500, 350, 150), 1300, 0),
        *_tenant("serving", "chat", "single", (1200, 1000, 900, 800, 600, 400, 60), 1500, 2),
        *_tenant("batch", "sweep", "sweep", (800, 600, 500, 400, 300, 120), 700, 0),
        *_tenant("lab", "slices", "slice", (1000, 800, 600, 500, 300, 40), 1000, 1),
    )


def _tenant(
    tenant: str, stem: str, strategy: Strategy, purses: tuple[int, ...], urgency: int, rebids: int
) -> tuple[Role, ...]:
    return tuple(
        Role(
            tenant=tenant, agent=f"{stem}-{number}", strategy=strategy, purse_permille=purse,
            urgency_permille=urgency, cluster=number == 0 and strategy != "sweep", rebids=rebids,
        )
        for number, purse in enumerate(purses)
    )  # fmt: skip


def strategy_of(arrival: Arrival) -> Strategy:
    """Gangs for whole boards, slices for shares; of single GPUs the best-effort ones are sweeps."""
    shape = arrival.job.shape
    if shape.endswith("g"):
        return "slice"
    if shape != "1":
        return "gang"
    return "sweep" if arrival.job.qos == "BE" else "single"


def assign(arrivals: Sequence[Arrival], seed: int) -> tuple[Part, ...]:
    """Give every arrival to one agent of its strategy, and each agent its budget."""
    dice = random.Random(f"cast {seed}")
    cast = roles()
    asks: dict[str, list[Ask]] = {role.id: [] for role in cast}
    for arrival in arrivals:
        able = [role for role in cast if role.strategy == strategy_of(arrival)]
        weights = [CLUSTER_SHARE if role.cluster else 1.0 for role in able]
        role = dice.choices(able, weights)[0]
        asks[role.id].append(_ask(role, arrival, dice))
    return tuple(_part(role, tuple(asks[role.id])) for role in cast)


def _ask(role: Role, arrival: Arrival, dice: random.Random) -> Ask:
    if role.cluster and arrival.duration_ms < CLUSTER_DURATION_MIN_MS:
        arrival = msgspec.structs.replace(arrival, duration_ms=CLUSTER_DURATION_MIN_MS)
    median = VALUE_MEDIAN_MICROS * role.urgency_permille // 1000
    per_gpu_s = median * dice.lognormvariate(0.0, VALUE_SIGMA)
    value = per_gpu_s * SEVENTHS[arrival.job.shape] / 7 * arrival.duration_ms / 1000
    levels = dice.randint(1, SWEEP_LEVELS_MAX) if role.strategy == "sweep" else 1
    return Ask(arrival=arrival, value_micros=max(1, round(value)), levels=levels)


def _part(role: Role, asks: tuple[Ask, ...]) -> Part:
    worth = sum(ask.most_micros for ask in asks)
    budget = max(money.MICROS_PER_CREDIT // 10, worth * role.purse_permille // 1000)
    cents = money.MICROS_PER_CREDIT // 100
    return Part(role=role, asks=asks, budget_micros=budget // cents * cents)


def place(role: Role, ask: Ask, market: str, now_ms: int, attempt: int) -> Place:
    """The bid for an ask. A repeated bid offers 15 % more each time; gangs rest in the book."""
    shape, duration_ms = ask.arrival.job.shape, ask.arrival.duration_ms
    value = ask.value_micros * (100 + 15 * attempt) // 100
    if role.strategy == "sweep":
        one = Alternative(selector={"architecture": _AMPERE}, shape=shape, duration_ms=duration_ms)
        return Place(
            market=market, mode="elastic", value_micros=value, level_max=ask.levels,
            alternatives=(one,),
        )  # fmt: skip
    return Place(
        market=market, value_micros=value,
        rest_until_ms=now_ms + GANG_REST_MS if role.strategy == "gang" else 0,
        alternatives=tuple(
            Alternative(selector=selector, shape=shape, duration_ms=duration_ms)
            for selector in _selectors(role.strategy, shape)
        ),
    )  # fmt: skip


def _selectors(strategy: Strategy, shape: str) -> tuple[dict[str, str | int | Condition], ...]:
    """Where each strategy looks: gangs want Hopper boards, and others leave two racks to them."""
    if strategy == "gang":
        return ({"architecture": _HOPPER},) if shape == "16" else (
            {"architecture": _HOPPER}, {"architecture": _AMPERE},
        )  # fmt: skip
    shared = Condition(one_of=("rack-02", "rack-03"))
    if strategy == "single":
        return ({"architecture": _AMPERE}, {"architecture": _HOPPER, "domain": shared})
    return ({"architecture": _AMPERE},)
