"""The pure plans of sinks: what follows from desired and observed, without any server."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidplane_streams.sinks import (
    claims_binding,
    claims_objects,
    claims_plan,
    errors,
    hardware,
    kube,
    mirror,
    names,
    spaces,
    worker,
)
from bidplane_topics import leases, reports

Object = dict[str, Any]
AT_MS = 1_700_000_000_000
CLAIMS, ANCHORS = kube.CLAIMS, kube.DEVICE_LEASES


def lease(**changes: Any) -> leases.LeaseChanged:
    """Two devices on one node, one on another, just awarded."""
    devices = tuple(
        leases.LeasedDevice(
            node=node, name=name, driver=names.GPU_DRIVER, pool=node, uuid=f"GPU-{node}-{name}",
            device_class=names.GPU_CLASS,
        )
        for node, name in (("n2", "gpu-0"), ("n1", "gpu-1"), ("n1", "gpu-0"))
    )  # fmt: skip
    shares = tuple(
        leases.LeasedNode(node=node, cpu_millis=8000, memory_mib=4096, ephemeral_mib=1024)
        for node in ("n1", "n2")
    )
    made = leases.LeaseChanged(
        market="m", lease_id="l1", bid_id="b", tenant="t", agent="a", state="awarded", epoch=3,
        window=1, market_pool="p", shape="3", level=1, devices=devices, nodes=shares,
        price_micros=1, duration_ms=1000, awarded_at_ms=AT_MS, bind_by_ms=AT_MS + 1000,
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


def standing(one: leases.LeaseChanged) -> claims_plan.Held:
    """What a bound lease has in the cluster."""
    found = []
    for number, node in enumerate(names.nodes(one)):
        claim = claims_objects.claim(one, number, node)
        claim["metadata"]["uid"] = f"uid-{number}"
        claim["status"] = claims_objects.status(one, node, "anchor", AT_MS)
        found.append(claim)
    anchor = claims_objects.anchor(one)
    anchor["metadata"]["uid"] = "anchor"
    return claims_plan.Held(claims=tuple(found), anchors=(anchor,))


def pod(**meta: Any) -> Object:
    """A pod on the lease, as the mirror keeps it."""
    return {
        "metadata": {"name": "p", "namespace": "bp-t-a", "uid": "u", **meta},
        "uses": ["l1-0"],
        "grace_s": 86_400,
    }


def seen(one: leases.LeaseChanged | None, **changes: Any) -> claims_plan.Observed:
    """A healthy cluster that has every device of the lease."""
    slots = {
        (device.driver, device.pool, device.name): hardware.Slot(device.uuid, "")
        for device in lease().devices
    }
    given: dict[str, Any] = {
        "market": "m",
        "partition": -1,
        "leases": {} if one is None else {one.lease_id: claims_plan.Desired(one, 2)},
        "held": {},
        "taken": {},
        "hardware": hardware.Hardware(slots, frozenset()),
        "missing_since_ms": {},
        "lost_after_ms": 1000,
        "said": {},
    }
    return claims_plan.Observed(**(given | changes))


def only(actions: list[Any]) -> Any:
    """The single action of a plan."""
    assert len(actions) == 1, actions
    return actions[0]


def test_an_award_is_bound_then_reported_until_the_market_moves() -> None:
    """Bind; once everything stands report it, and again with growing pauses."""
    one = lease()
    assert isinstance(only(claims_plan.plan(seen(one), AT_MS)), claims_plan.Bind)
    held = {"l1": standing(one)}
    report = only(claims_plan.plan(seen(one, held=held), AT_MS))
    assert report.event == reports.LeaseBound(market="m", lease_id="l1", epoch=3)
    assert report.partition == 2
    said: dict[str, claims_plan.Said] = {"l1": claims_plan.said(report, AT_MS)}
    pauses = []
    now_ms = AT_MS
    for _ in range(8):
        assert not claims_plan.plan(seen(one, held=held, said=said), said["l1"].again_ms - 1)
        pauses.append(said["l1"].again_ms - now_ms)
        now_ms = said["l1"].again_ms
        again = only(claims_plan.plan(seen(one, held=held, said=said), now_ms))
        said = {"l1": claims_plan.said(again, now_ms)}
    assert pauses == sorted(pauses)
    assert pauses[-1] == claims_plan.REPEAT_MOST_MS


def test_an_end_is_not_told_while_a_binding_of_the_lease_is_under_way() -> None:
    """What is being written may stand in a moment: its devices are not given back before."""
    one = lease(state="ending", epoch=4)
    assert claims_plan.plan(seen(one, busy={"l1"}), AT_MS) == []
    report = only(claims_plan.plan(seen(one), AT_MS))
    assert report.event == reports.LeaseReleased(market="m", lease_id="l1", epoch=4)


async def test_a_lease_that_began_to_end_is_not_bound_by_an_older_plan() -> None:
    """Whoever binds asks again whether the lease is wanted, before it writes anything."""
    nobody = kube.Kube(None, "nowhere")
    claims, anchors = (mirror.Mirror(nobody, kind, asyncio.Event()) for kind in (CLAIMS, ANCHORS))
    steps = claims_binding.Binding(nobody, "m", claims, anchors, lambda _: False, lambda: AT_MS)
    with pytest.raises(errors.Conflict, match="not wanted any more"):
        await steps.bind(lease(), claims_plan.Held(), time.monotonic())
    assert not steps.busy


async def test_a_lease_is_not_bound_by_a_plan_from_before_a_freeze() -> None:
    """The age of what is known counts from the plan, also where the step itself was quick."""
    nobody = kube.Kube(None, "nowhere")
    claims, anchors = (mirror.Mirror(nobody, kind, asyncio.Event()) for kind in (CLAIMS, ANCHORS))
    steps = claims_binding.Binding(nobody, "m", claims, anchors, lambda _: True, lambda: AT_MS)
    planned_s = time.monotonic() - worker.FROZEN_S - 0.1
    with pytest.raises(errors.Conflict, match="planned too long ago"):
        await steps.bind(lease(), claims_plan.Held(), planned_s)


def test_an_agents_namespace_is_applied_again_now_and_then() -> None:
    """A policy that somebody deleted is back ten minutes later, a whole namespace at once."""
    known = spaces.Spaces()
    assert not known.stands("ns", 0.0)
    known.applied("ns", 0.0)
    assert known.stands("ns", spaces.AGAIN_S - 1)
    assert not known.stands("ns", spaces.AGAIN_S)
    known.applied("ns", spaces.AGAIN_S)
    known.gone("ns")
    assert not known.stands("ns", spaces.AGAIN_S)


def test_a_renewed_lease_gets_its_new_end_written_and_nothing_else() -> None:
    """Another term is a new date on the claims that stand: no report, no claim, no revocation."""
    one = lease(state="bound", bound_at_ms=AT_MS, ends_at_ms=AT_MS + 1000)
    held = standing(one)
    more = msgspec.structs.replace(one, ends_at_ms=AT_MS + 61_000, term=1, renewed_by="r")
    step = only(claims_plan.plan(seen(more, held={"l1": held}), AT_MS))
    assert step == claims_plan.Bind(more, held)
    assert claims_plan.plan(seen(more, held={"l1": standing(more)}), AT_MS) == []


@pytest.mark.parametrize("missing", range(2))
def test_a_part_that_is_missing_is_made_again(missing: int) -> None:
    """A gang stands whole or it is bound again, also after it was reported."""
    one = lease(state="bound", bound_at_ms=AT_MS, ends_at_ms=AT_MS + 1000)
    held = standing(one)
    part = claims_plan.Held(held.claims[:missing] + held.claims[missing + 1 :], (), held.anchors)
    assert isinstance(only(claims_plan.plan(seen(one, held={"l1": part}), AT_MS)), claims_plan.Bind)
    assert claims_plan.plan(seen(one, held={"l1": held}), AT_MS) == []


@pytest.mark.parametrize(
    ("slot", "taken", "words"),
    [
        (None, None, "is in no ResourceSlice"),
        (hardware.Slot("GPU-other", ""), None, "is another device now"),
        (hardware.Slot("GPU-n1-gpu-0", "broken"), None, "is tainted: broken"),
        (hardware.Slot("GPU-n1-gpu-0", ""), ("ns/theirs", False), "by claim ns/theirs"),
    ],
)
def test_what_can_never_stand_fails_with_its_reason(
    slot: hardware.Slot | None, taken: tuple[str, bool] | None, words: str
) -> None:
    """Missing, exchanged, tainted, foreign: the market hears which, and nothing is bound."""
    one, address = lease(), (names.GPU_DRIVER, "n1", "gpu-0")
    slots = dict(seen(one).hardware.devices)
    if slot is None:
        del slots[address]
    else:
        slots[address] = slot
    there = seen(
        one,
        hardware=hardware.Hardware(slots, frozenset()),
        taken={} if taken is None else {address: taken},
    )
    failed = only(claims_plan.plan(there, AT_MS)).event
    assert isinstance(failed, reports.LeaseFailed)
    assert words in failed.reason


def test_what_may_stand_later_waits() -> None:
    """A device that an ending lease of ours still holds, or half-read slices, are no failure."""
    one, address = lease(), (names.GPU_DRIVER, "n1", "gpu-0")
    assert claims_plan.plan(seen(one, taken={address: ("l0", True)}), AT_MS) == []
    half = hardware.Hardware({}, frozenset({(names.GPU_DRIVER, "n1"), (names.GPU_DRIVER, "n2")}))
    assert claims_plan.plan(seen(one, hardware=half), AT_MS) == []


def test_a_pending_lease_is_nobodys_work() -> None:
    """Until a lease is awarded nothing of it is written or said, though its devices are free."""
    waiting = lease(state="pending", bind_by_ms=0, pending_until_ms=AT_MS + 1000)
    assert claims_plan.plan(seen(waiting), AT_MS) == []
    assert claims_plan.plan(seen(waiting), AT_MS + 60_000) == []
    over = msgspec.structs.replace(waiting, state="ending", epoch=4)
    step = only(claims_plan.plan(seen(over), AT_MS))
    assert isinstance(step, claims_plan.Report)
    assert isinstance(step.event, reports.LeaseReleased)


def test_an_ending_goes_fence_pods_devices_word() -> None:
    """Revoke while anything is unfenced or runs, wait while it ends, release, then report."""
    bound = lease(state="bound")
    ending = lease(state="ending", epoch=4)
    held = standing(bound)
    step = only(claims_plan.plan(seen(ending, held={"l1": held}), AT_MS))
    assert isinstance(step, claims_plan.Revoke)
    fenced = standing(lease(epoch=4))
    running = fenced._replace(pods=(pod(),))
    step = only(claims_plan.plan(seen(ending, held={"l1": running}), AT_MS))
    assert isinstance(step, claims_plan.Revoke)
    assert claims_plan.grace_s(running.pods[0]) == claims_plan.END_GRACE_S
    slow = fenced._replace(pods=(pod(deletionTimestamp="x", deletionGracePeriodSeconds=86_400),))
    step = only(claims_plan.plan(seen(ending, held={"l1": slow}), AT_MS))
    assert isinstance(step, claims_plan.Revoke)
    going = fenced._replace(pods=(pod(deletionTimestamp="x", deletionGracePeriodSeconds=10),))
    assert claims_plan.plan(seen(ending, held={"l1": going}), AT_MS) == []
    step = only(claims_plan.plan(seen(ending, held={"l1": fenced}), AT_MS))
    assert isinstance(step, claims_plan.Release)
    report = only(claims_plan.plan(seen(ending), AT_MS))
    assert report.event == reports.LeaseReleased(market="m", lease_id="l1", epoch=4)


def test_what_no_lease_explains_is_taken_down_in_the_same_order() -> None:
    """Leftovers of a lease that ended are revoked and released, and nobody is told."""
    left = standing(lease())
    busy = left._replace(pods=(pod(),))
    step = only(claims_plan.plan(seen(None, held={"l1": busy}), AT_MS))
    assert isinstance(step, claims_plan.Revoke)
    assert step.epoch == 3
    assert isinstance(
        only(claims_plan.plan(seen(None, held={"l1": left}), AT_MS)), claims_plan.Release
    )


def test_a_node_is_lost_only_after_its_time_and_only_with_a_live_lease() -> None:
    """Silence is reported once it has lasted; a lease that ends already needs no more words."""
    one = lease(state="bound", ends_at_ms=1, bound_at_ms=1)
    held = {"l1": standing(one)}
    silent = {"n1": AT_MS}
    assert claims_plan.plan(seen(one, held=held, missing_since_ms=silent), AT_MS + 999) == []
    actions = claims_plan.plan(seen(one, held=held, missing_since_ms=silent), AT_MS + 1000)
    lost = only(actions).event
    assert isinstance(lost, reports.NodeLost)
    assert lost.node == "n1"
    ending = lease(state="ending", epoch=4)
    there = seen(ending, held={"l1": standing(ending)}, missing_since_ms=silent)
    assert isinstance(only(claims_plan.plan(there, AT_MS + 1000)), claims_plan.Release)


def test_life_is_reported_every_five_seconds_once_the_market_is_known() -> None:
    """No partition, no word; then one word per period."""
    assert claims_plan.plan(seen(None), AT_MS) == []
    first = only(claims_plan.plan(seen(None, partition=1), AT_MS))
    said = {claims_plan.ALIVE: claims_plan.said(first, AT_MS)}
    assert claims_plan.plan(seen(None, partition=1, said=said), AT_MS + 4999) == []
    assert claims_plan.plan(seen(None, partition=1, said=said), AT_MS + 5000)


def test_only_both_marks_of_this_market_make_a_claim_ours() -> None:
    """Annotation or finalizer alone, or another market's, is somebody else's."""
    claim = standing(lease()).claims[0]
    assert claims_objects.is_ours(claim, "m")
    assert not claims_objects.is_ours(claim, "other")
    bare = claim | {"metadata": claim["metadata"] | {"finalizers": []}}
    assert not claims_objects.is_ours(bare, "m")
    unmarked = claim | {"metadata": claim["metadata"] | {"annotations": {}}}
    assert not claims_objects.is_ours(unmarked, "m")


def test_slices_count_only_in_whole_generations() -> None:
    """An old generation is ignored, a new one that is not whole yet hides its pool."""

    def part(generation: int, count: int, name: str) -> Object:
        pool = {"name": "n1", "generation": generation, "resourceSliceCount": count}
        spec = {"driver": "d", "pool": pool, "devices": [{"name": name}]}
        return hardware.project({"metadata": {"name": "s", "resourceVersion": "1"}, "spec": spec})

    whole = hardware.read([part(1, 1, "old"), part(2, 1, "new")])
    assert list(whole.devices) == [("d", "n1", "new")]
    half = hardware.read([part(1, 1, "old"), part(2, 2, "new")])
    assert half.devices == {}
    assert half.incomplete == {("d", "n1")}


WORD = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?", fullmatch=True)


@given(st.lists(st.tuples(WORD, WORD), min_size=2, max_size=6, unique=True))
def test_two_agents_never_share_a_namespace(owners: list[tuple[str, str]]) -> None:
    """Hyphens in names make no two agents the same, and every namespace fits Kubernetes."""
    spaces = [names.namespace(*owner) for owner in owners]
    assert len(set(spaces)) == len(owners)
    assert all(len(space) <= 63 for space in spaces)


def test_hyphens_do_not_join_two_agents() -> None:
    """a-b/c and a/b-c are two agents."""
    assert names.namespace("a-b", "c") != names.namespace("a", "b-c")
    assert names.namespace("research", "tuner") == "bp-research-tuner"


POD = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,80}[a-z0-9])?", fullmatch=True)


@given(st.lists(st.tuples(st.just("default") | WORD, POD), min_size=2, max_size=6, unique=True))
def test_two_pods_never_share_a_host_pod(pods: list[tuple[str, str]]) -> None:
    """Whatever the namespaces, host pods' names differ and fit."""
    made = [names.host_pod(*one) for one in pods]
    assert len(set(made)) == len(pods)
    assert all(len(name) <= 63 for name in made)


def test_claims_are_numbered_by_node_name() -> None:
    """The order of devices in the record does not decide which claim is which node's."""
    for order in itertools.permutations(lease().devices):
        one = lease(devices=order)
        assert [node.node for node in names.nodes(one)] == ["n1", "n2"]
