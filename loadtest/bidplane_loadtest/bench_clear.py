"""Time of one clearing in the pure core: greedy scan, critical payments, placement; no Kafka.

    python -m bidplane_loadtest.bench_clear [--bids 100 --bids 1000] [--json]

Decides a mixed instance of the demo's shapes on pools of 16 GPUs. The baseline is the same instance
without payments (pay-as-bid), in the same run: the ratio says what exact prices cost. Refuses to
read anything.
"""

from __future__ import annotations

import random
from typing import Annotated, Final

import typer

from bidplane_loadtest import bench_accounts, bench_report, jobs
from bidplane_streams.market import clearing
from bidplane_topics.bids import Shape
from bidplane_topics.instances import Instance, InstanceAlternative, InstanceBid, InstancePool

SHAPES: Final[tuple[Shape, ...]] = ("1g", "2g", "3g", "4g", "1", "1", "1", "1", "2", "4", "8", "16")
POOLS: Final = 8
NODES_PER_POOL: Final = 2
SLOT_MS: Final = 1000


def instance(count: int, seed: int = 7) -> Instance:
    """``count`` bids for 128 GPUs in 8 pools; every second bid has an alternative elsewhere."""
    dice = random.Random(f"clear {seed} {count}")
    return Instance(
        market="bench", window=1, beacon="ab" * 32, slot_ms=SLOT_MS,
        pools=tuple(
            InstancePool(name=f"p{n}", device_class="gpu", nodes=(8,) * NODES_PER_POOL,
                         reserve_micros=100)
            for n in range(POOLS)
        ),
        bids=tuple(_bid(dice, number) for number in range(count)),
    )  # fmt: skip


def _bid(dice: random.Random, number: int) -> InstanceBid:
    shape, slots = dice.choice(SHAPES), dice.randint(5, 40)
    units = jobs.SEVENTHS[shape] * slots
    pools = dice.sample(range(POOLS), 1 + number % 2)
    return InstanceBid(
        bid_id=f"b{number:06d}", agent=f"a{number % 50}", sequence=number,
        value_micros=max(1, round(1500 * dice.lognormvariate(0.0, 0.6) * units)),
        alternatives=tuple(
            InstanceAlternative(pool=f"p{pool}", shape=shape, slots=slots) for pool in pools
        ),
    )  # fmt: skip


def main(
    count: Annotated[list[int] | None, typer.Option("--bids", min=1, help="Sizes.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure and print."""
    rows: list[bench_report.Row] = []
    for size in count or [100, 500, 2000]:
        given = instance(size)
        for rule in ("greedy", "pay-as-bid"):
            taken_s = bench_accounts.cpu_s(lambda: clearing.clear(given, rule))  # noqa: B023
            rows.append(bench_report.Row(f"{size} bids", f"{rule}: bids", size / taken_s))
    bench_report.show("one clearing: bids per process CPU-second", rows, as_json=as_json)


if __name__ == "__main__":
    typer.run(main)
