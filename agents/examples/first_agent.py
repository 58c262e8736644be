"""A first agent: bid for one device, use it, give it back.

Run it as

bidplane agent register research/first --credits 20
BIDPLANE_AGENT=research/first python first_agent.py pool-a
"""

# ruff: noqa: INP001, T201 - an example is a script that prints
import asyncio
import sys

from bidplane_agents.client import Client
from bidplane_agents.errors import BidplaneError
from bidplane_topics.money import format_credits


async def main(market: str) -> None:
    """Hold one device for a minute, at most for half a credit."""
    async with (
        Client.from_environment() as client,
        client.lease(market=market, shape="1", minutes=1, value="0.50") as lease,
    ):
        device = lease.devices[0]
        print(f"{device.name} on {device.node} for {format_credits(lease.price_micros)} credits")
        print(f"write with epoch {lease.epoch}; anything older is refused")
        await asyncio.sleep(5)  # the work


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.stderr.write("usage: first_agent.py MARKET, as in: first_agent.py pool-a\n")
        sys.exit(2)
    try:
        asyncio.run(main(sys.argv[1]))
    except BidplaneError as error:  # refused, outbid, unreachable: one sentence says which
        sys.exit(str(error))
