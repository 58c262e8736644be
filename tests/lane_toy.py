"""Two chained toy lanes: bids, grants → orders → rounds, leases. Run: ``python -m lane_toy``.

The first lane keeps a running total per agent; the second closes a round every 200 ms. Every record
says enough for an oracle to find a loss, a repetition or a wrong order.
"""

from __future__ import annotations

import hashlib
import os
from typing import Any

import orjson
from mode import Worker

from bidplane_streams.lanes.conf import Access, LaneConf
from bidplane_streams.lanes.lane import Lane
from bidplane_streams.lanes.logic import Batch, Effects, Output

PARTITIONS = 4
WINDOW_MS = 200
TOPICS = ("bids", "grants", "orders", "rounds", "leases", "accounts-changelog", "markets-changelog")


class Accounts:
    """Numbers every order by (source, target) and carries the agent's running total."""

    threaded = False

    def __init__(self, tag: str) -> None:
        self.tag = tag

    def new_state(self, partition: int) -> dict[str, int]:
        """Nothing."""
        return {}

    def restore(self, state: dict[str, int], key: bytes, value: bytes | None) -> None:
        """One number."""
        assert value is not None
        state[key.decode()] = int(value)

    def next_close_ms(self, state: dict[str, int], now_ms: int) -> int | None:
        """As soon as there are records."""
        return None

    def decide(
        self, state: dict[str, int], partition: int, batch: Batch, now_ms: int
    ) -> Effects | None:
        """Orders for bids; grants and rules change state alone."""
        effects, before = Effects(), dict(state)
        records = batch.records
        state["rules"] = state.get("rules", 0) + len(records[f"{self.tag}.rules"])
        for record in records[f"{self.tag}.grants"]:
            grant = orjson.loads(record.value or b"")
            _add(state, f"granted/{grant['agent']}", grant["amount"])
        for record in records[f"{self.tag}.bids"]:
            bid = orjson.loads(record.value or b"")
            target = bid["market"] % PARTITIONS
            bid["total"] = _add(state, f"total/{bid['agent']}", bid["amount"])
            bid["seq"] = _add(state, f"seq/{target}", 1)
            bid["source"] = partition
            effects.emit(f"{self.tag}.orders", target, Output(b"%d" % bid["id"], orjson.dumps(bid)))
        _changed(effects, before, state)
        return effects if len(batch) else None


class Markets:
    """Closes a round per window over all that has gathered; nothing gathered writes nothing."""

    threaded = True

    def __init__(self, tag: str) -> None:
        self.tag = tag

    new_state = Accounts.new_state
    restore = Accounts.restore

    def next_close_ms(self, state: dict[str, int], now_ms: int) -> int | None:
        """The window's end."""
        return (now_ms // WINDOW_MS + 1) * WINDOW_MS

    def decide(
        self, state: dict[str, int], partition: int, batch: Batch, now_ms: int
    ) -> Effects | None:
        """A round over the orders that have gathered."""
        orders = batch.records[f"{self.tag}.orders"]
        if not orders:
            return None
        effects, before, digest = Effects(), dict(state), hashlib.sha256()
        number = _add(state, "round", 1)
        for record in orders:
            order = orjson.loads(record.value or b"")
            expected = _add(state, f"seen/{order['source']}", 1)
            assert order["seq"] == expected, f"source {order['source']}: gap before {order['seq']}"
            order["market_total"] = _add(state, f"total/{order['market']}", order["amount"])
            digest.update(b"%d;" % order["id"])
            lease = Output(b"%d" % order["id"], orjson.dumps(order | {"round": number}))
            effects.emit(f"{self.tag}.leases", partition, lease)
        closed = {"round": number, "count": len(orders), "digest": digest.hexdigest(),
                  "first": orders[0].offset, "last": orders[-1].offset}  # fmt: skip
        effects.emit(f"{self.tag}.rounds", partition, Output(b"%d" % number, orjson.dumps(closed)))
        _changed(effects, before, state)
        return effects


def _add(state: dict[str, int], key: str, amount: int) -> int:
    state[key] = state.get(key, 0) + amount
    return state[key]


def _changed(effects: Effects, before: dict[str, int], state: dict[str, int]) -> None:
    for key, value in state.items():
        if before.get(key) != value:
            effects.changes[key.encode()] = b"%d" % value


def lanes(tag: str, bootstrap: str, instance: str) -> list[Lane]:
    """The two lanes of one process."""
    rest: dict[str, Any] = {"app_id": tag, "access": Access(bootstrap), "instance": instance}
    accounts = LaneConf(
        name="accounts", inputs=(f"{tag}.grants", f"{tag}.bids"), globals_=(f"{tag}.rules",),
        outputs=(f"{tag}.orders",), changelog=f"{tag}.accounts-changelog", **rest,
    )  # fmt: skip
    markets = LaneConf(
        name="markets", inputs=(f"{tag}.orders",), changelog=f"{tag}.markets-changelog",
        outputs=(f"{tag}.rounds", f"{tag}.leases"), records_max=10_000, **rest,
    )  # fmt: skip
    return [Lane(accounts, Accounts(tag)), Lane(markets, Markets(tag))]


def main() -> None:
    """Run until a signal."""
    services = lanes(os.environ["TAG"], os.environ["BOOTSTRAP"], os.environ["INSTANCE"])
    if os.environ.get("STRIKES"):
        import lane_strikes

        lane_strikes.arm(os.environ["STRIKES"])
    Worker(*services, loglevel="INFO").execute_from_commandline()


if __name__ == "__main__":
    main()
