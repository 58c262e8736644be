"""The claims sink: leases awarded until their claims stand and the market hears of it.

Decides what is measured: many leases of one window at once, on an embedded host cluster, through
real Kafka and the real sink process, from the moment their transaction begins until the broker has
the last report; the same for endings, and for both at once. Beside it, in the same run, what
kube-scheduler allocates of as many claims. Refuses to count a lease whose claim is not allocated.

    python -m bidplane_loadtest.bench_claims [--leases 600] [--nodes 100] [--json]
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import pathlib
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Final

import msgspec
import psutil
import rich.console
import rich.table
import typer

from bidplane_agents import connection, topology
from bidplane_agents.commands import output
from bidplane_loadtest import claims_market, claims_scheduler
from bidplane_streams.embedded import processes, system
from bidplane_streams.sinks import claims_objects, kube
from bidplane_topics import codec, registry

TIMEOUT_S: Final = 300.0
# Once they are heard of, the sink still writes their ends: not what is measured next.
QUIET_S: Final = 6.0

Lease = claims_market.Lease


class Row(msgspec.Struct, kw_only=True):
    """One measurement: how many of ``wanted`` were done, and the milliseconds that each waited.

    CPU seconds are those of the measured seconds; ``load`` is the machine's before them.
    """

    what: str
    wanted: int
    done: int
    seconds: float
    per_s: float
    p50_ms: int = 0
    p99_ms: int = 0
    sink_cpu_s: float = 0.0
    api_cpu_s: float = 0.0
    load: float = 0.0


class Bench:
    """One system, one sink, and the stand-in for its market."""

    def __init__(
        self, up: system.System, sink: processes.Child, api: kube.Kube, market: claims_market.Market
    ) -> None:
        """Everything runs."""
        self.up, self.sink, self.api, self.market = up, sink, api, market

    async def bind(self, what: str, awards: Sequence[Lease]) -> list[Row]:
        """Award these leases, and nothing else."""
        return await self._measured({what: (awards, "bound")})

    async def end(self, what: str, held: Sequence[Lease]) -> list[Row]:
        """End these leases, and nothing else."""
        return await self._measured({what: (self.market.ending(held), "ended")})

    async def both(self, awards: Sequence[Lease], held: Sequence[Lease]) -> list[Row]:
        """Award some while as many others end, all in one transaction."""
        ending = self.market.ending(held)
        return await self._measured(
            {
                f"bind {len(awards)} while {len(held)} end": (awards, "bound"),
                f"end {len(held)} while {len(awards)} bind": (ending, "ended"),
            }
        )

    async def _measured(self, parts: dict[str, tuple[Sequence[Lease], str]]) -> list[Row]:
        await asyncio.sleep(QUIET_S)
        load, before = os.getloadavg()[0], self._cpu_s()
        changed = [one for leases, _ in parts.values() for one in leases]
        began_ms = await self.market.write(changed)
        for leases, state in parts.values():
            await self.market.until(leases, state, TIMEOUT_S)
        used = [now - then for now, then in zip(self._cpu_s(), before, strict=True)]
        await self._check()
        return [
            self._row(what, leases, state, began_ms, (used[0], used[1], load))
            for what, (leases, state) in parts.items()
        ]

    def _row(
        self, what: str, leases: Sequence[Lease], state: str, began_ms: int,
        spent: tuple[float, float, float],
    ) -> Row:  # fmt: skip
        heard = self.market.heard_ms
        waited = sorted(
            heard[one.lease_id, state] - began_ms
            for one in leases
            if (one.lease_id, state) in heard
        )
        seconds = (waited[-1] if waited else 0) / 1000
        return Row(
            what=what, wanted=len(leases), done=len(waited), seconds=round(seconds, 2),
            per_s=round(len(waited) / seconds, 1) if seconds else 0.0,
            p50_ms=waited[len(waited) // 2] if waited else 0,
            p99_ms=waited[len(waited) * 99 // 100] if waited else 0,
            sink_cpu_s=round(spent[0], 2), api_cpu_s=round(spent[1], 2), load=round(spent[2], 2),
        )  # fmt: skip

    async def _check(self) -> None:
        """What was heard is true: exactly the devices of living leases are allocated, each once."""
        found, _ = await self.api.list_all(kube.CLAIMS)
        there = sorted(device for one in found for device in claims_objects.allocated(one))
        wanted = sorted(
            (f"d{number}", device.driver, device.pool, device.name)
            for lease in self.market.leases.values() if lease.state in {"awarded", "bound"}
            for number, device in enumerate(lease.devices)
        )  # fmt: skip
        assert there == wanted, f"{len(there)} devices are allocated, not {len(wanted)}"
        assert not self.market.failed, self.market.failed[0].reason

    def _cpu_s(self) -> tuple[float, float]:
        return _cpu_s(self.sink.pid), _cpu_s(self.up.host.pids["kube-apiserver"])


def _cpu_s(pid: int | None) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


@contextlib.asynccontextmanager
async def _bench(up: system.System, agents: int) -> AsyncIterator[Bench]:
    """The sink runs and its market listens."""
    api = await kube.connect(str(up.kubeconfig))
    market = claims_market.Market(up.kafka, agents)
    try:
        await market.start()
        config = up.host.kubeconfig("bidplane-claims")
        argv = [
            sys.executable, "-m", "bidplane_agents.cli", "sink", "claims", "--kafka", up.kafka,
            "--market", claims_market.MARKET, "--kubeconfig", str(config),
        ]  # fmt: skip
        sink = await up.add("sink-claims", argv)
        yield Bench(up, sink, api, market)
    finally:
        await market.close()
        await api.close()


async def _baseline(up: system.System, sizes: Sequence[int], limit_s: float) -> Row:
    api = await kube.connect(str(up.kubeconfig))
    try:
        load = os.getloadavg()[0]
        done, seconds = await claims_scheduler.measure(api, sizes, limit_s)
    finally:
        await api.close()
    return Row(
        what="kube-scheduler: claims allocated", wanted=len(sizes), done=done,
        seconds=round(seconds, 2), per_s=round(done / seconds, 1), load=round(load, 2),
    )  # fmt: skip


async def measure(count: int, nodes: int, agents: int, baseline_s: float) -> list[Row]:
    """The baseline, then the sink: bind all, end all, and half of them each way at once.

    Raises:
        EmbeddedError: a server cannot run here.
    """
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="bidplane-bench-") as folder:
        output.note("starting Kafka, a host control plane and simulated nodes")
        async with system.System(pathlib.Path(folder), nodes=nodes) as up:
            reached = connection.Connection(up.kafka)
            await topology.apply(reached, registry.Partitions(tenant=1, market=1))
            api = await kube.connect(str(up.kubeconfig))
            places = claims_market.share_out(await claims_market.whole_gpus(api, nodes))[:count]
            await api.close()
            if baseline_s:
                output.note(f"kube-scheduler, for {baseline_s:.0f} s at most")
                rows.append(await _baseline(up, [len(one) for one in places], baseline_s))
            async with _bench(up, agents) as bench:
                rows += await _phases(bench, places)
    return rows


async def _phases(bench: Bench, places: Sequence[claims_market.Place]) -> list[Row]:
    market, half = bench.market, len(places) // 2
    warm = market.award(places[:: max(1, len(places) // 20)])
    await bench.bind("warm", warm)
    await bench.end("warm", warm)
    output.note(f"binding {len(places)} leases, then ending them")
    everything = market.award(places)
    rows = await bench.bind(f"bind {len(places)}", everything)
    rows += await bench.end(f"end {len(places)}", everything)
    output.note("half of them each way at once")
    first = market.award(places[:half])
    rows += await bench.bind(f"bind {half}", first)
    return rows + await bench.both(market.award(places[half:]), first)


def main(
    leases: Annotated[int, typer.Option(min=40, help="Leases of one or two GPUs.")] = 600,
    nodes: Annotated[int, typer.Option(min=8, help="Simulated nodes of 8 GPUs.")] = 100,
    agents: Annotated[int, typer.Option(min=1, help="Whose leases they are.")] = 30,
    baseline_s: Annotated[
        float, typer.Option(min=0, help="Seconds for kube-scheduler; 0 leaves it out.")
    ] = 60,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure and print."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    began_s = time.monotonic()
    rows = asyncio.run(measure(leases, nodes, agents, baseline_s))
    if as_json:
        sys.stdout.write(codec.pretty(rows) + "\n")
        return
    table = rich.table.Table(box=None, pad_edge=False)
    for name in Row.__struct_fields__:
        table.add_column(name, justify="left" if name == "what" else "right")
    for row in rows:
        table.add_row(*(str(cell) for cell in msgspec.structs.astuple(row)))
    rich.console.Console(width=140).print(table)
    output.note(f"{time.monotonic() - began_s:.0f} s in all")


if __name__ == "__main__":
    typer.run(main)
