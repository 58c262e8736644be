"""An agent that takes what is worth its price: one to six MIG slices, again and again.

bidplane agent register research/elastic --credits 20
BIDPLANE_AGENT=research/elastic python elastic_agent.py pool-a 30
"""

# ruff: noqa: INP001, T201 - an example is a script that prints
import asyncio
import sys

from bidplane_agents import bidder, strategies
from bidplane_agents.client import Client
from bidplane_agents.errors import BidplaneError
from bidplane_agents.view import View
from bidplane_topics.money import format_credits


def show(view: View) -> None:
    """One line for whatever was told last."""
    last = view.last
    if last is not None and last.kind in ("won", "lost", "refused", "ended"):
        price = format_credits(last.price_micros)
        print(f"{last.kind}: level {last.level}, price {price}. {last.sentence}", flush=True)


async def main(market: str, seconds: float) -> None:
    """Bid 0.05 credits for each slice and minute."""
    slices = strategies.MigSlices(market=market, duration_ms=60_000, value_micros=50_000)
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, stop.set)
    async with Client.from_environment() as client:
        await bidder.run(client, slices, every_s=2, stop=stop, watch=show)


if __name__ == "__main__":
    if len(sys.argv) != 3 or not sys.argv[2].isdecimal():
        sys.stderr.write(
            "usage: elastic_agent.py MARKET SECONDS, as in: elastic_agent.py pool-a 30\n"
        )
        sys.exit(2)
    try:
        asyncio.run(main(sys.argv[1], float(sys.argv[2])))
    except BidplaneError as error:
        sys.exit(str(error))
