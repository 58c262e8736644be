"""Commands of agents that deal with each other: offer, accept."""

from __future__ import annotations

from typing import Annotated

import typer

from bidplane_agents import client as clients
from bidplane_agents.commands import options, output, showing
from bidplane_agents.errors import BadInput
from bidplane_topics import offers


def offer(
    *,
    lease_id: Annotated[str, typer.Argument(metavar="LEASE")],
    to: Annotated[str, typer.Option(metavar="TENANT/NAME", help="The agent that may take it.")],
    price: Annotated[str, typer.Option(help="Credits for all that is left of the lease.")],
    timeout: options.Timeout = 30.0,
    agent: options.Agent = "",
    kafka: options.Kafka = "",
    directory: options.Directory = "",
    as_json: options.AsJson = False,
) -> int:
    """Offer a lease of yours to another agent; prints the offer's id, which that agent needs.

    A newer offer of the lease takes its place; it ends with the lease. Example:
    bidplane offer l0123456789abcdef01234567 --to research/other --price 2.50
    """

    async def work() -> str:
        """Do what needs Kafka."""
        speaker = clients.Client.from_environment(agent, kafka=kafka, directory=directory)
        async with speaker as client:
            return await client.offer(lease_id, to=to, price=price, timeout_s=timeout)

    offer_id = output.run(work())
    output.json({"offer_id": offer_id}) if as_json else output.line(offer_id)
    return 0


def accept(
    *,
    offer_id: Annotated[str, typer.Argument(metavar="OFFER")],
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until the lease is bound or declined.")
    ] = False,
    timeout: options.Timeout = 120.0,
    agent: options.Agent = "",
    kafka: options.Kafka = "",
    directory: options.Directory = "",
    as_json: options.AsJson = False,
) -> int:
    """Take an offer made to you: its price is held now and paid when the lease is bound.

    Prints the id under which `bidplane why` tells what became of it. Example:
    bidplane accept offer:pool-a:l0123456789abcdef01234567:lab/other:2500000:0123456789ab --wait
    """
    terms = offers.terms_of(offer_id)
    if terms is None:
        raise BadInput(f"{offer_id!r} is no offer's id: copy what `bidplane offer` printed")

    async def work() -> int:
        """Do what needs Kafka."""
        speaker = clients.Client.from_environment(
            agent, kafka=kafka, directory=directory, listen=wait
        )
        async with speaker as client:
            name = await client.accept(offer_id)
            if not wait:
                output.json({"bid_id": name}) if as_json else output.line(name)
                return 0
            output.note(f"sent {name}")
            await client.wait_for(name, {"won"}, timeout, command_id=name)
            output.note("taken; waiting for the devices")
            bound = await client.wait_for(name, {"bound"}, timeout)
            showing.bought(bound, terms.price_micros, as_json=as_json)
            return 0

    return output.run(work())
