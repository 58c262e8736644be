"""Ways to falsify a log, each by one or few records: what an auditor is for.

Decides how a falsification looks. Every mutant returns the new records, or None where this log
offers no occasion for it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import orjson

from bidplane_agents.audit.heap import Record
from bidplane_topics import registry

Records = list[Record]
Wanted = Callable[[dict[str, Any]], bool]
Mutant = Callable[[Records, random.Random], "Records | None"]


def any_event(_: dict[str, Any]) -> bool:
    """Every record will do."""
    return True


def body(record: Record) -> dict[str, Any]:
    """A record's JSON."""
    found: dict[str, Any] = orjson.loads(record.value or b"")
    return found


def pick(
    records: Records, rng: random.Random, topic: registry.Topic, wanted: Wanted = any_event
) -> int | None:
    """The index of some record of a topic."""
    found = [i for i, one in enumerate(records) if one.topic == topic.name and wanted(body(one))]
    return rng.choice(found) if found else None


def drop(topic: registry.Topic, wanted: Wanted = any_event) -> Mutant:
    """A record is gone."""

    def mutant(records: Records, rng: random.Random) -> Records | None:
        at = pick(records, rng, topic, wanted)
        return None if at is None else records[:at] + records[at + 1 :]

    return mutant


def repeat(topic: registry.Topic, wanted: Wanted = any_event) -> Mutant:
    """A record stands once more at the end of its partition."""

    def mutant(records: Records, rng: random.Random) -> Records | None:
        at = pick(records, rng, topic, wanted)
        if at is None:
            return None
        last = max(one.offset for one in records if one.place == records[at].place)
        return [*records, records[at]._replace(offset=last + 1)]

    return mutant


def alter(
    topic: registry.Topic, change: Callable[[dict[str, Any]], None], wanted: Wanted = any_event
) -> Mutant:
    """A record says something else."""

    def mutant(records: Records, rng: random.Random) -> Records | None:
        at = pick(records, rng, topic, wanted)
        if at is None:
            return None
        event = body(records[at])
        change(event)
        return [*records[:at], records[at]._replace(value=orjson.dumps(event)), *records[at + 1 :]]

    return mutant


def add(field: str, by: int) -> Callable[[dict[str, Any]], None]:
    """Change an amount."""

    def change(event: dict[str, Any]) -> None:
        event[field] += by

    return change


def put(**fields: Any) -> Callable[[dict[str, Any]], None]:
    """Set fields."""

    def change(event: dict[str, Any]) -> None:
        event.update(fields)

    return change


def has(**fields: Any) -> Wanted:
    """Records with these values."""
    return lambda event: all(event.get(name) == value for name, value in fields.items())


def swap_accounts(event: dict[str, Any]) -> None:
    """The money goes the other way."""
    event["debit"], event["credit"] = event["credit"], event["debit"]


def forge_root(event: dict[str, Any]) -> None:
    """Another digest."""
    event["root"] = event["root"][::-1]


def raise_price(event: dict[str, Any]) -> None:
    """A pool's price, one higher."""
    for pool in event["pools"].values():
        pool["price_micros"] += 1


def raise_ask(event: dict[str, Any]) -> None:
    """One shape's ask in a pool that shows any, one higher."""
    asks = next(pool["asks"] for pool in event["pools"].values() if pool.get("asks"))
    asks[min(asks)] += 1


def shows_asks(event: dict[str, Any]) -> bool:
    """Rounds in which enough agents took part."""
    return any(pool.get("asks") for pool in event["pools"].values())


def overcharge(records: Records, rng: random.Random) -> Records | None:
    """A winner pays more than it bid, and ledger, lease and outcome all agree to it."""
    at = pick(records, rng, registry.SETTLEMENTS, has(cause="won"))
    if at is None:
        return None
    settled = body(records[at])
    price = settled["charge_micros"] + 10_000

    def forged(record: Record) -> Record:
        if record.topic not in _SPEAK_OF_PRICES:
            return record
        event = body(record)
        if (
            event.get("bid_id") == settled["bid_id"]
            or event.get("reference") == settled["settlement_id"]
        ):
            for field in ("charge_micros", "price_micros"):
                if event.get(field):
                    event[field] = price
            if event.get("kind") == "charge":
                event["amount_micros"] = price
        return record._replace(value=orjson.dumps(event))

    return [forged(record) for record in records]


