"""The command of an agent that holds on to a lease: renew."""

from __future__ import annotations

from typing import Annotated

import typer

from bidplane_agents import client as clients
from bidplane_agents import clock, durations, history, placing, renewing
from bidplane_agents import lease as leases
from bidplane_agents.commands import options, output, showing
from bidplane_agents.errors import BadInput, Refusal
from bidplane_topics import money
from bidplane_topics.outcomes import OutcomeReported

_OVER = frozenset({"ending", "ended", "voided", "transferred"})


def renew(
    *,
    lease_id: Annotated[str, typer.Argument(metavar="LEASE")],
    value: Annotated[str, typer.Option(help="Credits that another term is worth.")],
    minutes: Annotated[str, typer.Option(help="How long it lasts; 0.5 is half a minute.")],
    keep: Annotated[
        bool, typer.Option("--keep", help="Bid for term after term, until one is not won.")
    ] = False,
    hours: Annotated[
        float,
        typer.Option(
            show_default=False, help="With --keep: no term that would end later than that from now."
        ),
    ] = 0,
    spend: Annotated[
        str, typer.Option(help="With --keep: no term that could make all cost more.")
    ] = "",
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until the renewal is decided.")
    ] = False,
    agent: options.Agent = "",
    kafka: options.Kafka = "",
    directory: options.Directory = "",
    as_json: options.AsJson = False,
) -> int:
    """Bid for another term of a lease, on the same devices and without a restart of its pods.

    It is decided in the last window before the lease's end. Example:
    bidplane renew l0123456789abcdef01234567 --value 3.50 --minutes 10 --wait
    """
    if (hours or spend) and not keep:
        raise BadInput("--hours and --spend limit --keep: give it too, or leave them out")
    until_ms = clock.now_ms() + int(hours * 3_600_000) if hours else 0
    terms = renewing.Terms(
        duration_ms=durations.minutes_ms("--minutes", minutes),
        value_micros=placing.micros(value), until_ms=until_ms,
        spend_micros=_limit(spend),
    )  # fmt: skip

    async def work() -> int:
        """Do what needs Kafka."""
        speaker = clients.Client.from_environment(
            agent, kafka=kafka, directory=directory, listen=wait or keep
        )
        async with speaker as client:
            profile = client.profile
            told = await history.own(client.connection, profile.tenant, profile.agent)
            lease = standing(lease_id, told)
            if keep:
                await _kept(client, lease, terms)
                output.line(stopped_line(lease, clock.now_ms()))
                return 0
            bid_id = await client.renew_for(lease, terms.value_micros, terms.duration_ms)
            if not wait:
                output.json({"bid_id": bid_id}) if as_json else output.line(bid_id)
                return 0
            left_ms = max(0, lease.ends_at_ms - clock.now_ms())
            output.note(f"sent {bid_id}; it is decided in {durations.rough(left_ms)} at the latest")
            won = await client.wait_for(bid_id, {"won"}, left_ms / 1000 + renewing.WORD_S)
            showing.outcome(won, as_json=as_json)
            return 0

    return output.run(work())


def _limit(spend: str) -> int:
    """Micro-credits; 0 where nothing was typed.

    Raises:
        BadInput: no amount, or 0, which would read as no limit.
    """
    amount = money.parse_credits(spend) if spend else 0
    if spend and not amount:
        raise BadInput("--spend 0: name the credits that all terms may cost, or leave it out")
    return amount


async def _kept(client: clients.Client, lease: leases.Lease, terms: renewing.Terms) -> None:
    lost: list[OutcomeReported] = []
    await renewing.keep(
        client, lease, terms, lost.append,
        lambda renewed, spent: output.note(renewed_line(renewed, spent, terms)),
    )  # fmt: skip
    if lost:
        raise Refusal(lost[0])


def renewed_line(renewed: OutcomeReported, spent_micros: int, terms: renewing.Terms) -> str:
    """What a person reads of one more term."""
    limit = f" of {money.format_credits(terms.spend_micros)}" if terms.spend_micros else ""
    return (
        f"renewed until {showing.moment(renewed.ends_at_ms)} for "
        f"{money.format_credits(renewed.price_micros)}; "
        f"{money.format_credits(spent_micros)}{limit} credits spent"
    )


def stopped_line(lease: leases.Lease, now_ms: int) -> str:
    """What a person reads when no term is bid for any more."""
    return (
        "another term would be beyond --hours or --spend: the lease ends in "
        f"{durations.rough(lease.ends_at_ms - now_ms)}, at {showing.moment(lease.ends_at_ms)}"
    )


def standing(lease_id: str, told: list[OutcomeReported]) -> leases.Lease:
    """The lease as its outcomes have it.

    Raises:
        BadInput: none of them says that it is bound, or one says that it is over.
    """
    about = [one for one in told if one.lease_id == lease_id and one.kind != "settled"]
    won = next((one for one in about if one.kind == "won"), None)
    bound = next((one for one in about if one.kind == "bound"), None)
    if won is None or bound is None or any(one.kind in _OVER for one in about):
        raise BadInput(f"{lease_id} is no bound lease of yours: see `bidplane allocations`")
    lease = leases.Lease(won, bound)
    for one in about:
        lease.hear(one)
    return lease
