"""An operator of budgets: organisations on two partitions, schedules, floors, and their mistakes.

Decides what is given to whom and when, with dice of its own, so that a world without it would run
the same. Refuses to know the lanes.
"""

from __future__ import annotations

import random
from typing import Any

import msgspec

from bidplane_topics import agents, bids, envelope, registry
from simulation.audit_lanes import Broker

# Organisations, and tenants of theirs: name, partition, organisation. Partition 1 pays partition 0.
ORGANISATIONS = {"acme": 1, "zenith": 0}
TENANTS = (("guild", 0, "acme"), ("forge", 1, "acme"), ("yard", 0, "zenith"))
# Units for tenants of every kind; one floor is larger than the market.
ENTITLEMENTS = {"guild": 14, "forge": 7, "team-0": 21, "team-1": 3000}
SHAPES: tuple[bids.Shape, ...] = ("1", "2", "4", "1g")


class Treasury:
    """Writes registrations, grants and budgets; its agents bid now and then."""

    def __init__(self, broker: Broker, seed: int) -> None:
        """Nothing is written yet."""
        self.broker, self.dice = broker, random.Random(1000 + seed)
        self.grants = 0
        self.keys = {
            tenant: envelope.SigningKey((100 + number).to_bytes(32, "big"))
            for number, (tenant, _, _) in enumerate(TENANTS)
        }
        self.sequence = dict.fromkeys(self.keys, 0)

    def begin(self) -> None:
        """Organisations with money, their tenants and one agent of each."""
        for name, partition in ORGANISATIONS.items():
            home = agents.OrganisationRegistered(organisation=name, partition=partition)
            self._write(registry.AGENTS, partition, home)
            self._fund(name, 30_000)
        self._budget(1, organisation="acme", amount_micros=400, period_ms=1500, decay_permille=80)
        for tenant, partition, organisation in TENANTS:
            self._write(registry.AGENTS, partition, agents.TenantRegistered(
                tenant=tenant, partition=partition, organisation=organisation))  # fmt: skip
            key = self.keys[tenant]
            public = agents.AgentKey(key_id=key.key_id, public_key=key.public_text())
            event = agents.AgentRegistered(tenant=tenant, agent="smith", keys=(public,))
            self._write(registry.AGENTS, partition, event)
        self._budget(
            0, tenant="guild", agent="smith", amount_micros=900, period_ms=1100,
            decay_permille=150, source="tenant",
        )  # fmt: skip
        self._budget(0, tenant="team-0", amount_micros=50, period_ms=2000, decay_permille=200)
        self._budget(1, tenant="team-1", agent="agent-1", period_ms=1700, decay_permille=30)

    def step(self) -> None:
        """One thing, perhaps."""
        roll = self.dice.random()
        if roll < 0.15:
            self._allot()
        elif roll < 0.18:
            self._fund(self.dice.choice(sorted(ORGANISATIONS)), self.dice.randrange(3000))
        elif roll < 0.23:
            self._mistake()
        elif roll < 0.28:
            self._budget(
                0, tenant="guild", agent="smith", amount_micros=self.dice.choice((0, 300, 900)),
                period_ms=self.dice.choice((1000, 2300)), source="tenant",
                decay_permille=self.dice.choice((0, 150, 1000)),
            )  # fmt: skip
        elif roll < 0.6:
            self._bid(self.dice.choice(TENANTS))

    def _write(self, topic: registry.Topic, partition: int, event: msgspec.Struct) -> None:
        self.broker.write(topic, partition, event)

    def _fund(self, name: str, amount: int) -> None:
        self.grants += 1
        event = agents.OrganisationFunded(
            grant_id=f"fund-{self.grants}", organisation=name, amount_micros=amount
        )
        self._write(registry.ACCOUNTS, ORGANISATIONS[name], event)

    def _budget(self, partition: int, **fields: Any) -> None:
        self._write(registry.ACCOUNTS, partition, agents.BudgetSet(**fields))

    def _allot(self) -> None:
        """Mostly what is possible; at times too much, to a stranger, or twice."""
        tenant, partition, organisation = self.dice.choice(TENANTS)
        self.grants += 1
        event = agents.CreditAllotted(
            grant_id=f"allot-{self.grants}", organisation=organisation, tenant=tenant,
            tenant_partition=partition, agent=self.dice.choice(("", "smith", "smith", "nobody")),
            amount_micros=self.dice.choice((1, 700, 2500, 2500, 10**9)),
        )  # fmt: skip
        for _ in range(self.dice.choice((1, 1, 1, 2))):
            self._write(registry.ACCOUNTS, ORGANISATIONS[organisation], event)

    def _mistake(self) -> None:
        """Money past an organisation, to another's tenant, or from a tenant that has too little."""
        self.grants += 1
        name = f"wrong-{self.grants}"
        event: msgspec.Struct = agents.CreditGranted(
            grant_id=name, tenant="guild", agent="smith", amount_micros=5,
            source=self.dice.choice(("treasury", "tenant")),
        )  # fmt: skip
        partition = 0
        if self.dice.random() < 0.5:
            event = agents.CreditAllotted(
                grant_id=name, organisation="acme", tenant=self.dice.choice(("yard", "team-0")),
                tenant_partition=0, amount_micros=5,
            )  # fmt: skip
            partition = 1
        self._write(registry.ACCOUNTS, partition, event)

    def _bid(self, whose: tuple[str, int, str]) -> None:
        tenant, partition, _ = whose
        self.sequence[tenant] += 1
        ways = tuple(
            bids.Alternative(
                shape=self.dice.choice(SHAPES), duration_ms=self.dice.choice((900, 2000))
            )
            for _ in range(self.dice.randrange(1, 4))
        )
        place = bids.Place(
            market=self.dice.choice(("alpha", "beta")), value_micros=self.dice.randrange(1, 2500),
            alternatives=ways,
        )  # fmt: skip
        sealed = bids.Envelope(
            v=1, tenant=tenant, agent="smith", sequence=self.sequence[tenant],
            expires_at_ms=self.broker.now_ms + 5000,
            commands=tuple(bids.Command(place=place) for _ in range(self.dice.choice((1, 1, 2)))),
        )  # fmt: skip
        value, headers = envelope.seal(sealed, self.keys[tenant])
        self.broker.append(registry.BIDS.name, partition, value, "", tuple(headers))
