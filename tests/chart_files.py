"""What the chart repeats of the code, as files: topics, rights, and what the host cluster needs.

Decides their form. ``python tests/chart_files.py`` writes them to helm/bidplane/files, and a test
fails where they differ from the code.
"""

from __future__ import annotations

import pathlib
import sys
from typing import Any, Final

from bidplane_streams.sinks import device_classes, hostsetup, names
from bidplane_topics import codec, registry, rights

HOME: Final = pathlib.Path(__file__).resolve().parents[1] / "helm" / "bidplane" / "files"
# The chart puts the user of its claims sinks and the device classes of its values in their place.
USER, CLASSES, DRIVERS = "@USER@", "@CLASSES@", "@DRIVERS@"


def written() -> dict[str, str]:
    """Every file by name, as it must be."""
    found = {"topics.json": _topics(), "host.json": _host(), "acls.json": rights.exported()}
    return {name: codec.pretty(one) + "\n" for name, one in found.items()}


def _topics() -> list[dict[str, Any]]:
    return [
        {"name": one.name, "partitionedBy": one.partitioned_by, "config": one.config()}
        for one in registry.all_topics()
    ]


def _host() -> dict[str, Any]:
    own = device_classes.sold({})
    plain = device_classes.Sold((CLASSES,), (DRIVERS,), ())
    return {
        "classes": [one for one in own.classes if not one.startswith(names.SHARED)],
        "drivers": list(own.drivers),
        "sharedPrefix": names.SHARED,
        "kind": hostsetup.device_lease_kind(),
        "policies": hostsetup.policies(USER, plain),
        "binding": hostsetup.binding("@POLICY@"),
    }


def main() -> None:
    """Write them all."""
    HOME.mkdir(parents=True, exist_ok=True)
    for name, text in written().items():
        (HOME / name).write_text(text)
        sys.stdout.write(f"{HOME / name}\n")


if __name__ == "__main__":
    main()
