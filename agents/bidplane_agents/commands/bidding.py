"""Commands of an agent: bid, cancel, release, allocations, balance, why."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Annotated

import typer

from bidplane_agents import (
    budgets,
    clock,
    durations,
    errors,
    history,
    placing,
    profiles,
    sequence,
    session,
)
from bidplane_agents import client as clients
from bidplane_agents import connection as connections
from bidplane_agents import operator as operators
from bidplane_agents.commands import awaiting, options, output, showing
from bidplane_topics import bids
from bidplane_topics.outcomes import OutcomeReported


def bid(
    *,
    market: Annotated[str, typer.Option(help="The market to bid in.")],
    value: Annotated[
        str,
        typer.Option(help="Credits; for each level when elastic. No more than you have counts."),
    ],
    shape: Annotated[str, typer.Option(help="1g 2g 3g 4g, or 1 2 4 8 16 32 64 devices.")] = "",
    minutes: Annotated[str, typer.Option(help="How long, in minutes.")] = "",
    select: Annotated[
        list[str] | None,
        typer.Option(metavar="ATTR=VALUE", help="Of every alternative: see `market pools`."),
    ] = None,
    alternative: Annotated[
        list[str] | None,
        typer.Option(metavar="SHAPE:DURATION[:ATTR=VALUE,…]", help="Any one of these will do."),
    ] = None,
    levels: Annotated[str, typer.Option(metavar="MIN..MAX", help="Makes the bid elastic.")] = "",
    not_before: Annotated[
        str, typer.Option(help="Do not clear it before this long from now.")
    ] = "",
    rest: Annotated[
        str, typer.Option(help="Stay in the book this long, from now or --not-before.")
    ] = "",
    show: Annotated[
        bool, typer.Option("--print", help="Print the record; do not send it.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until it is bound or refused.")
    ] = False,
    timeout: options.Timeout = 120.0,
    agent: options.Agent = "",
    kafka: options.Kafka = "",
    directory: options.Directory = "",
    as_json: options.AsJson = False,
) -> int:
    """Bid for devices; prints the bid's id."""
    ways = _ways(shape, minutes, alternative or [], select or [])
    low, high = placing.parse_levels(levels) if levels else (1, 1)
    now_ms = clock.now_ms()
    from_ms = now_ms + durations.parse_ms("--not-before", not_before) if not_before else 0
    place = placing.checked(
        market=market, mode="elastic" if levels else "rigid", alternatives=ways,
        value_micros=placing.micros(value), level_min=low, level_max=high,
        not_before_ms=from_ms,
        rest_until_ms=(from_ms or now_ms) + durations.parse_ms("--rest", rest) if rest else 0,
    )  # fmt: skip
    if show:
        return print_record(place, agent, directory)

    async def work() -> int:
        """Do what needs Kafka."""
        speaker = clients.Client.from_environment(
            agent, kafka=kafka, directory=directory, listen=wait
        )
        async with speaker as client:
            bid_id = await client.bid(place)
            if not wait:
                output.json({"bid_id": bid_id}) if as_json else output.line(bid_id)
                return 0
            showing.outcome(await awaiting.bound(client, bid_id, timeout), as_json=as_json)
            return 0

    return output.run(work())


def _ways(
    shape: str, minutes: str, alternatives: list[str], terms: list[str]
) -> tuple[bids.Alternative, ...]:
    """The alternatives that were typed; ``terms`` hold for each that does not say otherwise."""
    shared = placing.parse_selector(terms)
    ways = tuple(placing.parse_alternative(text, shared) for text in alternatives)
    if ways and not shape and not minutes:
        return ways
    if not (shape and minutes):
        raise errors.BadInput("give --shape and --minutes, or --alternative SHAPE:DURATION")
    duration_ms = durations.minutes_ms("--minutes", minutes)
    return (placing.alternative(shape, duration_ms, shared), *ways)


def print_record(place: bids.Place, agent: str, directory: str) -> int:
    """The exact record: topic, partition, key, headers and value, byte for byte, unsent."""
    profile = profiles.load(profiles.find(agent, directory))
    # A sequence in memory: a record that is only shown must not use up a number.
    speaker = session.Session(
        profile, connections.Connection("none:0"), sequence.Sequence(), clock.now_ms
    )
    record = speaker.seal([bids.Command(place=place)])
    output.json({
        "topic": record.topic, "partition": record.partition, "key": record.key.decode(),
        "headers": {name: raw.decode() for name, raw in record.headers},
        "value": record.value.decode(),
        "value_base64": base64.b64encode(record.value).decode(),
        "bid_id": record.command_ids[0],
    })  # fmt: skip
    return 0


def cancel(
    *,
    bid_id: Annotated[str, typer.Argument(metavar="BID")],
    wait: Annotated[bool, typer.Option(help="Wait for the market's answer.")] = True,
    timeout: options.Timeout = 30.0,
    agent: options.Agent = "",
    kafka: options.Kafka = "",
    directory: options.Directory = "",
    as_json: options.AsJson = False,
) -> int:
    """Ask to take a bid out of the book; the market answers."""

    async def work() -> OutcomeReported | None:
        """Do what needs Kafka."""
        speaker = clients.Client.from_environment(
            agent, kafka=kafka, directory=directory, listen=wait
        )
        async with speaker as client:
            command_id = await client.cancel(bid_id)
            if not wait:
                return None
            return await client.wait_for(bid_id, {"cancelled"}, timeout, command_id=command_id)

    return _answer(output.run(work()), bid_id, as_json=as_json)


