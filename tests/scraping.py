"""What the processes of a live system say of themselves on their ports."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator

from prometheus_client.core import Sample
from prometheus_client.parser import text_string_to_metric_families

from live_system import Live

PROCESSES = ("worker", "sink-claims", "sink-clusters", "sink-nodes", "source-inventory")


def page(live: Live, process: str, path: str) -> str:
    """A page of one process; an HTTPError where it answers with an error."""
    port = json.loads((live.directory / "ports.json").read_text())[process]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=30) as answer:
        return str(answer.read().decode())


def samples(live: Live) -> Iterator[Sample]:
    """Every sample of every process."""
    for process in PROCESSES:
        for family in text_string_to_metric_families(page(live, process, "metrics")):
            yield from family.samples
