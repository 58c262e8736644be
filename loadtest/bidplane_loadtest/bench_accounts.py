"""CPU of the accounts lane: bids per process CPU-second through verify, decode, apply and encode.

Decides a workload and what stands beside it as a baseline in the same run, since the machine is
shared: trust ratios, not single figures. Refuses Kafka, unless ``--kafka`` asks for a broker, a
real worker process and its CPU by the kernel's count.

    python -m bidplane_loadtest.bench_accounts [--bids 8000] [--kafka] [--json]
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable
from typing import Annotated, Final

import typer

from bidplane_loadtest import bench_crowd, bench_report, bench_worker
from bidplane_streams.lanes.accounts import AccountsLogic
from bidplane_streams.lanes.logic import Batch, Effects, Record
from bidplane_streams.market.state import AccountsState
from bidplane_topics import codec, envelope, registry

# What a lane takes at once when it is behind; smaller batches cost more per bid.
BATCH_RECORDS: Final = 500
START_MS: Final = 1_700_000_000_000
REPEATS: Final = 3


class Bench:
    """One state, fed by batches; offsets go on from batch to batch."""

    def __init__(self, crowd: bench_crowd.Crowd) -> None:
        """Everyone is registered."""
        self.logic, self.state = AccountsLogic(), AccountsState(0)
        self._next = 0
        founding = {
            topic: [self.record(topic, codec.encode(event)) for event in events]
            for topic, events in crowd.founding().items()
        }
        self.decide(founding)

    def record(
        self, topic: str, value: bytes, headers: list[tuple[str, bytes]] | None = None
    ) -> Record:
        """A record at the next offset."""
        self._next += 1
        return Record(topic, 0, self._next, START_MS, None, value, tuple(headers or ()))

    def decide(self, records: dict[str, list[Record]]) -> Effects:
        """Let the lane's logic apply a batch."""
        effects = self.logic.decide(self.state, 0, Batch(records, {}), START_MS)
        assert effects is not None
        return effects


def cpu_s(work: Callable[[], object]) -> float:
    """Process CPU seconds of ``work``, the least of three: noise only ever adds."""
    taken = []
    for _ in range(REPEATS):
        gc.collect()
        begun = time.process_time()
        work()
        taken.append(time.process_time() - begun)
    return min(taken)


def measure(count: int, per_envelope: int) -> list[bench_report.Row]:
    """The lane's rate and its baselines for one envelope size."""
    crowd = bench_crowd.Crowd()
    name = bench_crowd.group_of(per_envelope)
    topic, keys = registry.BIDS, {key.key_id: key.public_key for key in crowd.keys}
    expires_ms = START_MS + 10**9
    sealed = crowd.sealed(count, per_envelope, expires_ms)
    values = [value for value, _ in sealed]
    rounds = [crowd.sealed(count, per_envelope, expires_ms) for _ in range(REPEATS)]
    bench = Bench(crowd)

    def lane() -> None:
        batch = [bench.record(topic.name, value, headers) for value, headers in rounds.pop(0)]
        orders = 0
        for at in range(0, len(batch), BATCH_RECORDS):
            effects = bench.decide({topic.name: batch[at : at + BATCH_RECORDS]})
            orders += sum(
                len(out) for (to, _), out in effects.outputs.items() if to == registry.ORDERS.name
            )
        assert orders == len(batch) * per_envelope, "a bid was not admitted"

    steps: dict[str, Callable[[], object]] = {
        "lane: verify, decode, apply, encode": lane,
        "baseline: decode": lambda: [codec.decode(topic, value) for value in values],
        "baseline: verify signature": lambda: [
            envelope.verify(topic.name, value, headers, keys) for value, headers in sealed
        ],
    }
    made = count // per_envelope * per_envelope
    return [bench_report.Row(name, step, made / cpu_s(work)) for step, work in steps.items()]


def main(
    count: Annotated[int, typer.Option("--bids", min=320, help="Bids of each size.")] = 8000,
    kafka: Annotated[bool, typer.Option("--kafka", help="Also with a broker and worker.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure and print."""
    rows = [row for size in (1, 16) for row in measure(count, size)]
    if kafka:
        rows += asyncio.run(bench_worker.rows(count, (1, 16)))
        rows.sort(key=lambda row: row.group)
    bench_report.show("accounts lane: bids per process CPU-second", rows, as_json=as_json)


if __name__ == "__main__":
    typer.run(main)
