"""A stand-in for the markets lane: writes leases, hears what the claims sink reports of them.

Decides which devices each lease gets, and answers a report as the lane would: what is reported
bound becomes `bound`, with an end; what is reported released becomes `ended`. A step of many leases
is one transaction, as a window is. Refuses to clear or to charge: nobody bids here.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from bidplane_loadtest.players import stop
from bidplane_streams.sinks import kube, names
from bidplane_topics import codec, ids, leases, markets, registry, reports

MARKET: Final = "bench"
TENANT: Final = "bench"
# Its own partition of everything that is partitioned by market.
PARTITION: Final = 0
DURATION_MS: Final = 3_600_000
POLL_MS: Final = 20
SLICES_TIMEOUT_S: Final = 120.0
# How the devices of a node are shared out: six leases on eight GPUs.
SIZES: Final = (1, 1, 2, 1, 1, 2)
_WHOLE: Final = re.compile(r"gpu-\d+")

Lease = leases.LeaseChanged
# The devices of one lease.
Place = tuple[leases.LeasedDevice, ...]


async def whole_gpus(api: kube.Kube, nodes: int) -> dict[str, list[leases.LeasedDevice]]:
    """The whole GPUs of so many nodes, as ResourceSlices name them; waits until all are there."""
    async with asyncio.timeout(SLICES_TIMEOUT_S):
        while len(found := await _gpus(api)) < nodes:
            await asyncio.sleep(0.5)
    return found


async def _gpus(api: kube.Kube) -> dict[str, list[leases.LeasedDevice]]:
    found: dict[str, list[leases.LeasedDevice]] = {}
    slices, _ = await api.list_all(kube.SLICES)
    for one in slices:
        spec = one["spec"]
        for device in spec.get("devices") or ():
            if spec["driver"] == names.GPU_DRIVER and _WHOLE.fullmatch(device["name"]):
                uuid = device["attributes"]["uuid"]["string"]
                found.setdefault(spec["nodeName"], []).append(
                    leases.LeasedDevice(
                        node=spec["nodeName"], name=device["name"], driver=spec["driver"],
                        pool=spec["pool"]["name"], uuid=uuid, device_class=names.GPU_CLASS,
                    )
                )  # fmt: skip
    return {node: sorted(found[node], key=lambda one: one.name) for node in sorted(found)}


def share_out(gpus: dict[str, list[leases.LeasedDevice]]) -> list[Place]:
    """The devices of each lease: one or two of a node, node after node."""
    found = []
    for devices in gpus.values():
        left = list(devices)
        for size in SIZES:
            if len(left) >= size:
                found.append(tuple(left[:size]))
                del left[:size]
    return found


class Market:
    """Leases and their states; ``agents`` share them out among themselves."""

    def __init__(self, kafka: str, agents: int) -> None:
        """Talks to nobody yet."""
        self.leases: dict[str, Lease] = {}
        self.heard_ms: dict[tuple[str, str], int] = {}
        self.failed: list[reports.LeaseFailed] = []
        self._kafka = kafka
        self._agents = agents
        self._round = 0
        self._answers: list[Lease] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._writing = asyncio.Lock()
        self._producer: Any = None
        self._consumer: Any = None

    async def start(self) -> None:
        """Declare the market and listen."""
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self._kafka, transactional_id="bench-market", linger_ms=2
        )
        self._consumer = AIOKafkaConsumer(bootstrap_servers=self._kafka, enable_auto_commit=False)
        await self._producer.start()
        await self._consumer.start()
        place = TopicPartition(registry.REPORTS.name, PARTITION)
        self._consumer.assign([place])
        await self._consumer.seek_to_end(place)
        declared = markets.MarketDeclared(market=MARKET, partition=PARTITION)
        async with self._producer.transaction():
            await self._producer.send_and_wait(
                registry.MARKETS.name, codec.encode(declared), MARKET.encode(), partition=0
            )
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._answer())]

    async def close(self) -> None:
        """Close connections."""
        await stop(self._tasks)
        await self._consumer.stop()
        await self._producer.stop()

    def award(self, places: Sequence[Place]) -> list[Lease]:
        """Fresh leases on these devices, not yet written."""
        self._round += 1
        return [self._lease(number, devices) for number, devices in enumerate(places)]

    def _lease(self, number: int, devices: Place) -> Lease:
        agent = f"agent-{number % self._agents:03d}"
        word = f"{self._round}-{number}"
        now_ms = time.time_ns() // 1_000_000
        share = leases.LeasedNode(
            node=devices[0].node, cpu_millis=16_000 * len(devices),
            memory_mib=65_536 * len(devices), ephemeral_mib=65_536 * len(devices),
        )  # fmt: skip
        return Lease(
            market=MARKET, lease_id=ids.lease_id(MARKET, word), bid_id=f"{TENANT}/{agent}/k/{word}",
            tenant=TENANT, agent=agent, state="awarded", epoch=2 * self._round, window=self._round,
            market_pool="bench", shape=str(len(devices)), level=1, devices=devices, nodes=(share,),
            price_micros=1, duration_ms=DURATION_MS, awarded_at_ms=now_ms,
            bind_by_ms=now_ms + DURATION_MS,
        )  # fmt: skip

    def ending(self, held: Iterable[Lease]) -> list[Lease]:
        """These leases as they begin to end, not yet written."""
        return [
            msgspec.structs.replace(one, state="ending", epoch=one.epoch + 1, cause="expired")
            for one in (self.leases[each.lease_id] for each in held)
        ]

    async def write(self, changed: Sequence[Lease]) -> int:
        """Write lease states in one transaction; the moment when it began, in milliseconds."""
        topic = registry.LEASES.name
        async with self._writing:
            began_ms = time.time_ns() // 1_000_000
            async with self._producer.transaction():
                sent = [
                    await self._producer.send(
                        topic, codec.encode(one), one.lease_id.encode(), partition=PARTITION
                    )
                    for one in changed
                ]
                await asyncio.gather(*sent)
            self.leases.update({one.lease_id: one for one in changed})
        return began_ms

    async def until(self, wanted: Sequence[Lease], state: str, timeout_s: float) -> bool:
        """Wait until all of these were heard to have reached ``state``; False if they have not."""
        try:
            async with asyncio.timeout(timeout_s):
                while any((one.lease_id, state) not in self.heard_ms for one in wanted):
                    await asyncio.sleep(0.02)
        except TimeoutError:
            return False
        return True

    async def _listen(self) -> None:
        while True:
            found = await self._consumer.getmany(timeout_ms=POLL_MS)
            for record in (one for records in found.values() for one in records):
                self._hear(codec.decode(registry.REPORTS, record.value), record.timestamp)

    def _hear(self, event: Any, at_ms: int) -> None:
        lease = self.leases.get(getattr(event, "lease_id", ""))
        if lease is None or event.epoch != lease.epoch:
            return
        if isinstance(event, reports.LeaseFailed):
            self.failed.append(event)
        bound = isinstance(event, reports.LeaseBound)
        if self.heard_ms.setdefault((lease.lease_id, "bound" if bound else "ended"), at_ms) < at_ms:
            return
        if bound and lease.state == "awarded":
            end_ms = at_ms + lease.duration_ms
            self._answers.append(
                msgspec.structs.replace(lease, state="bound", bound_at_ms=at_ms, ends_at_ms=end_ms)
            )
        elif isinstance(event, reports.LeaseReleased) and lease.state == "ending":
            self._answers.append(msgspec.structs.replace(lease, state="ended"))

    async def _answer(self) -> None:
        # A lane takes what has come, as one transaction, again and again.
        while True:
            await asyncio.sleep(POLL_MS / 1000)
            answers, self._answers = self._answers, []
            # Somebody may have moved it on since.
            still = [one for one in answers if self.leases[one.lease_id].epoch == one.epoch]
            if still:
                await self.write(still)
