"""The options of `bidplane sink clusters` and `sink nodes` that concern control planes in pods.

Decides their names and texts, and that an address names nothing but a plane. Refuses to know how a
plane is made.
"""

from __future__ import annotations

import urllib.parse
from typing import TYPE_CHECKING, Annotated, Final

import typer

from bidplane_agents.errors import BadInput

if TYPE_CHECKING:  # it loads the Kubernetes client
    from bidplane_streams.sinks.providers import base

NAMESPACE: Final = "bidplane-planes"
ADDRESS: Final = "https://{name}.{namespace}.svc:6443"

Provider = Annotated[
    str,
    typer.Option(
        envvar="BIDPLANE_CLUSTERS_PROVIDER",
        help="Who runs control planes: `process` (children of this sink) or `chart` (pods).",
    ),
]
Namespace = Annotated[
    str,
    typer.Option(envvar="BIDPLANE_PLANES_NAMESPACE", help="chart: where planes and Secrets are."),
]
KubeconfigsIn = Annotated[
    str,
    typer.Option(
        envvar="BIDPLANE_PLANES_NAMESPACE",
        help="Take agents' kubeconfigs from Secrets of this namespace, not from --clusters-dir.",
    ),
]
Address = Annotated[
    str,
    typer.Option(
        envvar="BIDPLANE_PLANES_ADDRESS",
        help="chart: the URL of a plane, with {name} and {namespace}.",
    ),
]
AgentAddress = Annotated[
    str,
    typer.Option(
        envvar="BIDPLANE_PLANES_AGENT_ADDRESS",
        help="chart: the URL by which agents reach it, where that is another one.",
    ),
]
Helm = Annotated[str, typer.Option(envvar="BIDPLANE_HELM", help="chart: the helm binary.")]
Chart = Annotated[
    str, typer.Option(envvar="BIDPLANE_CLUSTER_CHART", help="chart: the folder virtual-cluster.")
]
Values = Annotated[
    str, typer.Option(envvar="BIDPLANE_CLUSTER_VALUES", help="chart: a file of values for it.")
]


def planes(
    namespace: str, address: str, agent_address: str, helm: str, chart: str, values: str
) -> base.Planes:
    """What a provider of planes in pods is told.

    Raises:
        BadInput: an address is none.
    """
    from bidplane_streams.sinks.providers import base  # noqa: PLC0415

    for option, text in (
        ("--planes-address", address or ADDRESS),
        ("--planes-agent-address", agent_address or ADDRESS),
    ):
        _check(option, text)
    return base.Planes(
        namespace or NAMESPACE, address or ADDRESS, agent_address, helm or "helm", chart, values
    )


def _check(option: str, text: str) -> None:
    try:
        split = urllib.parse.urlsplit(text.format(name="a", namespace="b"))
        fine = split.scheme == "https" and bool(split.hostname) and split.port != 0
    except (KeyError, IndexError, ValueError):
        fine = False
    if not fine:
        raise BadInput(f"{option} {text!r}: write a URL like {ADDRESS}")
