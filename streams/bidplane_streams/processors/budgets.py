"""What accounts hold: available and reserved money by tenant and agent.

Decides the sums of a tenant. Reads the accounts lane's own tables, of the partitions that are open
in this process: it names them, and a tenant that lives elsewhere is another worker's to show. At
most one transaction ahead of what is committed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from bidplane_streams.market import ledger
from bidplane_streams.market.state import AccountsState
from bidplane_streams.processors import pages

PORTION: Final = 1000
States = Callable[[], Mapping[int, AccountsState]]


class Budgets:
    """Asks the lane when it is asked."""

    def __init__(self, states: States) -> None:
        """``states``: the open partitions' tables, by partition."""
        self._states = states

    async def view(self, query: pages.Query) -> dict[str, Any]:
        """Tenants by name after ``after``, or ``tenant`` alone with its agents one by one.

        Lanes share the loop, so it is left between portions; accounts are never taken away.
        """
        states = self._states()
        only, after = query.get("tenant"), query.get("after", "")
        found: dict[str, dict[str, Any]] = {}
        for state in states.values():
            for number, (account, row) in enumerate(state.balances.items()):
                if number % PORTION == PORTION - 1:
                    await asyncio.sleep(0)
                if only is not None and only not in account:
                    continue
                owner = ledger.owner_of(account)
                tenant = owner.tenant
                if tenant and only in {None, tenant} and tenant > after:
                    _add(found.setdefault(tenant, _empty()), owner, account, row.micros)
        names = sorted(found)
        shown = names[: pages.limit(query)]
        return {
            "partitions": sorted(states),
            "tenants": [_shown(name, found[name], whole=only is not None) for name in shown],
            "next": shown[-1] if len(shown) < len(names) else None,
        }


def _empty() -> dict[str, Any]:
    return {"available_micros": 0, "held_micros": 0, "agents": {}}


def _add(row: dict[str, Any], owner: ledger.Owner, account: str, micros: int) -> None:
    field = "held_micros" if account.startswith("hold/") else "available_micros"
    row[field] += micros
    if owner.agent:
        mine = row["agents"].setdefault(owner.agent, {"available_micros": 0, "held_micros": 0})
        mine[field] += micros


def _shown(tenant: str, row: dict[str, Any], *, whole: bool) -> dict[str, Any]:
    agents = dict(sorted(row["agents"].items())) if whole else len(row["agents"])
    return {
        "tenant": tenant, "available_micros": row["available_micros"],
        "held_micros": row["held_micros"], "agents": agents,
    }  # fmt: skip
