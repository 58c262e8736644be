"""Commands about markets: create, list."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from bidplane_agents import connection as connections
from bidplane_agents import durations, errors, operator
from bidplane_agents.commands import options, output
from bidplane_topics import markets, money

app = typer.Typer(no_args_is_help=True, help="Markets: create, list.")


@app.command("create")
def create(
    *,
    name: Annotated[str, typer.Argument()],
    window: Annotated[str, typer.Option(help="How long bids are collected.")] = "2s",
    slot: Annotated[str, typer.Option(help="The unit of time that is sold.")] = "1s",
    rule: Annotated[str, typer.Option(help="greedy, uniform or pay-as-bid.")] = "greedy",
    reserve: Annotated[str, typer.Option(help="Least credits per unit (1/7 GPU) and slot.")] = "0",
    pool_reserve: Annotated[list[str] | None, typer.Option(metavar="POOL=CREDITS")] = None,
    pool_scarcity: Annotated[list[str] | None, typer.Option(metavar="POOL=PERMILLE")] = None,
    fingerprint: Annotated[str, typer.Option(help="Attributes that tell pools apart, a,b,c.")] = "",
    device_class: Annotated[str, typer.Option(help="What a bid means that names none.")] = "",
    max_duration: Annotated[str, typer.Option(help="The longest lease.")] = "1d",
    bind_deadline: Annotated[str, typer.Option(help="Unbound after this: refunded.")] = "30s",
    grace: Annotated[str, typer.Option(help="Time between notice and revocation.")] = "10s",
    stale_after: Annotated[
        str, typer.Option(help="A sink silent this long sells nothing.")
    ] = "15s",
    release_fee: Annotated[str, typer.Option(help="Credits kept at an early release.")] = "0",
    kafka: options.Kafka = "",
    directory: options.Directory = "",
    as_json: options.AsJson = False,
) -> int:
    """Create a market on the lowest free partition."""
    rules: dict[str, Any] = {
        "market": name, "rule": rule,
        "window_ms": durations.parse_ms("--window", window),
        "slot_ms": durations.parse_ms("--slot", slot),
        "reserve_micros": money.parse_credits(reserve),
        "reserves": {k: money.parse_credits(v) for k, v in _pairs("--pool-reserve", pool_reserve)},
        "scarcity": {k: _whole(v) for k, v in _pairs("--pool-scarcity", pool_scarcity)},
        "max_duration_ms": durations.parse_ms("--max-duration", max_duration),
        "bind_deadline_ms": durations.parse_ms("--bind-deadline", bind_deadline),
        "grace_ms": durations.parse_ms("--grace", grace),
        "stale_after_ms": durations.parse_ms("--stale-after", stale_after),
        "release_fee_micros": money.parse_credits(release_fee),
    }  # fmt: skip
    if device_class:
        rules["device_class"] = device_class
    if fingerprint:
        rules["fingerprint"] = fingerprint.split(",")

    async def work() -> markets.MarketDeclared:
        """Do what needs Kafka."""
        async with operator.Operator(connections.from_environment(kafka, directory)) as hand:
            return await hand.create_market(rules)

    _show([output.run(work())], as_json=as_json)
    return 0


def _pairs(option: str, given: list[str] | None) -> list[tuple[str, str]]:
    pairs = [(text.rpartition("=")[0], text.rpartition("=")[2]) for text in given or []]
    for name, _ in pairs:
        if not name:
            raise errors.BadInput(f"{option}: write POOL=NUMBER")
    return pairs


def _whole(text: str) -> int:
    if not text.isdigit():
        raise errors.BadInput(f"--pool-scarcity {text!r}: write a whole number of permille")
    return int(text)


@app.command("list")
def list_all(
    *, kafka: options.Kafka = "", directory: options.Directory = "", as_json: options.AsJson = False
) -> int:
    """List the markets and their rules."""

    async def work() -> dict[str, markets.MarketDeclared]:
        """Do what needs Kafka."""
        async with operator.Operator(connections.from_environment(kafka, directory)) as hand:
            return await hand.declared_markets()

    _show([market for _, market in sorted(output.run(work()).items())], as_json=as_json)
    return 0


def _show(found: list[markets.MarketDeclared], *, as_json: bool) -> None:
    if as_json:
        output.json(found)
        return
    columns = ["market", ">partition", "rule", ">window", ">slot", ">reserve", "fingerprint"]
    output.table(columns, ([
        market.market, str(market.partition), market.rule, durations.show(market.window_ms),
        durations.show(market.slot_ms), money.format_credits(market.reserve_micros),
        ",".join(market.fingerprint),
    ] for market in found))  # fmt: skip
