"""The commands that this package adds to `bidplane` when it is installed.

Decides names and option texts. Refuses to do anything itself: each command is one function
elsewhere, imported when it runs, so that `bidplane --help` stays quick.
"""

from __future__ import annotations

from typing import Annotated

import typer

from bidplane_agents import connection
from bidplane_agents.errors import BadInput
from bidplane_streams import (
    commands_clear,
    commands_doctor,
    commands_round,
    commands_status,
    commands_system,
    commands_worker,
    plane_options,
    sold_classes,
)

sink = typer.Typer(no_args_is_help=True, help="Sinks: claims, clusters, nodes.")
source = typer.Typer(no_args_is_help=True, help="Sources: inventory.")

Kafka = Annotated[str, typer.Option(envvar="BIDPLANE_KAFKA", help="HOST:PORT of Kafka.")]
Kubeconfig = Annotated[
    str,
    typer.Option(envvar="KUBECONFIG", help="The host cluster's kubeconfig; none in a pod of it."),
]
Market = Annotated[str, typer.Option(envvar="BIDPLANE_MARKET", help="The market to serve.")]
MetricsPort = Annotated[
    int, typer.Option(envvar="BIDPLANE_METRICS_PORT", help="Port of /metrics; 0 for none.")
]
ClustersDir = Annotated[
    str,
    typer.Option(envvar="BIDPLANE_CLUSTERS_DIR", help="Where agents' control planes are kept."),
]


def attach(app: typer.Typer) -> None:
    """Add our commands to the command line."""
    app.command()(commands_system.up)
    app.command()(commands_status.down)
    app.command()(commands_status.status)
    app.command()(commands_doctor.doctor)
    app.command()(commands_worker.worker)
    app.command()(commands_clear.clear)
    app.command("round")(commands_round.replay)
    app.add_typer(sink, name="sink")
    app.add_typer(source, name="source")


def _address(kafka: str) -> str:
    """Kafka's address; it and the security settings are checked before anything starts.

    Raises:
        BadInput: none was given, or what was given cannot be used.
    """
    connection.security()
    if not kafka:
        raise BadInput("no Kafka address: give --kafka HOST:PORT or set BIDPLANE_KAFKA")
    return connection.addresses("--kafka ", kafka)


@sink.command("claims")
def sink_claims(
    kafka: Kafka = "", kubeconfig: Kubeconfig = "", market: Market = "pool-a",
    metrics_port: MetricsPort = 0, device_class: sold_classes.Classes = None,
) -> None:  # fmt: skip
    """Make leases real: ResourceClaims in the host cluster, and their orderly end."""
    from bidplane_streams import commands_sinks  # noqa: PLC0415 - loads the Kubernetes client

    classes = sold_classes.by_driver(device_class or ())
    commands_sinks.sink_claims(_address(kafka), kubeconfig, market, metrics_port, classes=classes)


@sink.command("clusters")
def sink_clusters(
    kafka: Kafka = "", clusters_dir: ClustersDir = ".bidplane/clusters",
    metrics_port: MetricsPort = 0,
    provider: plane_options.Provider = "process", kubeconfig: Kubeconfig = "",
    planes_namespace: plane_options.Namespace = plane_options.NAMESPACE,
    planes_address: plane_options.Address = plane_options.ADDRESS,
    planes_agent_address: plane_options.AgentAddress = "",
    helm: plane_options.Helm = "helm", chart: plane_options.Chart = "",
    chart_values: plane_options.Values = "",
) -> None:  # fmt: skip
    """Give agents registered with --cluster a control plane of their own."""
    from bidplane_streams import commands_sinks  # noqa: PLC0415

    planes = plane_options.planes(
        planes_namespace, planes_address, planes_agent_address, helm, chart, chart_values
    )
    commands_sinks.sink_clusters(
        _address(kafka), clusters_dir, metrics_port, provider, kubeconfig=kubeconfig, planes=planes
    )


@sink.command("nodes")
def sink_nodes(
    kafka: Kafka = "", kubeconfig: Kubeconfig = "", market: Market = "pool-a",
    clusters_dir: ClustersDir = ".bidplane/clusters", metrics_port: MetricsPort = 0,
    planes_namespace: plane_options.KubeconfigsIn = "",
) -> None:  # fmt: skip
    """Show leases in agents' clusters as nodes and devices; run their pods in the host cluster."""
    from bidplane_streams import commands_sinks  # noqa: PLC0415

    commands_sinks.sink_nodes(
        _address(kafka), kubeconfig, market, clusters_dir, metrics_port,
        planes_namespace=planes_namespace,
    )  # fmt: skip


@source.command("inventory")
def source_inventory(
    kafka: Kafka = "", kubeconfig: Kubeconfig = "", market: Market = "pool-a",
    metrics_port: MetricsPort = 0,
    node_label: Annotated[
        list[str] | None,
        typer.Option(metavar="LABEL=VALUE", help="Sell nodes that carry it; repeat for more."),
    ] = None,
    only_assigned: Annotated[
        bool, typer.Option(help="Sell only nodes that `market move-node` assigned here.")
    ] = False,
    device_class: sold_classes.Classes = None,
    companion: sold_classes.Companion = "",
) -> None:  # fmt: skip
    """Publish the devices of the host cluster's ResourceSlices as supply.

    Two markets of one cluster must not choose the same nodes: labels tell them apart, or all but
    one sell only what is assigned to them.
    """
    from bidplane_streams import commands_sinks  # noqa: PLC0415

    for text in node_label or ():
        if not text.partition("=")[0] or "=" not in text:
            raise BadInput(f"--node-label {text!r}: write LABEL=VALUE")
    commands_sinks.source_inventory(
        _address(kafka), kubeconfig, market, metrics_port, only_assigned=only_assigned,
        classes=sold_classes.by_driver(device_class or ()),
        companion=sold_classes.companion(companion),
        selector=dict(text.split("=", 1) for text in node_label or ()),
    )  # fmt: skip
