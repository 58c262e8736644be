"""The chart as objects: each set of example values, rendered once a run.

Decides how a render is asked for. Refuses to judge what it finds.
"""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any, Final

import yaml

import chart_tools

ROOT: Final = pathlib.Path(__file__).resolve().parents[2]
CHART: Final = ROOT / "helm" / "bidplane"
EXAMPLES: Final = tuple(sorted((ROOT / "helm" / "examples").glob("*.yaml")))
SPACE: Final = "bidplane-system"
RELEASE: Final = "bidplane"
Object = dict[str, Any]


@functools.cache
def text(values: pathlib.Path, *more: str, chart: pathlib.Path = CHART) -> str:
    """What helm renders from a file of values and further arguments."""
    ran = chart_tools.run(
        "helm", "template", RELEASE, chart, "--namespace", SPACE, "--values", values, *more
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@functools.cache
def objects(values: pathlib.Path, *more: str, chart: pathlib.Path = CHART) -> tuple[Object, ...]:
    """The objects of such a render."""
    found = yaml.load_all(text(values, *more, chart=chart), yaml.CSafeLoader)
    return tuple(one for one in found if one)


def complaint(*settings: str) -> str:
    """What helm says of good values with some settings changed; empty where it takes them."""
    words = [word for one in settings for word in ("--set", one)]
    ran = chart_tools.run(
        "helm", "template", RELEASE, CHART, "--set", "kafka.bootstrap=kafka:9092", *words
    )
    return ran.stderr if ran.returncode else ""


def pods(found: Iterable[Object]) -> Iterator[tuple[str, Object]]:
    """Every pod template, by kind and name of what makes its pods."""
    for one in found:
        spec = one.get("spec", {})
        template = spec.get("jobTemplate", {}).get("spec", spec).get("template")
        if one["kind"] in {"Deployment", "StatefulSet", "Job", "CronJob"} and template:
            yield f"{one['kind']}/{one['metadata']['name']}", template


def containers(template: Object) -> list[Object]:
    """All containers of a pod template, those that come first too."""
    spec = template["spec"]
    return [*spec.get("initContainers", []), *spec["containers"]]