def release(
    *,
    lease_id: Annotated[str, typer.Argument(metavar="LEASE")],
    wait: Annotated[bool, typer.Option(help="Wait for the market's answer.")] = True,
    timeout: options.Timeout = 30.0,
    agent: options.Agent = "",
    kafka: options.Kafka = "",
    directory: options.Directory = "",
    as_json: options.AsJson = False,
) -> int:
    """Give a lease back before its end; what is unused is refunded."""

    async def work() -> OutcomeReported | None:
        """Do what needs Kafka."""
        speaker = clients.Client.from_environment(
            agent, kafka=kafka, directory=directory, listen=wait
        )
        async with speaker as client:
            command_id = await client.release(lease_id)
            if not wait:
                return None
            over = {"ending", "ended", "voided"}
            return await client.wait_for(lease_id, over, timeout, command_id=command_id)

    return _answer(output.run(work()), lease_id, as_json=as_json)


def _answer(found: OutcomeReported | None, name: str, *, as_json: bool) -> int:
    if found is not None:
        showing.outcome(found, as_json=as_json)
    elif as_json:
        output.json({"asked": name})
    else:
        output.line(f"asked {name}")
    return 0


def allocations(
    *,
    follow: Annotated[bool, typer.Option("--follow", help="Print outcomes as they come.")] = False,
    from_beginning: Annotated[bool, typer.Option(help="With --follow: all that are kept.")] = False,
    agent: options.Agent = "",
    kafka: options.Kafka = "",
    directory: options.Directory = "",
    as_json: options.AsJson = False,
) -> int:
    """Show open bids and leases, or follow what you are told."""
    client = clients.Client.from_environment(agent, kafka=kafka, directory=directory, listen=False)
    if follow:
        return output.run(_follow(client.follow(from_beginning=from_beginning), as_json=as_json))
    profile = client.profile
    told = output.run(history.own(client.connection, profile.tenant, profile.agent))
    showing.holdings(history.fold(profile.tenant, profile.agent, told), as_json=as_json)
    return 0


async def _follow(told: AsyncIterator[OutcomeReported], *, as_json: bool) -> int:
    async for outcome in told:
        showing.streamed(outcome, as_json=as_json)
    return 0


def balance(
    *,
    account: Annotated[str, typer.Argument(metavar="[TENANT[/NAME]|org:NAME]")] = "",
    ledger: Annotated[
        bool, typer.Option("--ledger", help="Add up the ledger (operators).")
    ] = False,
    agent: options.Agent = "",
    kafka: options.Kafka = "",
    directory: options.Directory = "",
    as_json: options.AsJson = False,
) -> int:
    """Show what is available and what is held."""
    if account and not ledger:
        raise errors.BadInput("another account's balance is in the ledger: add --ledger")
    if ledger:
        found = output.run(_ledger(account, agent, kafka, directory))
    else:
        found = output.run(_own_balance(agent, kafka, directory))
    showing.balance(found, as_json=as_json)
    return 0


async def _own_balance(agent: str, kafka: str, directory: str) -> history.Balance:
    client = clients.Client.from_environment(agent, kafka=kafka, directory=directory, listen=False)
    profile = client.profile
    told = await history.own(client.connection, profile.tenant, profile.agent)
    if not told:
        raise errors.NoAnswer(
            f"{profile.id} was told nothing yet: is a worker running, and is the agent registered?"
        )
    seen = history.fold(profile.tenant, profile.agent, told)
    return history.Balance(
        account=profile.id, available_micros=seen.available_micros, held_micros=seen.held_micros,
        known_from="outcomes",
    )  # fmt: skip


async def _ledger(account: str, agent: str, kafka: str, directory: str) -> history.Balance:
    connection = connections.from_environment(kafka, directory)
    account = account or profiles.load(profiles.find(agent, directory)).id
    budgets.check_account(account)
    known = await operators.Operator(connection).directory()
    return await history.ledger_balance(connection, known.partition_of(account), account)


def why(
    *,
    bid_id: Annotated[str, typer.Argument(metavar="BID")],
    agent: options.Agent = "",
    kafka: options.Kafka = "",
    directory: options.Directory = "",
    as_json: options.AsJson = False,
) -> int:
    """Tell what became of a bid, why, and what to do next."""
    client = clients.Client.from_environment(agent, kafka=kafka, directory=directory, listen=False)
    profile = client.profile
    told = output.run(history.own(client.connection, profile.tenant, profile.agent))
    found = history.story(bid_id, told)
    if not found.outcomes:
        raise errors.BadInput(
            f"nothing is kept of bid {bid_id!r} for {profile.id}: check the id; does a worker run?"
        )
    showing.story(found, as_json=as_json)
    return 0