_SPEAK_OF_PRICES = {
    topic.name
    for topic in (registry.SETTLEMENTS, registry.LEASES, registry.OUTCOMES, registry.LEDGER)
}


def seize(records: Records, rng: random.Random) -> Records | None:
    """A lease names the devices of another that is active, everywhere and consistently."""
    last: dict[str, dict[str, Any]] = {}
    pairs = []
    for record in records:
        if record.topic != registry.LEASES.name:
            continue
        lease = body(record)
        if lease["state"] == "awarded":
            pairs += [
                (lease, other) for other in last.values()
                if other["state"] != "ended" and other["market"] == lease["market"]
                and other["shape"] == lease["shape"] and other["level"] == lease["level"]
                and other["devices"] != lease["devices"]
            ]  # fmt: skip
        last[lease["lease_id"]] = lease
    if not pairs:
        return None
    mine, theirs = rng.choice(pairs)

    def forged(record: Record) -> Record:
        if record.topic not in (registry.LEASES.name, registry.OUTCOMES.name):
            return record
        event = body(record)
        if event.get("lease_id") != mine["lease_id"] or not event.get("devices"):
            return record
        event["devices"] = theirs["devices"]
        if "nodes" in event:
            event["nodes"] = theirs["nodes"]
        return record._replace(value=orjson.dumps(event))

    return [forged(record) for record in records]


def invent_device(event: dict[str, Any]) -> None:
    """A device that no node offers."""
    event["devices"][0]["uuid"] += "-ghost"


def invent_outcome(records: Records, rng: random.Random) -> Records | None:
    """An agent is told of a bid that nobody placed."""
    at = pick(records, rng, registry.OUTCOMES, has(kind="won"))
    if at is None:
        return None
    event = body(records[at])
    event["outcome_id"] += "0"
    event["bid_id"] += "0"
    last = max(one.offset for one in records if one.place == records[at].place)
    return [*records, records[at]._replace(offset=last + 1, value=orjson.dumps(event))]


def bury_sound_bid(records: Records, rng: random.Random) -> Records | None:
    """A verified record lies in the dead letters as forged."""
    at = pick(records, rng, registry.BIDS, lambda event: "commands" in event)
    if at is None:
        return None
    record = records[at]
    topic = registry.dead_letters(registry.BIDS).name
    origin = f"{record.topic}/{record.partition}/{record.offset}".encode()
    headers = (("bidplane-reason", b"forged"), ("bidplane-origin", origin))
    offset = 1 + max(
        (one.offset for one in records if one.place == (topic, record.partition)), default=-1
    )
    return [*records, record._replace(topic=topic, offset=offset, headers=headers)]


def break_signature(records: Records, rng: random.Random) -> Records | None:
    """A record on bids says something that nobody signed."""
    held = {body(one)["bid_id"] for one in records if one.topic == registry.ORDERS.name}

    def led_to_orders(event: dict[str, Any]) -> bool:
        about = f"{event.get('tenant')}/{event.get('agent')}/"
        return any(bid.startswith(about) and f"/{event.get('sequence')}/" in bid for bid in held)

    at = pick(records, rng, registry.BIDS, led_to_orders)
    if at is None:
        return None
    value = (records[at].value or b"").replace(b'"v":1', b'"v":1 ')
    return [*records[:at], records[at]._replace(value=value), *records[at + 1 :]]


def garble_declaration(records: Records, rng: random.Random) -> Records | None:
    """The first declaration of a market is garbage that nobody set aside."""
    del rng
    place = next(at for at, one in enumerate(records) if one.topic == registry.MARKETS.name)
    return [*records[:place], records[place]._replace(value=b"{"), *records[place + 1 :]]


def hush(records: Records, rng: random.Random) -> Records | None:
    """A loser hears nothing and its money stays held: settlement and outcome are both gone."""
    at = pick(records, rng, registry.SETTLEMENTS, has(cause="lost"))
    if at is None:
        return None
    bid = body(records[at])["bid_id"]
    topics = (registry.SETTLEMENTS.name, registry.OUTCOMES.name)
    return [
        one for one in records
        if one.topic not in topics or body(one).get("bid_id") != bid or body(one)["type"] == "held"
    ]  # fmt: skip


