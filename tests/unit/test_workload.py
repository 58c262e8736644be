"""The seeded workload, the cast that bids for it, and how a run is added up."""

from __future__ import annotations

import statistics
from collections import Counter

import pytest

from bidplane_loadtest import cast, demo, jobs, pods, summary, tally, workload
from bidplane_topics import codec, registry
from bidplane_topics.bids import Command, Envelope, Place
from bidplane_topics.leases import LeasedDevice
from bidplane_topics.ledger import EntryKind, LedgerPosted, Origin
from bidplane_topics.outcomes import OutcomeReported
from bidplane_topics.rounds import PoolRound, RoundClosed


def test_a_seed_names_a_workload() -> None:
    """The same seed draws the same jobs, another seed others."""
    assert workload.draw(5, 300) == workload.draw(5, 300)
    assert workload.draw(5, 300).jobs != workload.draw(6, 300).jobs
    assert workload.gangs(5, 20, 1000) == workload.gangs(5, 20, 1000)


def test_durations_follow_the_trace() -> None:
    """The median duration of whole-GPU jobs is the trace's, within a fifth."""
    drawn = [job.duration_s for job in workload.draw(11).jobs if job.shape == "1"]
    assert 430 < statistics.median(drawn) < 650


@pytest.mark.parametrize(("at", "value"), [(0.0, 1), (0.01, 1), (0.5, 187), (0.99, 3780)])
def test_quantiles_meet_their_figures(at: float, value: int) -> None:
    """At a written-down percentile the draw is the written-down figure."""
    assert workload.quantile(workload.GAPS_S, at) == value


def parts() -> tuple[cast.Part, ...]:
    """The cast of a default demo."""
    return demo.prepare(demo.Plan())[0]


def test_the_cast_is_as_large_and_as_mixed_as_promised() -> None:
    """At least 20 agents in 4 tenants, four strategies, three clusters, budgets that differ."""
    played = parts()
    assert len(played) >= 20
    assert len({part.role.tenant for part in played}) >= 4
    assert len({part.role.strategy for part in played}) == 4
    assert sum(part.role.cluster for part in played) == 3
    assert len({part.budget_micros for part in played}) > len(played) // 2


def test_every_arrival_is_somebodys_ask() -> None:
    """Nothing is dropped between the workload and the agents, and gangs span nodes."""
    played, stated = demo.prepare(demo.Plan())
    shapes = Counter(ask.arrival.job.shape for part in played for ask in part.asks)
    assert sum(shapes.values()) == stated["taken"] + stated["training gangs added (seeded)"]  # type: ignore[operator]
    assert shapes["16"] > 0
    assert shapes["8"] > 0


def test_a_seed_names_a_cast() -> None:
    """The same seed gives the same values, budgets and owners."""
    assert parts() == parts()


def test_values_do_not_depend_on_size() -> None:
    """The value of a unit and second has the same median for small and for large jobs."""

    def density(shape: str) -> float:
        jobs_ = [
            jobs.Arrival(
                job=jobs.Job(name=f"j{n}", shape=shape, qos="LS", created_s=n, duration_s=600),  # type: ignore[arg-type]
                at_ms=n, duration_ms=20_000,
            )
            for n in range(800)
        ]  # fmt: skip
        asks = [ask for part in cast.assign(jobs_, 1) for ask in part.asks]
        return statistics.median(ask.value_micros / jobs.SEVENTHS[shape] for ask in asks)

    assert density("2") == pytest.approx(density("8"), rel=0.1)


def test_every_bid_of_the_cast_satisfies_the_contract() -> None:
    """Whatever the cast would send decodes as an envelope, first and repeated bids alike."""
    for part in parts():
        for ask in part.asks[:5]:
            for attempt in (0, 1):
                place = cast.place(part.role, ask, "pool-a", 1_000_000, attempt)
                sent = Envelope(
                    v=1, tenant=part.role.tenant, agent=part.role.agent, sequence=1,
                    expires_at_ms=2_000_000, commands=(Command(place=place),),
                )  # fmt: skip
                assert codec.decode(registry.BIDS, codec.encode(sent)) == sent


def test_gangs_rest_and_sweeps_are_elastic() -> None:
    """Strategies differ in what they sign, not only in their names."""
    first: dict[str, Place] = {}
    for part in parts():
        for ask in part.asks:
            first.setdefault(part.role.strategy, cast.place(part.role, ask, "m", 10, 0))
    assert first["gang"].rest_until_ms > 10
    assert first["sweep"].mode == "elastic"
    assert first["single"].rest_until_ms == 0
    assert first["slice"].alternatives[0].shape.endswith("g")


