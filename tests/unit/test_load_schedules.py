"""Schedules of load tests: all of a run is written down, seeded, before anything is sent."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bidplane_agents.errors import BadInput
from bidplane_loadtest import traces
from bidplane_loadtest.load import replay, scenarios, schedule

PODS = (
    "name,num_gpu,gpu_milli,qos,creation_time,deletion_time\n"
    "a,1,400,LS,0,300\nb,0,0,BE,5,10\nc,8,1000,BE,100,9000\nd,1,90,LS,50,60\n"
)
REQUESTS = (
    "TIMESTAMP,ContextTokens,GeneratedTokens\n"
    "2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:56.6805900,4000,400\n"
)
PHASES = st.lists(
    st.builds(
        schedule.Phase, name=st.just("p"), seconds=st.floats(0.5, 20), rate=st.floats(0, 200),
        spacing=st.sampled_from(["even", "poisson"]),
    ),
    min_size=1, max_size=4,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(phases=PHASES, seed=st.integers(0, 2**32), envelope=st.sampled_from([1, 4, 64]))
def test_due_times_grow_within_their_phases(
    phases: list[schedule.Phase], seed: int, envelope: int
) -> None:
    """Due times never go back, and each lies within the phase that it is counted to."""
    due_us, phase = schedule.due_times(phases, seed, envelope)
    begins_us = np.array(schedule.begins_s(phases)) * schedule.US
    assert (np.diff(due_us) >= 0).all()
    assert (due_us >= np.floor(begins_us[phase])).all()
    assert (due_us <= begins_us[phase + 1]).all()


@settings(max_examples=60, deadline=None)
@given(rate=st.floats(1, 500), seconds=st.floats(1, 30), envelope=st.sampled_from([1, 16]))
def test_an_even_phase_has_its_exact_count(rate: float, seconds: float, envelope: int) -> None:
    """An even phase has rate times seconds bids, up to half a record."""
    phase = schedule.Phase(name="p", seconds=seconds, rate=rate, spacing="even")
    due_us, _ = schedule.due_times([phase], 1, envelope)
    assert abs(len(due_us) * envelope - rate * seconds) <= envelope / 2 + 1e-6


def test_a_poisson_phase_is_a_poisson_process() -> None:
    """Counts in equal intervals of a Poisson phase have a variance that equals their mean."""
    phase = schedule.Phase(name="p", seconds=1000, rate=20)
    due_us, _ = schedule.due_times([phase], 7)
    counts = np.bincount(due_us // schedule.US, minlength=1000)
    assert counts.mean() == pytest.approx(20, rel=0.05)
    assert counts.var() == pytest.approx(counts.mean(), rel=0.15)


def test_a_seed_fixes_everything() -> None:
    """The same seed draws the same load, byte for byte, and another seed another one."""
    phases = scenarios.SCENARIOS["burst"].phases(scenarios.SCENARIOS["burst"].knobs)
    one, same, other = (schedule.draw(phases, seed, 50) for seed in (3, 3, 4))
    assert one.due_us.tobytes() == same.due_us.tobytes()
    assert one.value_micros.tobytes() == same.value_micros.tobytes()
    assert one.due_us.tobytes() != other.due_us.tobytes()


def test_processes_divide_a_load_without_loss(tmp_path: pathlib.Path) -> None:
    """Parts of a load that are written and read hold every record once, with its phase."""
    load = schedule.draw([schedule.Phase(name="p", seconds=5, rate=100)], 1, 30)
    parts = []
    for index in range(3):
        schedule.save(load.of(load.agent % 3 == index), tmp_path / "part.npz")
        parts.append(schedule.read(tmp_path / "part.npz"))
    whole = np.sort(np.concatenate([part.due_us for part in parts]))
    assert whole.tobytes() == load.due_us.tobytes()
    assert sum(map(len, parts)) == len(load)
    assert parts[0].shapes == load.shapes


def test_budgets_cover_every_bid() -> None:
    """An agent's budget covers all that its bids could cost together."""
    load = schedule.draw([schedule.Phase(name="p", seconds=5, rate=320)], 1, 4, envelope=16)
    for agent, budget in enumerate(load.budgets(4)):
        most = sum(
            int(value) + more
            for value in load.value_micros[load.agent == agent]
            for more in range(16)
        )
        assert budget >= most


def test_a_burst_is_twenty_times_the_rate() -> None:
    """The burst's phase asks for twenty times the rate of the phases around it."""
    row = scenarios.SCENARIOS["burst"]
    rates = {phase.name: phase.rate for phase in row.phases(row.knobs)}
    assert rates["burst"] == 20 * rates["before"] == 20 * rates["after"]


def test_steps_are_whole_windows() -> None:
    """Every step of a capacity run lasts a whole number of windows and asks for half more."""
    row = scenarios.SCENARIOS["capacity"]
    knobs = scenarios.Knobs(rate=100, seconds=7, agents=1, steps=4, window_s=2.0)
    steps = [phase for phase in row.phases(knobs) if phase.measured]
    assert [phase.seconds for phase in steps] == [8.0] * 4
    assert [phase.rate for phase in steps] == [100, 150, 225, 338]


def test_every_pod_with_a_gpu_is_bid_for(tmp_path: pathlib.Path) -> None:
    """The openb list gives one bid for each pod with a GPU, and says what it skipped."""
    path = tmp_path / "pods.csv"
    path.write_text(PODS)
    made = replay.openb(path, 10, 1, 5)
    assert len(made.load) == made.stated["rows bid for"] == 3
    assert made.stated["skipped: pods without a GPU"] == 1
    assert made.stated["left out"] == 0
    assert [made.load.shapes[one] for one in made.load.shape] == ["3g", "1g", "8"]
    assert made.load.due_us.max() <= 10 * schedule.US


def test_every_request_is_bid_for(tmp_path: pathlib.Path) -> None:
    """The Azure trace gives one bid a request: tokens become seconds, on a slice or a GPU."""
    path = tmp_path / "azure.csv"
    path.write_text(REQUESTS)
    made = replay.azure(path, 5, 1, 5)
    assert [made.load.shapes[one] for one in made.load.shape] == ["1g", "1"]
    assert made.load.duration_ms.tolist() == [1000, 3000]  # 0.31 s is a slot; 1 s and 2 s
    assert made.load.due_us.tolist() == [0, 5 * schedule.US]
    assert made.stated["arrivals: trace seconds in a second"] == 2.0
    assert made.stated["durations raised to 1 s (a slot)"] == 1


def test_a_trace_without_work_is_refused(tmp_path: pathlib.Path) -> None:
    """A trace that nothing can be bid for is refused by its name."""
    path = tmp_path / "azure.csv"
    path.write_text(REQUESTS.splitlines()[0] + "\n")
    with pytest.raises(traces.TraceUnusable, match=r"azure\.csv: no row"):
        replay.azure(path, 5, 1, 5)


def test_an_unknown_scenario_names_the_known_ones() -> None:
    """A scenario that does not exist is refused with the list of those that do."""
    with pytest.raises(BadInput, match="smoke, capacity, soak, burst, failover"):
        scenarios.named("stress")
