"""What must be true of everything that toy lanes have committed, whatever befell them."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from itertools import pairwise

from lane_world import Seen, read_all


def faults(bootstrap: str, tag: str, sent: int) -> dict[str, int]:
    """How often each truth is broken; empty if the lanes were exact."""
    topics = ("bids", "grants", "orders", "rounds", "leases", "accounts-changelog",
              "markets-changelog", "rules")  # fmt: skip
    world = {topic: read_all(bootstrap, f"{tag}.{topic}") for topic in topics}
    found: Counter[str] = Counter()
    found["bids lost by the source"] = sent - len(world["bids"])
    _check_orders(world, found)
    _check_rounds(world, found)
    _check_state(world, found)
    return {what: count for what, count in found.items() if count}


def _check_orders(world: dict[str, list[Seen]], found: Counter[str]) -> None:
    truth: dict[int, int] = {}
    running: Counter[int] = Counter()
    for bid in (seen.json() for seen in world["bids"]):
        running[bid["agent"]] += bid["amount"]
        truth[bid["id"]] = running[bid["agent"]]
    times: Counter[int] = Counter()
    sequences: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for seen in world["orders"]:
        order = seen.json()
        times[order["id"]] += 1
        sequences[order["source"], seen.partition].append(order["seq"])
        found["orders with a wrong total"] += order["total"] != truth.get(order["id"])
    found["bids without an order"] = sum(number not in times for number in truth)
    found["orders repeated"] = sum(count - 1 for count in times.values())
    found["sequence gaps"] = sum(s != list(range(1, len(s) + 1)) for s in sequences.values())


def _check_rounds(world: dict[str, list[Seen]], found: Counter[str]) -> None:
    for partition in {seen.partition for seen in world["orders"]}:
        orders = [(s.offset, s.json()) for s in world["orders"] if s.partition == partition]
        rounds = [s.json() for s in world["rounds"] if s.partition == partition]
        numbers = [closed["round"] for closed in rounds]
        found["round numbers"] += numbers != list(range(1, len(rounds) + 1))
        found["rounds overlap"] += sum(a["last"] >= b["first"] for a, b in pairwise(rounds))
        cleared: list[tuple[int, int]] = []
        for closed in rounds:
            inside = [o["id"] for at, o in orders if closed["first"] <= at <= closed["last"]]
            digest = hashlib.sha256(b"".join(b"%d;" % number for number in inside)).hexdigest()
            found["round digests"] += (digest, len(inside)) != (closed["digest"], closed["count"])
            cleared += [(number, closed["round"]) for number in inside]
        found["orders in no round"] += len(orders) - len(cleared)
        leases = [s.json() for s in world["leases"] if s.partition == partition]
        told = [(lease["id"], lease["round"]) for lease in leases]
        found["leases are not the orders in order"] += cleared != told


def _check_state(world: dict[str, list[Seen]], found: Counter[str]) -> None:
    accounts = _table(world["accounts-changelog"])
    for topic, kind in (("bids", "total"), ("grants", "granted")):
        sums: Counter[int] = Counter()
        for event in (seen.json() for seen in world[topic]):
            sums[event["agent"]] += event["amount"]
        for agent, amount in sums.items():
            found[f"{kind} in state"] += accounts.get(f"{kind}/{agent}") != amount
    # A member that had nothing else to do commits rules on their own, so all have all of them.
    per_partition = {s.partition: int(s.value) for s in world["accounts-changelog"]
                     if s.key == b"rules"}  # fmt: skip
    found["rules in state"] = sum(n != len(world["rules"]) for n in per_partition.values())
    markets, sums = _table(world["markets-changelog"]), Counter()
    for order in (seen.json() for seen in world["orders"]):
        sums[order["market"]] += order["amount"]
    for market, amount in sums.items():
        found["market total in state"] += markets.get(f"total/{market}") != amount


def _table(rows: list[Seen]) -> dict[str, int]:
    keys = [row.key for row in rows]
    return {
        key.decode(): int(row.value)
        for key, row in zip(keys, rows, strict=True)
        if not key.startswith(b"\0")
    }
