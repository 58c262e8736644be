"""The doctor: how a component's version is found, and which findings end with exit code 5."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bidplane_agents.errors import BadInput
from bidplane_streams.doctor import blueprint, cluster, findings

BLUEPRINTS = Path(__file__).parents[2] / "helm/blueprints"


def _workload(labels: dict[str, str], image: str = "") -> dict[str, Any]:
    spec = {"template": {"spec": {"containers": [{"image": image}]}}}
    return {"metadata": {"labels": labels}, "spec": spec}


@pytest.mark.parametrize(
    ("labels", "image", "version"),
    [
        ({cluster.NAME: "op", cluster.VERSION: "v1.2.0"}, "r/op:9", "v1.2.0"),
        ({cluster.NAME: "op"}, "host:5000/r/op:v1.3.0@sha256:00", "v1.3.0"),
        ({cluster.NAME: "op"}, "host:5000/r/op", "?"),
        ({cluster.CHART: "op-26.3.2"}, "r/other:1", "26.3.2"),
        ({cluster.CHART: "op-more-26.3.2"}, "r/op:1", None),
        ({cluster.NAME: "other"}, "r/op:1", None),
    ],
)
def test_a_version_comes_from_labels_else_from_the_image(
    labels: dict[str, str], image: str, version: str | None
) -> None:
    """A registry's port is no tag, and a chart whose name only begins so is another's."""
    assert cluster.version_of(_workload(labels, image), ["op"]) == version


def _component(**changes: Any) -> blueprint.Component:
    given: dict[str, Any] = {
        "name": "Operator", "workloads": ("op",), "version": "1.2.0", "ran_here": False,
        "source": "s",
    }  # fmt: skip
    return blueprint.Component(**(given | changes))


def test_what_is_not_installed_is_an_error_only_where_it_is_required() -> None:
    """A note for the one, an error for the other."""
    (spare,) = cluster.components(_component(), [], set())
    (needed,) = cluster.components(_component(required=True), [], set())
    assert (spare.severity, needed.severity) == ("note", "error")


def test_a_v_before_a_version_is_no_difference() -> None:
    """Tags have it, charts do not."""
    workload = _workload({cluster.NAME: "op", cluster.VERSION: "v1.2.0"})
    assert cluster.components(_component(), [workload], set()) == []


def test_a_missing_runtime_class_of_what_is_installed_is_an_error() -> None:
    """Of what is not installed nobody misses it."""
    workload = _workload({cluster.NAME: "op", cluster.VERSION: "1.2.0"})
    (found,) = cluster.components(_component(runtime_classes=("kata",)), [workload], set())
    assert (found.severity, found.where) == ("error", "Operator: kata")


@pytest.mark.parametrize(
    ("severities", "code"),
    [((), 0), (("note", "warning"), 0), (("note", "differs"), 5), (("error",), 5)],
)
def test_errors_and_differences_end_with_5(severities: tuple[Any, ...], code: int) -> None:
    """Warnings and notes are for reading."""
    found = [findings.Finding(severity=one, what="w", where="x") for one in severities]
    assert findings.exit_code(found) == code


@pytest.mark.parametrize("path", sorted(BLUEPRINTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_blueprint_is_read_and_named_after_its_version(path: Path) -> None:
    """A file's name is the version that it states."""
    assert blueprint.load(path).blueprint == path.stem


@pytest.mark.parametrize("text", ["a: [", "blueprint: 1", "hello"])
def test_what_is_no_blueprint_is_bad_input(text: str, tmp_path: Path) -> None:
    """Exit code 2, with the file and the field."""
    path = tmp_path / "b.yaml"
    path.write_text(text)
    with pytest.raises(BadInput, match=str(path)):
        blueprint.load(path)
