"""The programs that judge the chart: built once from the lists in helm/tools, and cached.

Decides what defines a program (its go.mod and go.sum, flags, the machine; their hash names its
folder in the cache that the embedded servers use) and how it is run. Refuses to know the chart.
``python tests/chart_tools.py`` builds all of them.
"""

from __future__ import annotations

import hashlib
import pathlib
import platform
import shutil
import subprocess
import sys
from typing import Final

from bidplane_streams.embedded import assets, builds, errors, prerequisites

TOOLS: Final = pathlib.Path(__file__).resolve().parents[1] / "helm" / "tools"
FILES: Final = ("go.mod", "go.sum")
HELM: Final = "helm.sh/helm/v3"
# A release build is told which Kubernetes it stands for; charts ask.
KUBERNETES: Final = " ".join(
    f"-X {HELM}/pkg/{part}.k8sVersionMajor=1 -X {HELM}/pkg/{part}.k8sVersionMinor=36"
    for part in ("chartutil", "lint/rules")
)
# What is built, and how it is told its own version, which no tag tells here.
PACKAGES: Final = {
    "helm": (f"{HELM}/cmd/helm", f"-X {HELM}/internal/version.version=v3.22.0 {KUBERNETES}"),
    "helm-unittest": ("github.com/helm-unittest/helm-unittest/cmd/helm-unittest", ""),
    "kubeconform": ("github.com/yannh/kubeconform/cmd/kubeconform", "-X main.version=v0.8.0"),
}
RUN_TIMEOUT_S: Final = 300


def program(name: str) -> pathlib.Path:
    """One of ``PACKAGES``, built now if need be.

    Raises:
        PrerequisiteMissing: it must be built, and Go is missing or too old.
        BuildFailed: the build failed.
    """
    place = _place(name)
    if not place.exists():
        if line := prerequisites.complaint(prerequisites.GO):
            raise errors.PrerequisiteMissing(line)
        builds.say(f"building {name} into {place} (a minute or two the first time)")
        builds.once(place, lambda site: _build(name, site))
    return place / name


def run(name: str, *argv: str | pathlib.Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run a program to its end; what it said and its exit code, whatever that is."""
    return subprocess.run(
        [program(name), *argv], input=stdin, capture_output=True, text=True, check=False,
        timeout=RUN_TIMEOUT_S,
    )  # fmt: skip


def _place(name: str) -> pathlib.Path:
    digest = hashlib.sha256(" ".join((*PACKAGES[name], platform.machine())).encode())
    for file in FILES:
        digest.update(file.encode() + b"\0" + (TOOLS / name / file).read_bytes())
    return assets.cache() / f"{name}-{digest.hexdigest()[:16]}"


def _build(name: str, site: pathlib.Path) -> None:
    package, flags = PACKAGES[name]
    for file in FILES:
        shutil.copy(TOOLS / name / file, site)
    scratch = site / "scratch"  # or an interrupted build would leave its own elsewhere
    scratch.mkdir()
    argv = ["go", "build", "-v", "-ldflags", f"-s -w {flags}".strip(), "-o", name, package]
    builds.run(
        f"{name} (go build)", argv, site, {**assets.GO_ENVIRONMENT, "GOTMPDIR": str(scratch)}
    )
    shutil.rmtree(scratch)


if __name__ == "__main__":
    for each in PACKAGES:
        sys.stdout.write(f"{each}\t{program(each)}\n")
