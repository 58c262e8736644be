"""Which dashboards there are, and their JSON as the chart holds it."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable
from typing import Final

from grafana_foundation_sdk.cog import encoder
from grafana_foundation_sdk.models import dashboard as models

from bidplane_loadtest.dashboards import budgets, clusters, leases, load, market, streams

DASHBOARDS: Final[dict[str, Callable[[], models.Dashboard]]] = {
    "market": market.build,
    "budgets": budgets.build,
    "leases": leases.build,
    "clusters": clusters.build,
    "streams": streams.build,
    "loadtest": load.build,
}


def texts() -> dict[str, str]:
    """The JSON of each, by file name; the same on every machine."""
    return {f"{name}.json": _text(build()) for name, build in DASHBOARDS.items()}


def _text(made: models.Dashboard) -> str:
    plain = json.loads(encoder.JSONEncoder(sort_keys=True).encode(made))
    return json.dumps(plain, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def write(folder: pathlib.Path) -> list[pathlib.Path]:
    """Write them all; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, text in texts().items():
        path = folder / name
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written