def hide_node(records: Records, rng: random.Random) -> Records | None:
    """A node was never offered: one offer alone may repeat what is known already."""
    at = pick(records, rng, registry.SUPPLY)
    assert at is not None
    node = body(records[at])["node"]
    return [
        one for one in records
        if one.topic != registry.SUPPLY.name or body(one).get("node") != node
    ]  # fmt: skip


def hide_grant(records: Records, rng: random.Random) -> Records | None:
    """Money came to an agent, and no record of a grant says why: one alone may be a repetition."""
    moved = {body(one)["reference"] for one in records if one.topic == registry.LEDGER.name}
    at = pick(records, rng, registry.ACCOUNTS, lambda event: event.get("grant_id") in moved)
    if at is None:
        return None
    grant = body(records[at])["grant_id"]
    return [
        one for one in records
        if one.topic != registry.ACCOUNTS.name or body(one).get("grant_id") != grant
    ]  # fmt: skip


def hide_binding(records: Records, rng: random.Random) -> Records | None:
    """All that made a lease bound is gone."""
    at = pick(records, rng, registry.LEASES, has(state="bound"))
    if at is None:
        return None
    lease = body(records[at])["lease_id"]
    return [
        one for one in records
        if one.topic != registry.REPORTS.name
        or (body(one)["type"], body(one).get("lease_id")) != ("lease_bound", lease)
    ]  # fmt: skip


def hide_dead_letter(records: Records, rng: random.Random) -> Records | None:
    """A forged record lies on bids, followed by others, and nobody set it aside."""
    topic = registry.dead_letters(registry.BIDS).name
    at = next((index for index, one in enumerate(records) if one.topic == topic), None)
    return None if at is None else records[:at] + records[at + 1 :]


