"""What Prometheus watches of a system that `up` runs, and by which rules.

Decides the targets (each process of the system, under its component's name) and where the rules
lie. Refuses to know how Prometheus is run: that is embedded's.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping

from bidplane_streams.embedded import assets, builds, errors, prometheus, system

COMPONENTS = ("worker", "sink-claims", "sink-clusters", "sink-nodes", "source-inventory")
NAME = "prometheus"
CHART_RULES = pathlib.Path(__file__).parents[2] / "helm" / "bidplane" / "rules"


def rules() -> list[pathlib.Path]:
    """The rule files: those of BIDPLANE_RULES, else the chart's where this is a checkout.

    Raises:
        PrerequisiteMissing: the folder that the setting names holds no rules.
    """
    chosen = os.environ.get("BIDPLANE_RULES")
    folder = pathlib.Path(chosen).absolute() if chosen else CHART_RULES
    found = sorted(folder.glob("*.yaml"))
    if chosen and not found:
        raise errors.PrerequisiteMissing(
            f"BIDPLANE_RULES={folder}: no *.yaml there: name rule files"
        )
    return found


def component(process: str) -> str:
    """The component that a process of `up` is one of: `sink-claims-pool-b` is a `sink-claims`."""
    return next((one for one in COMPONENTS if process.startswith(one)), process)


async def build() -> None:
    """Build Prometheus where it is not there yet."""
    await builds.aside(lambda: assets.program(NAME))


async def start(servers: system.System, path: pathlib.Path, chosen: Mapping[str, int]) -> str:
    """Run Prometheus over the processes whose ports are ``chosen``; its base URL.

    Raises:
        EmbeddedError: it cannot be built or does not come up.
    """
    mine = prometheus.Prometheus(path, chosen[NAME])
    argv = mine.argv(rules())
    targets = {name: (component(name), port) for name, port in chosen.items() if name != NAME}
    prometheus.write_targets(mine.targets / "system.json", targets)
    child = await servers.add(NAME, argv, prometheus.ENVIRONMENT)
    await child.ready(mine.is_ready, prometheus.READY_TIMEOUT_S)
    servers.note(prometheus=mine.url)
    return mine.url
