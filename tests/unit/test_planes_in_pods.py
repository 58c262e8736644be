"""Agents' control planes in pods: names, certificates, marks, and who is withdrawn."""

from __future__ import annotations

import base64
import pathlib
import stat
from typing import Any

import pytest
from cryptography import x509

from bidplane_agents import secret_kubeconfigs
from bidplane_agents.errors import BadInput, NoAnswer, Unreachable
from bidplane_streams import plane_options, plane_pki
from bidplane_streams.embedded import certs
from bidplane_streams.sinks import clusters, errors, names
from bidplane_streams.sinks.providers import base, issued, plane_objects, rendering
from bidplane_topics import ids

WANTED = issued.Wanted("vc-t-a", "https://a.example.org", "https://vc-t-a.planes.svc:6443")
LONG = "a" * 32


def test_planes_have_names_of_their_own() -> None:
    """Hyphens and length never make two agents one, and a StatefulSet's label has room."""
    agents = [("a", "b-c"), ("a-b", "c"), (LONG, LONG), (LONG, LONG[1:] + "b"), ("a", "b")]
    found = {names.plane(*agent) for agent in agents}
    assert len(found) == len(agents)
    assert max(map(len, found)) <= 48


def test_what_stands_is_issued_again_as_it_is() -> None:
    """Given its own files back, the issuer makes nothing new; no pod sees an authority's key."""
    first = plane_pki.issue({}, WANTED)
    again = plane_pki.issue({**first.unseen, **first.mounted}, WANTED)
    assert again == first
    assert {"ca.key", "agent.key", "bidplane-sync.key"} <= first.unseen.keys()
    assert not first.mounted.keys() & {"ca.key", "agent.key", "bidplane-sync.key"}


def test_the_server_is_known_by_every_address() -> None:
    """Its certificate names the Service and the agent's way in, and changes with them."""
    first = plane_pki.issue({}, WANTED)
    moved = plane_pki.issue(
        {**first.unseen, **first.mounted}, WANTED._replace(agent_server="https://b.example.org")
    )
    for made, host in ((first, "a.example.org"), (moved, "b.example.org")):
        read = x509.load_pem_x509_certificate(made.mounted["apiserver.crt"])
        said = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        hosts = said.get_values_for_type(x509.DNSName)
        assert {host, "vc-t-a.planes.svc"} <= set(hosts)
    assert moved.mounted["ca.crt"] == first.mounted["ca.crt"]


