"""The composition root of sinks and sources: one function per process.

Decides what is wired to what. Refuses to know the command line: the functions take plain values,
and raise ``BadInput``, which the command line turns into one line and exit code 2.
"""

from __future__ import annotations

import asyncio
import pathlib
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from bidplane_agents import errors as agent_errors
from bidplane_streams import handover_wires, plane_pki
from bidplane_streams.embedded import controlplane
from bidplane_streams.embedded import errors as embedded_errors
from bidplane_streams.sinks import (
    claims,
    claims_seen,
    clusters,
    kube,
    kubeconfigs,
    mirror,
    nodes,
    records,
    worker,
)
from bidplane_streams.sinks import errors as sink_errors
from bidplane_streams.sinks.providers import base as providers
from bidplane_streams.sinks.providers import chart, process
from bidplane_streams.sources import inventory, sellable, supplier
from bidplane_topics import markets, registry


def sink_claims(
    kafka: str,
    kubeconfig: str,
    market: str,
    metrics_port: int = 0,
    *,
    ensure: bool = True,
    classes: Mapping[str, str] | None = None,
    lost_after_ms: int = claims.LOST_AFTER_MS,
) -> None:
    """Run the claims sink of one market until SIGTERM or SIGINT.

    Raises:
        BadInput: the kubeconfig is missing or is none, or the API server does not let its user
            set the cluster up.
    """

    async def serve() -> None:
        wake = asyncio.Event()
        api = await kube.connect(kubeconfig)
        sink = claims.ClaimsSink(
            api, kafka, market, wake, ensure=ensure, classes=classes, lost_after_ms=lost_after_ms
        )
        await worker.serve(sink, wake, metrics_port)

    _run(serve())


def sink_clusters(
    kafka: str,
    clusters_dir: str,
    metrics_port: int = 0,
    provider: str = "process",
    *,
    kubeconfig: str = "",
    planes: providers.Planes | None = None,
) -> None:
    """Run the clusters sink until SIGTERM or SIGINT; control planes of `process` end with it.

    Raises:
        BadInput: there is no such provider, or it lacks something that it needs.
    """
    if provider not in PROVIDERS:
        raise agent_errors.BadInput(f"--provider {provider}: there are {', '.join(PROVIDERS)}")
    folder = pathlib.Path(clusters_dir).absolute()
    settings = providers.Settings(folder, kubeconfig, planes or providers.Planes())

    async def serve() -> None:
        wake = asyncio.Event()
        made = await PROVIDERS[provider](settings, wake)
        await worker.serve(clusters.ClustersSink(kafka, made, wake), wake, metrics_port)

    _run(serve())


async def _process_provider(
    settings: providers.Settings, wake: asyncio.Event
) -> process.ProcessProvider:
    del wake  # nothing changes here that it does not do itself

    def make(home: pathlib.Path, name: str) -> controlplane.ControlPlane:
        return controlplane.ControlPlane(home, name, controlplane.Flavour.AGENT, restart=True)

    return process.ProcessProvider(settings.folder, make, (embedded_errors.EmbeddedError,))


async def _chart_provider(settings: providers.Settings, wake: asyncio.Event) -> chart.ChartProvider:
    api = await kube.connect(settings.kubeconfig)
    return chart.ChartProvider(api, settings.planes, plane_pki.issue, wake)


# Who may run agents' control planes, by name.
PROVIDERS: Final[dict[str, providers.Factory]] = {
    "process": _process_provider,
    "chart": _chart_provider,
}


def sink_nodes(
    kafka: str,
    kubeconfig: str,
    market: str,
    clusters_dir: str,
    metrics_port: int = 0,
    *,
    planes_namespace: str = "",
) -> None:
    """Sync one market's leases with agents' clusters until SIGTERM or SIGINT.

    Their kubeconfigs lie under CLUSTERS_DIR, or in Secrets of a namespace of the host cluster.

    Raises:
        BadInput: the kubeconfig is missing or is none.
    """
    root = pathlib.Path(clusters_dir).absolute()

    async def serve() -> None:
        wake = asyncio.Event()
        api = await kube.connect(kubeconfig)
        source = (
            kubeconfigs.Secrets(api, planes_namespace, wake)
            if planes_namespace
            else kubeconfigs.Folder(root)
        )
        await worker.serve(nodes.NodesSink(api, kafka, market, source, wake), wake, metrics_port)

    _run(serve())


def source_inventory(
    kafka: str,
    kubeconfig: str,
    market: str,
    metrics_port: int = 0,
    *,
    selector: Mapping[str, str] | None = None,
    only_assigned: bool = False,
    classes: Mapping[str, str] | None = None,
    companion: str = "",
) -> None:
    """Run the inventory source of one market until SIGTERM or SIGINT.

    ``selector`` holds the labels of the market's nodes; empty selects every node, and
    ``only_assigned`` none but those that an operator assigned to the market.

    Raises:
        BadInput: the kubeconfig is missing or is none.
    """

    async def serve() -> None:
        wake = asyncio.Event()
        api = await kube.connect(kubeconfig)
        choice = sellable.Choice(dict(classes or {}), companion)
        wires = _wires(api, kafka, market, wake)
        source = supplier.InventorySource(
            market, wires, selector, choice, only_assigned=only_assigned
        )
        await worker.serve(source, wake, metrics_port)

    _run(serve())


def _wires(api: kube.Kube, kafka: str, market: str, wake: asyncio.Event) -> supplier.Wires:
    writer = records.Writer(kafka)
    declared: records.Table[Any] = records.Table(
        kafka, registry.MARKETS, records.market_or_node, wake
    )
    rivals = handover_wires.Rivals(kafka, market, declared, wake)
    supply: records.Table[Any] = records.Table(
        kafka, registry.SUPPLY, lambda event: event.node if event.market == market else None, wake
    )

    async def send(partition: int, node: str, event: inventory.Supply) -> None:
        await writer.send(registry.SUPPLY, partition, node, event)

    async def close() -> None:
        await writer.stop()
        await api.close()

    def foreign(found: Any) -> frozenset[sellable.Address]:
        held = claims_seen.taken(market, found).items()
        return frozenset(address for address, (_, ours) in held if not ours)

    def partition_of() -> int:
        row = declared.rows.get(market)
        known = row is not None and isinstance(row.event, markets.MarketDeclared)
        return int(row.event.partition) if row is not None and known else -1

    claimed = mirror.Mirror(api, kube.CLAIMS, wake)
    return supplier.Wires(
        nodes=mirror.Mirror(api, kube.NODES, wake, project=inventory.project_node),
        slices=mirror.Mirror(api, kube.SLICES, wake, project=inventory.project_slice),
        claims=claimed,
        hold=handover_wires.holding(market, declared, claimed),
        supply=supply,
        markets=declared,
        send=send,
        foreign=foreign,
        partition_of=partition_of,
        rivals=rivals,
        close=close,
    )


# Every sink and source there is, by the name that the command line knows it by.
SINKS: Final[dict[str, Callable[..., None]]] = {
    "claims": sink_claims,
    "clusters": sink_clusters,
    "nodes": sink_nodes,
    "inventory": source_inventory,
}


def _run(serving: Coroutine[Any, Any, None]) -> None:
    records.hush()
    try:
        asyncio.run(serving)
    except sink_errors.Permanent as error:
        raise agent_errors.BadInput(str(error)) from error
