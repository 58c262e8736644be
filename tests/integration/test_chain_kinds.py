"""The chain for what is no plain device: a bundle, a share and an FPGA, from bid to running pod."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest

from bidplane_streams.embedded.unusual import FPGA_DRIVER
from live_system import Live, until, up

CLUSTER = "research/kinds"
BID = ("bid", "--agent", CLUSTER, "--market", "pool-a", "--wait", "--json", "--value", "5")
NIC = "nic.bidplane.io"


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """One mixed node, whose GPUs are sold with their NICs."""
    words = ("--nodes", "1", "--mixed", "1", "--companion", NIC)
    with up(tmp_path_factory.mktemp("kinds") / "system", *words) as running:
        yield running


@pytest.fixture(scope="module")
def config(live: Live) -> str:
    """The kubeconfig of an agent with a control plane."""
    live.run("agent", "register", CLUSTER, "--credits", "500", "--cluster")

    def path() -> str | None:
        file = pathlib.Path(live.state()["clusters"]) / CLUSTER / "kubeconfig"
        return str(file) if file.exists() else None

    return until("the agent's kubeconfig", path, 120)


def won(live: Live, *words: str) -> dict[str, Any]:
    """Bid for one, and wait for it."""
    found: dict[str, Any] = json.loads(live.run(*BID, "--shape", "1", "--minutes", "0.5", *words))
    return found


def body(name: str, resources: dict[str, Any], **spec: Any) -> str:
    """A pod with one container."""
    container = {"name": "main", "image": "train:1", "resources": resources}
    return json.dumps(
        {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": [container], **spec},
        }
    )  # fmt: skip


def hosted(live: Live, config: str, name: str) -> dict[str, Any]:
    """The host's pod, once the agent's runs."""

    def runs() -> bool:
        found = json.loads(live.kubectl(config, "get", "pod", name, "-o", "json"))
        return bool(found["status"].get("phase") == "Running")

    until(f"{name} runs", runs)
    listed = json.loads(live.kubectl(live.state()["kubeconfig"], "get", "pods", "-A", "-o", "json"))
    (host,) = (one for one in listed["items"] if one["metadata"]["name"] == name)
    return dict(host)


def given(host: dict[str, Any]) -> list[str]:
    """The devices that the node handed to the pod."""
    text = host["metadata"]["annotations"]["bidplane.io/simulated-devices"]
    return [one.partition("/")[2] for one in text.split(",")]


def test_a_gpu_and_its_nic_come_to_one_pod(live: Live, config: str) -> None:
    """Who asks for one GPU of a bundle gets the NIC on its PCIe root with it."""
    lease = won(live, "--select", f"companions={NIC}")
    names = [one["name"] for one in lease["devices"]]
    assert names == [f"gpu-{names[0][-1]}", f"nic-{names[0][-1]}"]
    pod = body("bundle", {"limits": {"nvidia.com/gpu": "1"}})
    live.kubectl(config, "apply", "-f", "-", stdin=pod)
    assert given(hosted(live, config, "bundle")) == names


def test_two_shares_of_a_gpu_run_side_by_side(live: Live, config: str) -> None:
    """Each is a node of its own with a tenth of a GPU's part of the host."""
    for name in ("one", "two"):
        lease = won(live, "--select", "isolation=none: time-sliced")
        assert [one["name"] for one in lease["devices"]] == ["gpu-7"]
        limits = {"limits": {"nvidia.com/gpu.shared": "1"}}
        live.kubectl(config, "apply", "-f", "-", stdin=body(f"share-{name}", limits))
        host = hosted(live, config, f"share-{name}")
        assert given(host) == ["gpu-7"]
        cpu = host["spec"]["containers"][0]["resources"]["limits"]["cpu"]
        assert cpu == "1280m"  # of 128 CPUs, among ten whole weights, a tenth of one


def test_an_fpga_runs_a_pod(live: Live, config: str) -> None:
    """A class that the operator names is sold with its part of the host, and claimed by class."""
    lease = won(live, "--select", f"device_class={FPGA_DRIVER}")
    assert lease["devices"][0]["device_class"] == FPGA_DRIVER
    exactly = {"deviceClassName": FPGA_DRIVER}
    claim = {
        "apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim", "metadata": {"name": "card"},
        "spec": {"devices": {"requests": [{"name": "card", "exactly": exactly}]}},
    }  # fmt: skip
    uses = [{"name": "card", "resourceClaimName": "card"}]
    pod = body("card", {"claims": [{"name": "card"}]}, resourceClaims=uses)
    live.kubectl(config, "apply", "-f", "-", stdin=json.dumps(claim))
    live.kubectl(config, "apply", "-f", "-", stdin=pod)
    assert given(hosted(live, config, "card")) == [lease["devices"][0]["name"]]


def test_a_static_slice_runs_a_pod(live: Live, config: str) -> None:
    """It is asked for by its profile, and by the extended resource of its size."""
    lease = won(live, "--select", "profile=1g.10gb")
    pod = body("slice", {"limits": {"nvidia.com/mig-1g": "1"}})
    live.kubectl(config, "apply", "-f", "-", stdin=pod)
    assert given(hosted(live, config, "slice")) == [lease["devices"][0]["name"]]


def test_a_plain_bid_never_wins_a_part(live: Live, config: str) -> None:
    """Six whole GPUs are there: who asks for eight learns that nobody sells that."""
    told = live.run(*BID, "--shape", "8", "--minutes", "0.1", code=3)
    assert "shape" in told


def test_the_log_of_it_all_is_sound(live: Live, config: str) -> None:
    """The auditor recomputes bundles, shares, slices and FPGAs from the log alone."""

    def over() -> bool:
        claims = live.kubectl(
            live.state()["kubeconfig"], "get", "resourceclaims", "-A", "-o", "json"
        )
        return not json.loads(claims)["items"]

    until("every claim is gone", over, 90)
    told = live.run("market", "pools", "pool-a")
    assert all(words in told for words in ("static MIG 1g.10gb", "none: time-sliced", NIC))
    live.run("audit")