R = registry
MUTANTS: dict[str, Mutant] = {
    "garble a declaration": garble_declaration,
    "drop a settlement": drop(R.SETTLEMENTS),
    "repeat a settlement": repeat(R.SETTLEMENTS),
    "charge one micro-credit more": alter(R.SETTLEMENTS, add("charge_micros", 1), has(cause="won")),
    "charge one micro-credit less":
        alter(R.SETTLEMENTS, add("charge_micros", -1), lambda e: e["charge_micros"] > 0),
    "charge a loser": alter(R.SETTLEMENTS, put(charge_micros=1), has(cause="lost")),
    "charge more than the bid": overcharge,
    "refund one micro-credit more":
        alter(R.SETTLEMENTS, add("refund_micros", 1), lambda e: e["refund_micros"] > 0),
    "settle another cause": alter(R.SETTLEMENTS, put(cause="cancelled"), has(cause="lost")),
    "skip a settlement's number": alter(R.SETTLEMENTS, add("seq", 1)),
    "drop a ledger entry": drop(R.LEDGER),
    "repeat a ledger entry": repeat(R.LEDGER),
    "post one micro-credit more": alter(R.LEDGER, add("amount_micros", 1)),
    "turn an entry round": alter(R.LEDGER, swap_accounts),
    "post an entry for another cause": alter(R.LEDGER, lambda e: add("offset", 1)(e["origin"])),
    "pay into another account":
        alter(R.LEDGER, put(credit="agent/team-9/thief"), has(kind="unhold")),
    "drop an order": drop(R.ORDERS),
    "repeat an order": repeat(R.ORDERS),
    "raise an order's value": alter(R.ORDERS, add("value_micros", 1), has(type="order_placed")),
    "skip an order's number": alter(R.ORDERS, add("seq", 1)),
    "let an order rest":
        alter(R.ORDERS, put(rest_until_ms=2**50), has(type="order_placed", rest_until_ms=0)),
    "drop a terminal outcome":
        drop(R.OUTCOMES, lambda e: e["kind"] in ("won", "lost", "expired", "cancelled")),
    "drop a refusal": drop(R.OUTCOMES, has(kind="refused")),
    "drop a held outcome": drop(R.OUTCOMES, has(kind="held")),
    "drop any outcome of a lease":
        drop(R.OUTCOMES, lambda e: e["kind"] in ("bound", "notice", "ending", "voided", "ended")),
    "repeat an outcome": repeat(R.OUTCOMES),
    "tell another price": alter(R.OUTCOMES, add("price_micros", 1), has(kind="won")),
    "tell another reason": alter(R.OUTCOMES, put(reason="bind_failed"), has(kind="lost")),
    "tell no reason": alter(R.OUTCOMES, put(reason=None, sentence=""), has(kind="lost")),
    "tell a loser that it won":
        alter(R.OUTCOMES, put(kind="won", reason=None, sentence=""), has(kind="lost")),
    "tell false balances":
        alter(R.OUTCOMES, lambda e: add("available_micros", 1)(e["evidence"]), has(kind="held")),
    "invent an outcome": invent_outcome,
    "hush a loss up": hush,
    "forge a round's root": alter(R.ROUNDS, forge_root),
    "forge a round's previous root": alter(R.ROUNDS, put(previous_root="1" * 64)),
    "forge a round's beacon": alter(R.ROUNDS, put(beacon="1" * 64)),
    "change a round's price by one": alter(R.ROUNDS, raise_price),
    "change a round's ask by one": alter(R.ROUNDS, raise_ask, shows_asks),
    "change a round's revenue by one": alter(R.ROUNDS, add("revenue_micros", 1)),
    "change a round's inputs": alter(R.ROUNDS, lambda e: add(R.ORDERS.name, 1)(e["inputs"])),
    "close a round later": alter(R.ROUNDS, add("closed_at_ms", 1)),
    "drop a round": drop(R.ROUNDS),
    "repeat a round": repeat(R.ROUNDS),
    "name a device that is not there": alter(R.LEASES, invent_device),
    "lease a device twice": seize,
    "leave a device out":
        alter(R.LEASES, lambda e: e["devices"].pop(), lambda e: len(e["devices"]) > 1),
    "raise a lease's epoch": alter(R.LEASES, add("epoch", 1)),
    "prolong a lease": alter(R.LEASES, add("ends_at_ms", 60_000), has(state="bound")),
    "revive a lease": alter(R.LEASES, put(state="bound"), has(state="ended")),
    "drop a lease's last state": drop(R.LEASES, has(state="ended")),
    "repeat a lease's state": repeat(R.LEASES),
    "change a lease's price": alter(R.LEASES, add("price_micros", 1)),
    "hide a report of binding": hide_binding,
    "hide a node": hide_node,
    "hide a grant": hide_grant,
    "grant more":  # what a grant of the same id says later counts for nothing
        alter(R.ACCOUNTS, add("amount_micros", 1), has(grant_id="agent-1-0", amount_micros=60_000)),
    "refill more": alter(R.ACCOUNTS, add("amount_micros", 1), has(type="refill_set")),
    "decay more":
        alter(R.ACCOUNTS, add("decay_permille", 50), has(type="budget_set", organisation="acme")),
    "decay one micro-credit more": alter(R.LEDGER, add("amount_micros", 1), has(kind="decay")),
    "hide a decay": drop(R.LEDGER, has(kind="decay")),
    "drop a transfer": drop(R.TRANSIT, has(type="credit_sent")),
    "repeat a transfer": repeat(R.TRANSIT, has(type="credit_sent")),
    "send more than was paid": alter(R.TRANSIT, add("amount_micros", 1), has(type="credit_sent")),
    "return more than was sent":
        alter(R.TRANSIT, add("amount_micros", 1), has(type="credit_returned")),
    "hide a return": drop(R.TRANSIT, has(type="credit_returned")),
    "credit a transfer twice": repeat(R.LEDGER, has(kind="transit", debit="transit")),
    "fund an organisation more":
        alter(R.ACCOUNTS, add("amount_micros", 1), has(type="organisation_funded")),
    "leave an organisation": alter(R.AGENTS, put(organisation=""), has(tenant="guild", agent=None)),
    "hide a bid": drop(R.BIDS, lambda e: bool(e.get("commands")) and "place" in e["commands"][0]),
    "break a signature": break_signature,
    "hide a dead letter": hide_dead_letter,
    "bury a sound bid": bury_sound_bid,
}  # fmt: skip
