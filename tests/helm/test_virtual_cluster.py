"""The chart of a control plane says what the embedded control plane says, and guards its keys."""

from __future__ import annotations

import functools
import pathlib
from typing import Any

import pytest
import yaml

import chart_tools
import planes_world
from bidplane_streams import plane_pki
from bidplane_streams.embedded import flags
from bidplane_streams.sinks.providers import issued

PKI = pathlib.Path("/etc/bidplane/pki")
ALL = "--bind-address=0.0.0.0"  # the kubelet's probes come from outside the pod
LOOPBACK = "--bind-address=127.0.0.1"
PLANE = flags.Plane(
    flavour=flags.Flavour.AGENT, pki=PKI, api=6443, scheduler=10259, controllers=10257,
    etcd="https://127.0.0.1:2379", prefix="/registry", etcd_pki=PKI,
)  # fmt: skip
ETCD = flags.etcd(pathlib.Path("/var/lib/etcd/data"), 2379, 2380, PKI)
# What the embedded planes are told; then what is said there alone, and what is said here alone.
TOLD = {
    "etcd": (ETCD, {"--unsafe-no-fsync"}, {"--listen-metrics-urls=http://0.0.0.0:2381"}),
    "kube-apiserver": (flags.apiserver(PLANE), {LOOPBACK}, {ALL}),
    "kube-scheduler": (flags.scheduler(PLANE), {LOOPBACK}, {ALL}),
    "kube-controller-manager": (flags.controller_manager(PLANE), {LOOPBACK}, {ALL}),
}


@functools.cache
def _objects(*settings: str) -> list[dict[str, Any]]:
    words = [word for one in settings for word in ("--set", one)]
    ran = chart_tools.run(
        "helm", "template", "vc-t-a", planes_world.CHART, "--namespace", "planes", *words
    )
    assert ran.returncode == 0, ran.stderr
    return [one for one in yaml.safe_load_all(ran.stdout) if one]


def _pod(*settings: str) -> dict[str, Any]:
    given = ("agent=t/a", "pki.secret=vc-t-a-pki", "pki.digest=d", *settings)
    (found,) = [one for one in _objects(*given) if one["kind"] == "StatefulSet"]
    return dict(found["spec"]["template"]["spec"])


def _containers(pod: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in (*pod["initContainers"], *pod["containers"])}


@pytest.mark.parametrize("name", TOLD)
def test_a_program_is_told_what_the_embedded_one_is(name: str) -> None:
    """The rendered arguments are those of flags.py, but for the listed ones."""
    embedded, there, here = TOLD[name]
    container = _containers(_pod())[name]
    assert container["command"] == [name]
    said = list(container["args"])
    assert len(said) == len(set(said))
    assert set(said) == (set(embedded) - there) | here
    assert there <= set(embedded)


def test_without_fsync_is_a_choice() -> None:
    """The store is safe against a power cut unless the operator says otherwise."""
    etcd = _containers(_pod("etcd.fsync=false"))["etcd"]
    assert "--unsafe-no-fsync" in etcd["args"]


def test_each_program_sees_its_own_files_alone() -> None:
    """Every file that a program is told of is mounted, and no key besides; none is not issued."""
    pod = _pod()
    made = plane_pki.issue({}, issued.Wanted("vc-t-a", "https://a", "https://a"))
    volumes = {one["name"]: one for one in pod["volumes"]}
    for name, container in _containers(pod).items():
        (mount,) = [one for one in container["volumeMounts"] if one["mountPath"] == str(PKI)]
        sources = volumes[mount["name"]]["projected"]["sources"]
        keys = [
            item["key"] for one in sources if "secret" in one for item in one["secret"]["items"]
        ]
        assert set(keys) <= made.mounted.keys(), name
        told = " ".join(container["args"])
        if name.startswith("kube-apiserver") or name == "etcd":
            assert all(f"{PKI}/{key}" in told for key in keys), name
        assert ("apiserver.key" in keys) == (name == "kube-apiserver")


def test_nothing_runs_as_root_or_writes_its_image() -> None:
    """Every container drops all it may, and none gets a token of the host cluster."""
    pod = _pod()
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["automountServiceAccountToken"] is False
    for name, container in _containers(pod).items():
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"], name
        assert not context["allowPrivilegeEscalation"], name
        assert context["capabilities"]["drop"] == ["ALL"], name
        assert container["resources"]["limits"]["memory"], name


def test_only_who_serves_it_reaches_a_plane() -> None:
    """Nothing leaves the pod; the nodes sink and who is named may come to its API server."""
    peer = "networkPolicy.ingressFrom[0].podSelector.matchLabels.app=ingress"
    (policy,) = [one for one in _objects("agent=t/a", peer) if one["kind"] == "NetworkPolicy"]
    assert policy["spec"]["egress"] == []
    (way,) = policy["spec"]["ingress"]
    assert way["ports"] == [{"port": "api", "protocol": "TCP"}]
    sync, ingress = way["from"]
    assert sync["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "sink-nodes"
    assert ingress["podSelector"]["matchLabels"] == {"app": "ingress"}


def test_without_an_agent_there_is_nothing() -> None:
    """As a part of bidplane's chart it renders no object."""
    assert _objects() == []


def test_data_may_end_with_the_pod() -> None:
    """Without a volume claim the store is an emptyDir."""
    pod = _pod("etcd.storage.persistent=false")
    (data,) = [one for one in pod["volumes"] if one["name"] == "data"]
    assert data["emptyDir"] == {"sizeLimit": "2Gi"}


@pytest.mark.parametrize(
    "setting", ["etcd.persistent=true", "agent=research", "replicas=2", "images.etcd.tag="]
)
def test_a_slip_in_the_values_is_told(setting: str) -> None:
    """A name that is none, and a value that cannot be, are refused by the chart's schema."""
    ran = chart_tools.run("helm", "template", "x", planes_world.CHART, "--set", setting)
    assert ran.returncode
    assert setting.partition("=")[0].split(".")[-1] in ran.stderr


def test_every_value_is_documented() -> None:
    """The chart's README names each value."""
    values = yaml.safe_load((planes_world.CHART / "values.yaml").read_text())
    told = (planes_world.CHART / "README.md").read_text()
    assert [name for name in values if f"`{name}" not in told and f"`.{name}" not in told] == []
