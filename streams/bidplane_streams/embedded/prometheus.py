"""One Prometheus as a child process: what it scrapes is told by files in a folder.

Decides its flags, how often it scrapes and how much it keeps (an afternoon, little memory). Refuses
to know what is scraped and what the rules say: targets are files that others write into
DIR/targets, rules are files that the caller names.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from bidplane_streams.embedded import assets, probes

READY_TIMEOUT_S = 60.0
SCRAPE_S = 1
EVALUATE_S = 5
KEEP_TIME = "12h"
KEEP_SIZE = "512MB"
ENVIRONMENT = {"GOMEMLIMIT": "256MiB", "GOGC": "50"}


@dataclasses.dataclass(frozen=True, slots=True)
class Prometheus:
    """Prometheus of a system's directory: its files are DIR/prometheus and DIR/targets."""

    directory: pathlib.Path
    port: int

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def targets(self) -> pathlib.Path:
        """The folder whose ``*.json`` files say what to scrape (file_sd); they may come and go."""
        return self.directory / "targets"

    def argv(self, rules: Sequence[pathlib.Path]) -> list[str]:
        """Write its settings; the argument vector that runs it. Builds the program if need be."""
        program = assets.program("prometheus")
        home = self.directory / "prometheus"
        home.mkdir(parents=True, exist_ok=True)
        self.targets.mkdir(parents=True, exist_ok=True)
        config = home / "prometheus.json"
        config.write_text(json.dumps(self._settings(rules), indent=1))  # JSON is YAML
        return [
            str(program), f"--config.file={config}", f"--storage.tsdb.path={home / 'data'}",
            f"--storage.tsdb.retention.time={KEEP_TIME}",
            f"--storage.tsdb.retention.size={KEEP_SIZE}",
            f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=warn",
        ]  # fmt: skip

    def _settings(self, rules: Sequence[pathlib.Path]) -> dict[str, Any]:
        found = {"files": [str(self.targets / "*.json")], "refresh_interval": "2s"}
        return {
            "global": {
                "scrape_interval": f"{SCRAPE_S}s",
                "scrape_timeout": f"{SCRAPE_S}s",
                "evaluation_interval": f"{EVALUATE_S}s",
            },
            "rule_files": [str(one) for one in rules],
            "scrape_configs": [{"job_name": "bidplane", "file_sd_configs": [found]}],
        }

    async def is_ready(self) -> bool:
        """Whether it answers queries."""
        return await probes.is_ok(self.port, "/-/ready")


def write_targets(file: pathlib.Path, processes: Mapping[str, tuple[str, int]]) -> None:
    """Say what to scrape: by process name, its job and its loopback port. All of it or nothing.

    The name becomes the label ``instance``, which says more to a reader than an address.
    """
    rows = [
        {"targets": [f"127.0.0.1:{port}"], "labels": {"job": job, "instance": name}}
        for name, (job, port) in processes.items()
    ]
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f"{file.name}.{os.getpid()}")  # no *.json: it is not read as it grows
    beside.write_text(json.dumps(rows, indent=1))
    beside.rename(file)
