"""The chart's values: what is handed on to agents' control planes is judged before it is."""

import json
import pathlib
from typing import Any

import pytest

from helm import rendered

PLANE = rendered.CHART / "charts" / "virtual-cluster" / "values.schema.json"
# The clusters sink says these of each plane; whoever wrote them here would be overruled.
SET_BY_THE_SINK = {"agent", "pki", "replicas"}
Node = dict[str, Any]


def _schema(path: pathlib.Path) -> Node:
    found: Node = json.loads(path.read_text())
    return found


def _of_some(node: Node) -> Node:
    """A schema that asks for no key: what is left out is the sub-chart's default."""
    return {
        key: _of_some(value) if isinstance(value, dict) else value
        for key, value in node.items()
        if key != "required"
    }


def test_values_of_planes_are_judged_as_their_chart_judges_them() -> None:
    """The schema of `virtualClusters.values` is the sub-chart's, less what the sink sets."""
    here = _schema(rendered.CHART / "values.schema.json")
    taken = here["properties"]["virtualClusters"]["properties"]["values"]
    given = _of_some(_schema(PLANE))["properties"]
    assert taken["additionalProperties"] is False
    assert taken["properties"] == {
        key: value for key, value in given.items() if key not in SET_BY_THE_SINK
    }


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("virtualClusters.values.bogus=1", "/values': additional properties 'bogus' not allowed"),
        ("virtualClusters.values.replicas=0", "additional properties 'replicas' not allowed"),
        ("virtualClusters.values.etcd.storage=1Gi", "/values/etcd/storage': got string"),
    ],
)
def test_a_wrong_value_of_planes_is_refused(setting: str, words: str) -> None:
    """A value that no control plane could be rendered with is refused with the release."""
    assert words in rendered.complaint(setting)


def test_a_part_of_a_plane_s_image_may_be_replaced() -> None:
    """Values of planes may leave out what the sub-chart has a default for."""
    assert rendered.complaint("virtualClusters.values.images.etcd.repository=mirror/etcd") == ""
