"""Where a control plane that exists keeps its data: as when it was made, whatever values say now.

Pure. A StatefulSet's volume claims cannot be changed; asked to, the API server refuses all of it,
certificates and images too. So a plane that stands is written with the storage that it has.
"""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]


def differs(wanted: Object, found: Object) -> bool:
    """Whether values now ask for other storage than a plane has."""
    return _asked(wanted) != _asked(found)


def kept(wanted: Object, found: Object) -> Object:
    """``wanted`` with the volume claims of ``found``, and volumes that go with them."""
    claims, here, there = _claims(found), _volumes(wanted), _volumes(found)
    held = {one["metadata"]["name"] for one in claims}
    lost = {one["metadata"]["name"] for one in _claims(wanted)} - held
    volumes = [one for one in here if one["name"] not in held]
    volumes += [one for one in there if one["name"] in lost]
    spec = {name: one for name, one in wanted["spec"].items() if name != "volumeClaimTemplates"}
    template = spec["template"]
    spec["template"] = template | {"spec": template["spec"] | {"volumes": volumes}}
    return wanted | {"spec": spec | ({"volumeClaimTemplates": claims} if claims else {})}


def _claims(found: Object) -> list[Object]:
    return list(found["spec"].get("volumeClaimTemplates") or ())


def _volumes(found: Object) -> list[Object]:
    return list(found["spec"]["template"]["spec"].get("volumes") or ())


def _asked(found: Object) -> list[tuple[str, str, str]]:
    """Name, size and class of each claim: what the server adds besides says nothing."""
    return [
        (
            one["metadata"]["name"],
            str(one["spec"]["resources"]["requests"]["storage"]),
            one["spec"].get("storageClassName") or "",
        )
        for one in _claims(found)
    ]
