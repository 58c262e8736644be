"""The bidders of the accounts benchmarks: agents with keys and money, and sealed bids.

Decides one bid, the same for everyone. Refuses clocks and servers.
"""

from __future__ import annotations

from typing import Final

from bidplane_topics import agents, bids, envelope, markets, registry
from bidplane_topics.event import Event

AGENTS: Final = 20
MARKET: Final = "pool-a"
TENANT: Final = "bench"
VALUE_MICROS: Final = 1000


def group_of(per_envelope: int) -> str:
    """What a group of rows is about."""
    return f"{per_envelope} bid{'s' if per_envelope > 1 else ''} per envelope"


class Crowd:
    """Agents with keys and money, and the records that make them known."""

    def __init__(self) -> None:
        """Keys come from the agent's number: the same in every run."""
        self.keys = [envelope.SigningKey(bytes([number + 1]) * 32) for number in range(AGENTS)]
        self._sequences = [0] * AGENTS

    def founding(self) -> dict[str, list[Event]]:
        """The records by topic that register everyone and declare the market."""
        tenant = agents.TenantRegistered(tenant=TENANT, partition=0)
        return {
            registry.MARKETS.name: [markets.MarketDeclared(market=MARKET, partition=0)],
            registry.AGENTS.name: [tenant, *(self._agent(n) for n in range(AGENTS))],
            registry.ACCOUNTS.name: [
                agents.CreditGranted(
                    grant_id=f"g{n}", tenant=TENANT, agent=f"a{n}", amount_micros=10**14
                )
                for n in range(AGENTS)
            ],
        }

    def _agent(self, number: int) -> agents.AgentRegistered:
        key = self.keys[number]
        listed = agents.AgentKey(key_id=key.key_id, public_key=key.public_text())
        return agents.AgentRegistered(tenant=TENANT, agent=f"a{number}", keys=(listed,))

    def sealed(
        self, count: int, per_envelope: int, expires_at_ms: int
    ) -> list[tuple[bytes, list[tuple[str, bytes]]]]:
        """``count`` bids in envelopes of ``per_envelope``: values and headers."""
        return [
            self._envelope(number % AGENTS, per_envelope, expires_at_ms)
            for number in range(count // per_envelope)
        ]

    def _envelope(
        self, number: int, size: int, expires_at_ms: int
    ) -> tuple[bytes, list[tuple[str, bytes]]]:
        self._sequences[number] += 1
        one = bids.Command(
            place=bids.Place(
                market=MARKET, value_micros=VALUE_MICROS,
                alternatives=(
                    bids.Alternative(
                        selector={"productName": "NVIDIA H100 80GB HBM3"}, shape="1",
                        duration_ms=600_000,
                    ),
                ),
            )
        )  # fmt: skip
        sealed = bids.Envelope(
            v=1, tenant=TENANT, agent=f"a{number}", sequence=self._sequences[number],
            expires_at_ms=expires_at_ms, commands=(one,) * size,
        )  # fmt: skip
        return envelope.seal(sealed, self.keys[number])
