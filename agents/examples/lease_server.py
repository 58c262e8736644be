"""An inference server on standing claims: many requests under one lease of a second or two.

bidplane agent register research/chat --credits 20
BIDPLANE_AGENT=research/chat python lease_server.py fast 50

Server and client are one program here. In earnest the server is its operator's, beside the devices,
and follows the tenants that it serves; a client sends its lease and epoch with every request.
"""

# ruff: noqa: INP001, T201 - an example is a script that prints
import asyncio
import sys

from bidplane_agents.client import Client
from bidplane_agents.errors import BidplaneError
from bidplane_agents.gate import Gate
from bidplane_agents.lease import Lease


class Server:
    """Answers those who hold a lease now."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate

    def answer(self, lease_id: str, epoch: int, prompt: str) -> str:
        """The model's answer, or nothing for somebody whose lease does not stand."""
        return f"echo {prompt}" if self.gate.allows(lease_id, epoch) else ""


async def until_known(server: Server, lease: Lease) -> None:
    """The server hears of a lease when its holder does, perhaps a moment later."""
    while not server.answer(lease.lease_id, lease.epoch, "hello"):
        await asyncio.sleep(0.01)


async def main(market: str, count: int) -> None:
    """Win a device for some seconds, use it ``count`` times, and once too late."""
    async with Client.from_environment() as client:
        async with client.lease(market=market, shape="1", minutes=0.1, value="0.50") as lease:
            server = Server(Gate(device.uuid for device in lease.devices))
            following = asyncio.create_task(
                server.gate.follow(client.connection, [client.profile.tenant])
            )
            await until_known(server, lease)
            asked = [server.answer(lease.lease_id, lease.epoch, str(n)) for n in range(count)]
            print(f"{sum(map(bool, asked))} of {count} requests served under epoch {lease.epoch}")
        while server.answer(lease.lease_id, lease.epoch, "too late"):
            await asyncio.sleep(0.01)
        print("after the lease: refused")
        following.cancel()


if __name__ == "__main__":
    if len(sys.argv) != 3 or not sys.argv[2].isdecimal():
        sys.stderr.write("usage: lease_server.py MARKET REQUESTS, as in: lease_server.py fast 50\n")
        sys.exit(2)
    try:
        asyncio.run(main(sys.argv[1], int(sys.argv[2])))
    except BidplaneError as error:
        sys.exit(str(error))
