"""Which programs the embedded servers run, and where they lie: found, or built once and cached.

Decides what defines an artefact (its sources and flags; their hash names its folder in the cache)
and that a setting of the person comes first: ``KUBEBUILDER_ASSETS`` for the Kubernetes programs and
etcd, ``BIDPLANE_KAFKA_JARS`` for Kafka. Refuses to know how the programs are run.
``python -m bidplane_streams.embedded.assets`` ensures all of them but Prometheus, which is built
when somebody first asks for it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib
import platform
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence

from bidplane_streams.embedded import builds, errors, prerequisites

SOURCES = pathlib.Path(__file__).parent
KUBERNETES = "v1.36.3"
KUBE_PROGRAMS = ("kube-apiserver", "kube-scheduler", "kube-controller-manager", "kubectl")
PROMETHEUS_PROGRAMS = ("prometheus", "promtool")
PROMETHEUS_VERSION = "3.14.0"
KUBE_AT_LEAST = (1, 36)
ETCD_AT_LEAST = (3, 5)
JARS_AT_LEAST = 10
VERSION = "k8s.io/component-base/version"
VERSION_FLAGS = (
    f"-X {VERSION}.gitVersion={KUBERNETES} -X {VERSION}.gitMajor=1 -X {VERSION}.gitMinor=36"
    f" -X {VERSION}.gitTreeState=clean"
)
GO_ENVIRONMENT = {
    "CGO_ENABLED": "0",
    "GOFLAGS": "-trimpath -buildvcs=false",
    "GOWORK": "off",
    "GOTOOLCHAIN": "local",
}
ANSWER_TIMEOUT_S = 30


@dataclasses.dataclass(frozen=True, slots=True)
class Artefact:
    """A folder in the cache: the sources and flags that define it, the tools that build it."""

    kind: str
    files: tuple[str, ...]
    flags: str
    tools: tuple[prerequisites.Tool, ...]
    note: str

    def place(self) -> pathlib.Path:
        """Its folder in the cache, which exists only when it is complete."""
        digest = hashlib.sha256(f"{self.flags}\0{platform.machine()}".encode())
        for name in self.files:
            digest.update(name.encode() + b"\0" + (SOURCES / self.kind / name).read_bytes())
        return cache() / f"{self.kind}-{digest.hexdigest()[:16]}"

    def ensure(self) -> pathlib.Path:
        """Its folder, built now if need be.

        Raises:
            PrerequisiteMissing: it must be built and a tool for that is missing or too old.
            BuildFailed: the build failed.
        """
        place = self.place()
        if place.exists():
            return place
        for tool in self.tools:
            if line := prerequisites.complaint(tool):
                raise errors.PrerequisiteMissing(line)
        builds.say(f"building {self.kind} into {place} ({self.note})")
        return builds.once(place, self._build)

    def _build(self, site: pathlib.Path) -> None:
        for name in self.files:
            shutil.copy(SOURCES / self.kind / name, site)
        if self.kind == "kafka":
            _fetch_jars(site)
        elif self.kind == "prometheus":
            _build_prometheus(self.flags, site)
        else:
            _build_go(self.kind, self.flags, site)


GO_FILES = ("go.mod", "go.sum", "main.go")
KAFKA = Artefact("kafka", ("pom.xml",), "", (prerequisites.MAVEN,), "43 MB, seconds")
ETCD = Artefact("etcd", GO_FILES, "-s -w", (prerequisites.GO,), "about a minute the first time")
CONTROLPLANE = Artefact(
    "controlplane",
    GO_FILES,
    f"-s -w {VERSION_FLAGS}",
    (prerequisites.GO,),
    "five to ten minutes the first time on two cores",
)
PROMETHEUS = Artefact(
    "prometheus",
    ("go.mod", "go.sum"),
    f"-s -w -X github.com/prometheus/common/version.Version={PROMETHEUS_VERSION}",
    (prerequisites.GO,),
    "two to four minutes the first time on two cores",
)


def cache() -> pathlib.Path:
    """The folder of all artefacts: BIDPLANE_CACHE, else bidplane/ in the user's cache."""
    if chosen := os.environ.get("BIDPLANE_CACHE"):
        return pathlib.Path(chosen).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or str(pathlib.Path.home() / ".cache")
    return pathlib.Path(base).absolute() / "bidplane"


def _fetch_jars(site: pathlib.Path) -> None:
    argv = ["mvn", "-B", "-Dstyle.color=never", "dependency:copy-dependencies"]
    builds.run("Kafka's jars", [*argv, f"-DoutputDirectory={site}"], site, {})
    shutil.rmtree(site / "target", ignore_errors=True)