def test_certificates_are_renewed_before_they_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next renewal is the earliest of all; what is due by then is made anew, the rest kept."""
    monkeypatch.setattr(certs, "LEAF_DAYS", 0)  # valid from an hour ago until now
    first = plane_pki.issue({}, WANTED)
    monkeypatch.undo()
    again = plane_pki.issue({**first.unseen, **first.mounted}, WANTED)
    assert again.renew_at_ms > first.renew_at_ms
    assert again.mounted["apiserver.crt"] != first.mounted["apiserver.crt"]
    assert again.mounted["sa.key"] == first.mounted["sa.key"]


def test_without_its_authority_a_plane_gets_another() -> None:
    """Certificates whose authority is lost are not kept; the keys of ServiceAccounts are."""
    first = plane_pki.issue({}, WANTED)
    again = plane_pki.issue(first.mounted, WANTED)
    assert again.mounted["ca.crt"] != first.mounted["ca.crt"]
    assert again.mounted["etcd.crt"] != first.mounted["etcd.crt"]
    assert again.mounted["sa.key"] == first.mounted["sa.key"]


def _set(**status: Any) -> dict[str, Any]:
    marks = {names.AGENT: "t/a", plane_objects.EDITION: "e", plane_objects.RENEW_AT: "1000"}
    seen = {"observedGeneration": 2, "replicas": 1, "readyReplicas": 1, "updatedReplicas": 1}
    return {
        "metadata": {"name": "vc-t-a", "generation": 2, "annotations": marks},
        "spec": {"replicas": 1},
        "status": {**seen, "currentRevision": "r", "updateRevision": "r", **status},
    }


def test_a_plane_serves_when_all_of_it_is_as_wanted() -> None:
    """Another edition, a certificate that is due, an old pod or none: it is provided again."""
    assert plane_objects.serves(_set(), "e", 999)
    assert not plane_objects.serves(_set(), "f", 999)
    assert not plane_objects.serves(_set(), "e", 1000)
    for status in (
        {"observedGeneration": 1}, {"readyReplicas": 0}, {"updateRevision": "s"},
        {"updatedReplicas": 0},
    ):  # fmt: skip
        assert not plane_objects.serves(_set(**status), "e", 999), status


def test_a_plane_is_woken_after_its_last_pod_is_gone() -> None:
    """A pod that ends still counts as ready, so a plane put to sleep is let go first."""
    asleep = _set()
    asleep["spec"]["replicas"] = 0
    assert "last life" in plane_objects.unsettled(asleep)
    asleep["status"]["replicas"] = 0
    assert not plane_objects.unsettled(asleep)
    assert not plane_objects.unsettled(None)


def test_what_nobody_wants_is_withdrawn_ready_or_not() -> None:
    """A plane that never got ready does not stay when its agent goes."""
    standing = frozenset({"t/a", "t/b"})
    steps = clusters.plan(clusters.Observed(frozenset({"t/b"}), frozenset(), standing))
    assert steps == [clusters.Provide("t/b"), clusters.Withdraw("t/a")]


def test_what_helm_needs_is_missed_before_anything_starts(tmp_path: pathlib.Path) -> None:
    """Each of helm, chart and values is named in one line when it is not there."""
    there = tmp_path / "Chart.yaml"
    there.touch()
    whole = base.Planes(helm="sh", chart=str(tmp_path), values=str(there))
    for planes, word in (
        (whole._replace(helm="no-such-helm"), "BIDPLANE_HELM"),
        (whole._replace(chart=""), "BIDPLANE_CLUSTER_CHART"),
        (whole._replace(values=str(tmp_path / "none")), "BIDPLANE_CLUSTER_VALUES"),
    ):
        with pytest.raises(errors.BadSetting, match=word):
            rendering.Chart(planes)


def test_an_edition_follows_from_chart_and_values(tmp_path: pathlib.Path) -> None:
    """What is rendered anew has another edition; where the files lie is no part of it."""
    editions = []
    for folder, content in (("one", "a"), ("two", "a"), ("three", "b")):
        home = tmp_path / folder
        home.mkdir()
        (home / "Chart.yaml").write_text(content)
        editions.append(rendering.Chart(base.Planes(helm="sh", chart=str(home))).edition)
    assert editions[0] == editions[1] != editions[2]


@pytest.mark.parametrize(
    "text", ["http://{name}:1", "{name}", "https://{nam}:1", "https://{name}:x", "https://:1"]
)
def test_an_address_that_names_no_plane_is_refused(text: str) -> None:
    """Only a URL with https may be an address."""
    with pytest.raises(BadInput, match="--planes-address"):
        plane_options.planes("", text, "", "", "", "")


KUBECTL = """\
#!/bin/sh
printf '%s\\n' "$*" > {home}/asked
cat {home}/answer
"""


def _kubectl(home: pathlib.Path, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    program = home / "kubectl"
    program.write_text(KUBECTL.format(home=home))
    program.chmod(0o700)
    (home / "answer").write_text(answer)
    monkeypatch.setenv("BIDPLANE_KUBECTL", str(program))


def test_a_kubeconfig_comes_out_of_its_secret(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is found by the labels that the provider writes, and is its owner's alone."""
    made = plane_pki.issue({}, WANTED)
    (secret, _) = plane_objects.kubeconfigs("t/a", "planes", made)
    body = f'{{"items": [{{"data": {{"kubeconfig": "{secret["data"]["kubeconfig"]}"}}}}]}}'
    _kubectl(tmp_path, monkeypatch, body)
    target = tmp_path / "out" / "kubeconfig"
    secret_kubeconfigs.fetch("t/a", "planes", target, 5, lambda _: None)
    assert target.read_bytes() == base64.b64decode(secret["data"]["kubeconfig"])
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    asked = (tmp_path / "asked").read_text()
    assert "--namespace planes" in asked
    for label, value in secret["metadata"]["labels"].items():
        assert label.startswith("app.kubernetes.io/") or f"{label}={value}" in asked


def test_a_secret_that_never_comes_is_told(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the time it is a server that did not answer; without kubectl it is a bad input."""
    _kubectl(tmp_path, monkeypatch, '{"items": []}')
    with pytest.raises(NoAnswer, match="namespace planes"):
        secret_kubeconfigs.fetch("t/a", "planes", tmp_path / "k", 0.1, lambda _: None)
    monkeypatch.setenv("BIDPLANE_KUBECTL", "false")
    with pytest.raises(Unreachable, match="false"):
        secret_kubeconfigs.fetch("t/a", "planes", tmp_path / "k", 0.1, lambda _: None)
    monkeypatch.setenv("BIDPLANE_KUBECTL", "no-such-kubectl")
    with pytest.raises(BadInput, match="BIDPLANE_KUBECTL"):
        secret_kubeconfigs.fetch("t/a", "planes", tmp_path / "k", 0.1, lambda _: None)


def test_an_agents_name_is_its_own() -> None:
    """The annotation of a StatefulSet names the agent, whatever the name was shortened to."""
    assert plane_objects.owner_of(_set()) == ids.agent_id("t", "a")