def device(node: str, name: str, profile: str = "") -> LeasedDevice:
    """A leased device."""
    return LeasedDevice(
        node=node, name=name, driver="gpu.nvidia.com", pool=node, uuid=name, profile=profile,
        device_class="gpu.nvidia.com",
    )  # fmt: skip


def test_a_lease_gets_one_ordinary_pod_for_each_node() -> None:
    """Limits name what the lease holds on that node; nothing in the manifest is bidplane's."""
    outcome = OutcomeReported(
        outcome_id="o", kind="bound", tenant="t", agent="a", at_ms=1, lease_id="l" + "0" * 24,
        devices=(device("n0", "gpu-0"), device("n0", "gpu-1"), device("n1", "gpu-0")),
    )  # fmt: skip
    made = pods.manifests(outcome)
    limits = [pod["spec"]["containers"][0]["resources"]["limits"] for pod in made]
    assert limits == [{"nvidia.com/gpu": "2"}, {"nvidia.com/gpu": "1"}]
    assert "bidplane" not in str(made)


def test_a_slice_is_asked_for_by_its_profile() -> None:
    """A MIG slice has an extended resource of its own."""
    outcome = OutcomeReported(
        outcome_id="o", kind="bound", tenant="t", agent="a", at_ms=1, lease_id="l" + "0" * 24,
        devices=(device("n0", "gpu-0-mig-2g-0", "2g"),),
    )  # fmt: skip
    (pod,) = pods.manifests(outcome)
    assert pod["spec"]["containers"][0]["resources"]["limits"] == {"nvidia.com/mig-2g": "1"}


def entry(kind: EntryKind, debit: str, credit: str, amount_micros: int) -> LedgerPosted:
    """A ledger entry of agent t/a."""
    return LedgerPosted(
        entry_id="e", kind=kind, debit=debit, credit=credit, amount_micros=amount_micros,
        tenant="t", agent="a", reference="r", at_ms=0,
        origin=Origin(topic="t", partition=0, offset=0),
    )  # fmt: skip


def test_a_purse_adds_up() -> None:
    """Granted minus spent plus refunded is what is left and held."""
    purse = tally.Purse()
    for one in (
        entry("grant", "treasury", "tenant/t", 100), entry("grant", "tenant/t", "agent/t/a", 100),
        entry("hold", "agent/t/a", "hold/t/a", 60), entry("charge", "hold/t/a", "revenue", 30),
        entry("unhold", "hold/t/a", "agent/t/a", 10), entry("refund", "revenue", "agent/t/a", 5),
    ):  # fmt: skip
        tally.post(purse, one)
    assert (purse.granted_micros, purse.spent_micros, purse.refunded_micros) == (100, 30, 5)
    assert purse.left_micros + purse.held_micros == 100 - 30 + 5
    assert purse.held_micros == 20


def closed(window: int, sold: int, offered: int, price_micros: int) -> RoundClosed:
    """A round of one GPU pool of 56 units and one idle pool of NICs."""
    gpu = PoolRound(
        units_offered=offered, units_sold=sold, units_total=56, price_micros=price_micros,
        reserve_micros=1, scarcity_permille=1000,
    )  # fmt: skip
    nic = PoolRound(
        units_offered=56, units_sold=0, units_total=56, price_micros=0, reserve_micros=1,
        scarcity_permille=1000,
    )  # fmt: skip
    return RoundClosed(
        market="m", window=window, closed_at_ms=window, inputs={}, rule="greedy", rule_version=1,
        slot_ms=1, beacon="", previous_root="", root="", orders=1, awarded=1, revenue_micros=7,
        pools={"gpu": gpu, "nic": nic}, leases_active=0, units_leased=0, units_total=112,
    )  # fmt: skip


def test_prices_and_utilisation_are_of_gpu_pools_and_sold_rounds() -> None:
    """Unsold rounds have no price; what was not offered is in use; NICs do not dilute it."""
    folded = tally.rounds([closed(1, 28, 56, 10), closed(2, 0, 28, 0)], {"gpu"})
    assert folded.rounds == 2
    assert folded.revenue_micros == 14
    assert list(folded.pools) == ["gpu"]
    pool = folded.pools["gpu"]
    assert (pool.price_min_micros, pool.price_mean_micros, pool.price_max_micros) == (10, 10, 10)
    assert folded.utilisation_permille == pool.utilisation_permille == 500


def test_percentiles_are_of_what_was_measured() -> None:
    """p50 and p99 are values that occurred; nothing measured gives nothing."""
    assert summary.percentiles([]) == {}
    assert summary.percentiles(list(range(100))) == {"count": 100, "p50": 50, "p99": 99, "max": 99}