def _build_go(kind: str, flags: str, site: pathlib.Path) -> None:
    argv = ["go", "build", "-v", "-ldflags", flags, "-o", "program", "."]
    _run_go(kind, argv, site)
    for name in KUBE_PROGRAMS if kind == "controlplane" else ("etcd",):
        (site / name).symlink_to("program")


def _build_prometheus(flags: str, site: pathlib.Path) -> None:
    """Both programs, without the page of its own and without discovery by clouds' APIs."""
    tags = ["-tags", "netgo,remove_all_sd", "-ldflags", flags]
    package = "github.com/prometheus/prometheus/cmd/"
    packages = [package + name for name in PROMETHEUS_PROGRAMS]
    _run_go("prometheus", ["go", "build", "-v", *tags, "-o", f"{site}/", *packages], site)


def _run_go(kind: str, argv: Sequence[str], site: pathlib.Path) -> None:
    scratch = site / "scratch"  # or every interrupted build would leave its own in /tmp
    scratch.mkdir()
    builds.run(f"{kind} (go build)", argv, site, {**GO_ENVIRONMENT, "GOTMPDIR": str(scratch)})
    shutil.rmtree(scratch)


def kafka_jars() -> pathlib.Path:
    """The folder of Kafka's jars: BIDPLANE_KAFKA_JARS, else the cache's.

    Raises:
        PrerequisiteMissing: no Java, or the folder that the setting names holds no Kafka.
    """
    if line := prerequisites.complaint(prerequisites.JAVA):
        raise errors.PrerequisiteMissing(line)
    chosen = os.environ.get("BIDPLANE_KAFKA_JARS")
    if chosen is None:
        return KAFKA.ensure()
    folder = pathlib.Path(chosen).absolute()
    if not any(folder.glob("kafka_2.13-*.jar")) or len(list(folder.glob("*.jar"))) < JARS_AT_LEAST:
        raise errors.PrerequisiteMissing(
            f"BIDPLANE_KAFKA_JARS={folder} holds no Kafka: name a folder with all jars of 4.3.1"
        )
    return folder


def program(name: str) -> pathlib.Path:
    """A Kubernetes program or etcd: KUBEBUILDER_ASSETS's if it is new enough, else our build.

    Prometheus and promtool are always our build.

    Raises:
        PrerequisiteMissing: it must be built and Go is missing or too old.
    """
    if name in PROMETHEUS_PROGRAMS:
        return PROMETHEUS.ensure() / name
    artefact = ETCD if name == "etcd" else CONTROLPLANE
    return _from_settings(name) or artefact.ensure() / name


def _from_settings(name: str) -> pathlib.Path | None:
    folder = os.environ.get("KUBEBUILDER_ASSETS")
    if not folder or not (found := pathlib.Path(folder).absolute() / name).is_file():
        return None
    version = told_version(found)
    if version >= (ETCD_AT_LEAST if name == "etcd" else KUBE_AT_LEAST):
        return found
    told = ".".join(str(part) for part in version) or "no version"
    builds.say(f"{found} tells {told}, too old: taking our own build")
    return None


def told_version(path: pathlib.Path) -> tuple[int, ...]:
    """Major and minor version that a program tells of itself; () if it tells none."""
    argv = ["version", "--client"] if path.name == "kubectl" else ["--version"]
    answer = subprocess.run(
        [str(path), *argv], capture_output=True, text=True, timeout=ANSWER_TIMEOUT_S, check=False
    )
    found = re.search(r"(\d+)\.(\d+)\.\d+", answer.stdout + answer.stderr)
    return (int(found[1]), int(found[2])) if found else ()


def ensure_all() -> dict[str, pathlib.Path]:
    """Every program and Kafka's jars, built where need be, by name."""
    found = {"kafka": kafka_jars()}
    found |= {name: program(name) for name in ("etcd", *KUBE_PROGRAMS)}
    return found


def main(argv: Sequence[str] = ()) -> int:
    """Ensure all; with ``--where`` print each one's place. 0, or the error's exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell's background job ignores SIGINT
        signal.signal(number, signal.default_int_handler)
    try:
        found = ensure_all()
    except errors.EmbeddedError as error:
        builds.say(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        builds.say("interrupted; the same command goes on where this one stopped")
        return 130
    if "--where" in argv:
        sys.stdout.writelines(f"{name}\t{path}\n" for name, path in found.items())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
