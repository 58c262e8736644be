"""How a lane is called, what it reads, and its few numbers.

Decides names of groups and transactional ids. Refuses to know where the values come from.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Access(msgspec.Struct, frozen=True):
    """How to reach Kafka: ``security`` goes to aiokafka's clients as it is (TLS, SASL)."""

    bootstrap: str
    security: dict[str, Any] = {}

    def options(self) -> dict[str, Any]:
        """Arguments that every client takes."""
        return {"bootstrap_servers": self.bootstrap, **self.security}


class LaneConf(msgspec.Struct, frozen=True, kw_only=True):
    """A lane. ``inputs`` have equal partition counts; each of ``globals_`` has one partition.

    ``outputs`` names every topic that the logic may write to.
    ``instance`` makes the membership static: a restart within ``session_ms`` moves no partition.
    """

    app_id: str
    name: str
    inputs: tuple[str, ...]
    globals_: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    changelog: str = ""
    access: Access
    instance: str
    session_ms: int = 6_000
    heartbeat_ms: int = 1_000
    rebalance_ms: int = 20_000
    transaction_ms: int = 10_000
    # Longer than a broker that was killed needs to load its transactions and to end them.
    fence_s: float = 60.0
    # aiokafka's default of 100 puts the p99 of a transaction at 100 to 200 ms.
    retry_backoff_ms: int = 2
    records_max: int = 2_000
    # Of one member; while these run, the other partitions gather.
    transactions_max: int = 4
    buffer_records: int = 10_000
    fetch_wait_ms: int = 50
    # Of a reader that never pauses a partition: what is written ends the wait at once.
    idle_fetch_ms: int = 500
    batch_bytes: int = 512 * 1024
    stop_s: float = 5.0

    @property
    def group(self) -> str:
        """The consumer group."""
        return f"{self.app_id}-{self.name}"

    def transactional_id(self, partition: int) -> str:
        """The id that fences an earlier owner of ``partition``."""
        return f"{self.group}-{partition}"
