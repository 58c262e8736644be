"""A control plane that stands keeps its storage, whatever its values say now."""

from __future__ import annotations

from typing import Any

from bidplane_streams.sinks.providers import plane_storage

OTHER = {"name": "pki", "projected": {}}


def _set(size: str = "", *, served: bool = False) -> dict[str, Any]:
    """As rendered; ``served``: with what the API server adds to a claim."""
    claim: dict[str, Any] = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}},
    }
    if served:
        claim["spec"]["volumeMode"] = "Filesystem"
        claim["status"] = {"phase": "Pending"}
    volumes = [OTHER] if size else [OTHER, {"name": "data", "emptyDir": {"sizeLimit": "2Gi"}}]
    claims = {"volumeClaimTemplates": [claim]} if size else {}
    return {"spec": {"replicas": 1, "template": {"spec": {"volumes": volumes}}, **claims}}


def test_other_storage_in_the_values_leaves_a_plane_s_own() -> None:
    """A plane that stands is written with its live claims, and the rest as it is rendered."""
    live, wanted = _set("2Gi", served=True), _set("4Gi")
    wanted["spec"]["replicas"] = 3
    kept = plane_storage.kept(wanted, live)
    assert plane_storage.differs(wanted, live)
    assert kept["spec"]["volumeClaimTemplates"] == live["spec"]["volumeClaimTemplates"]
    assert kept["spec"]["replicas"] == 3
    assert wanted["spec"]["volumeClaimTemplates"] != live["spec"]["volumeClaimTemplates"]


def test_what_the_server_adds_is_no_other_storage() -> None:
    """The same size and class are not told as a change."""
    assert not plane_storage.differs(_set("2Gi"), _set("2Gi", served=True))


def test_a_plane_with_a_volume_claim_does_not_lose_it() -> None:
    """With persistence turned off, its data stays on the claim, and no emptyDir hides it."""
    live = _set("2Gi", served=True)
    kept = plane_storage.kept(_set(), live)
    assert kept["spec"]["volumeClaimTemplates"] == live["spec"]["volumeClaimTemplates"]
    assert kept["spec"]["template"]["spec"]["volumes"] == [OTHER]


def test_a_plane_without_a_volume_claim_gets_none() -> None:
    """With persistence turned on, its data stays in the emptyDir: every mount has its volume."""
    live = _set()
    kept = plane_storage.kept(_set("2Gi"), live)
    assert "volumeClaimTemplates" not in kept["spec"]
    assert (
        kept["spec"]["template"]["spec"]["volumes"] == live["spec"]["template"]["spec"]["volumes"]
    )
