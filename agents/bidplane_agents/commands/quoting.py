"""`bidplane quote`: what a bid would have had to name lately."""

from __future__ import annotations

from typing import Annotated

import typer

from bidplane_agents import connection as connections
from bidplane_agents import durations, placing, quotes
from bidplane_agents.commands import options, output


def quote(
    *,
    market: Annotated[str, typer.Option(help="The market to ask about.")],
    shape: Annotated[str, typer.Option(help="1g 2g 3g 4g, or 1 2 4 8 16 32 64 devices.")],
    minutes: Annotated[str, typer.Option(help="How long, in minutes.")],
    select: Annotated[list[str] | None, typer.Option(metavar="ATTR=VALUE")] = None,
    rounds: Annotated[
        int, typer.Option(min=1, max=10_000, help="How many of the last rounds to look at.")
    ] = quotes.ROUNDS,
    kafka: options.Kafka = "",
    directory: options.Directory = "",
    as_json: options.AsJson = False,
) -> int:
    """Tell what a bid would have had to name in the last rounds, by pool.

    The figures come from public rounds: the next window has other bidders. Example:
    bidplane quote --market pool-a --shape 2 --minutes 10
    """
    duration_ms = durations.minutes_ms("--minutes", minutes)
    wanted = placing.alternative(shape, duration_ms, placing.parse_selector(select or []))
    reached = connections.from_environment(kafka, directory)
    found = output.run(quotes.fetch(reached, market, wanted, rounds))
    if as_json:
        output.json(found)
        return 0
    for one in found:
        output.line(quotes.sentence(one))
    return 0
