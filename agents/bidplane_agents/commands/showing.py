"""How outcomes, leases, balances and stories look to a person."""

from __future__ import annotations

import datetime as dt

import msgspec

from bidplane_agents import durations, history, view
from bidplane_agents.commands import output
from bidplane_topics.leases import LeasedDevice
from bidplane_topics.money import format_credits
from bidplane_topics.outcomes import OutcomeReported


def moment(at_ms: int) -> str:
    """A time as a person reads it, in UTC."""
    if at_ms == 0:
        return ""
    at = dt.datetime.fromtimestamp(at_ms / 1000, tz=dt.UTC)
    return at.strftime("%Y-%m-%d %H:%M:%S")


def credits_of(micros: int) -> str:
    """An amount, or nothing for 0."""
    return format_credits(micros) if micros else ""


def devices(found: tuple[LeasedDevice, ...]) -> str:
    """``node-1: gpu-0 gpu-1; node-2: gpu-5``."""
    by_node: dict[str, list[str]] = {}
    for device in found:
        by_node.setdefault(device.node, []).append(device.name)
    return "; ".join(f"{node}: {' '.join(names)}" for node, names in by_node.items())


def evidence(outcome: OutcomeReported) -> str:
    """The figures behind an outcome: amounts in credits, times as a person reads them."""
    return ", ".join(_figure(name, value) for name, value in outcome.evidence.items())


def _figure(name: str, value: int | str) -> str:
    """``price_micros_per_unit_slot`` is a price; ``pending_until_ms`` is a moment."""
    if isinstance(value, int) and "_micros" in name:
        return f"{name.replace('_micros', '')} {format_credits(value)}"
    if isinstance(value, int) and name.endswith("_ms"):
        until = name.endswith(("_at_ms", "_until_ms"))
        return f"{name.removesuffix('_ms')} {moment(value) if until else durations.show(value)}"
    return f"{name} {value}"


def bought(found: OutcomeReported, paid_micros: int, *, as_json: bool) -> None:
    """The outcome ``bound`` of a lease that was bought for ``paid_micros``.

    Its own price is what the market would refund of it: a part of what the first holder paid.
    """
    if as_json:
        output.json({**msgspec.to_builtins(found), "paid_micros": paid_micros})
        return
    unused = f"{format_credits(found.price_micros)} at most: the market's price of what was left"
    _facts(
        msgspec.structs.replace(found, price_micros=0),
        ("paid", f"{format_credits(paid_micros)} to the seller"), ("refundable", unused),
    )  # fmt: skip


def outcome(found: OutcomeReported, *, as_json: bool) -> None:
    """One outcome, in full."""
    output.json(found) if as_json else _facts(found)


def _sale(found: OutcomeReported) -> str:
    """What an offer's lease is sold for."""
    return credits_of(found.amount_micros) if found.offer_id else ""


def _facts(found: OutcomeReported, *more: tuple[str, str]) -> None:
    output.facts([
        ("outcome", found.kind), ("why", found.sentence), ("bid", found.bid_id),
        ("lease", found.lease_id), ("market", found.market), ("pool", found.market_pool),
        ("offer", found.offer_id), ("sale price", _sale(found)), ("epoch", str(found.epoch or "")),
        ("devices", devices(found.devices)),
        ("price", credits_of(found.price_micros)), ("refund", credits_of(found.refund_micros)),
        ("ends at", moment(found.ends_at_ms)), ("figures", evidence(found)),
        *more,
    ])  # fmt: skip


def streamed(found: OutcomeReported, *, as_json: bool) -> None:
    """One outcome as one line."""
    if as_json:
        output.json_line(found)
        return
    parts = [
        moment(found.at_ms), found.kind, _about(found), found.sentence,
        f"price {format_credits(found.price_micros)}" if found.price_micros else "",
        f"sale price {_sale(found)}" if _sale(found) else "",
        f"refund {format_credits(found.refund_micros)}" if found.refund_micros else "",
        devices(found.devices), evidence(found),
        f"ends at {moment(found.ends_at_ms)}" if found.ends_at_ms else "",
    ]  # fmt: skip
    output.line("  ".join(part for part in parts if part))


def _about(found: OutcomeReported) -> str:
    """What an outcome is about: a lease, a bid, or the round that a receipt is for."""
    if found.kind == "receipt":
        return f"{found.market} window {found.window}"
    return found.lease_id or found.bid_id


def holdings(seen: view.View, *, as_json: bool) -> None:
    """Open bids and leases."""
    if as_json:
        output.json({
            "agent": f"{seen.tenant}/{seen.agent}", "bids": list(seen.bids.values()),
            "leases": list(seen.leases.values()), "available_micros": seen.available_micros,
            "held_micros": seen.held_micros,
        })  # fmt: skip
        return
    if not seen.bids and not seen.leases:
        output.line("no open bids, no leases")
    if seen.leases:
        columns = ["lease", "state", "market", "pool", ">epoch", ">price", "ends at", "devices"]
        output.table(columns, (
            [one.lease_id, one.state, one.market, one.market_pool, str(one.epoch),
             format_credits(one.price_micros), moment(one.ends_at_ms), devices(one.devices)]
            for one in seen.leases.values()
        ))  # fmt: skip
    if seen.bids:
        output.table(["open bid", "market", ">held"], (
            [one.bid_id, one.market, format_credits(one.held_micros)] for one in seen.bids.values()
        ))  # fmt: skip


def balance(found: history.Balance, *, as_json: bool) -> None:
    """An account's money."""
    if as_json:
        output.json(found)
        return
    output.facts([
        ("account", found.account), ("available", format_credits(found.available_micros)),
        ("held", format_credits(found.held_micros)), ("known from", found.known_from),
    ])  # fmt: skip


def story(found: history.Story, *, as_json: bool) -> None:
    """What became of a bid."""
    if as_json:
        output.json(found)
        return
    for one in found.outcomes:
        streamed(one, as_json=False)
    output.line(f"next: {found.next_step}")
