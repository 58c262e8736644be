"""The command that moves a node to another market."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Final

import typer

from bidplane_agents import connection as connections
from bidplane_agents import moving, operator
from bidplane_agents.commands import options, output

_LOOK_EVERY_S: Final = 2.0


def move_node(
    *,
    node: Annotated[str, typer.Argument()],
    to: Annotated[str, typer.Option("--to", metavar="MARKET", help="Where it is to be sold.")],
    wait: Annotated[bool, typer.Option(help="Follow until it is on sale there.")] = False,
    kafka: options.Kafka = "",
    directory: options.Directory = "",
    as_json: options.AsJson = False,
) -> int:
    """Move a node to another market of its cluster, drained: running leases go on to their end.

    No market sells it any more until the last lease on it is over; then the new one does. The
    newest move counts; moving it back is another move.

    Example: bidplane market move-node node-003 --to inference --wait
    """
    reached = connections.from_environment(kafka, directory)

    async def work() -> moving.Moved:
        """Do what needs Kafka."""
        async with operator.Operator(reached) as hand:
            moved = await moving.move(hand, node, to)
            if wait and moved.assignment:
                await _follow(moved, reached)
            return moved

    moved = output.run(work())
    if as_json:
        output.json(moved)
    elif moved.already:
        output.line(f"{node} is assigned to {to} already")
    else:
        output.line(f"{node} is assigned to {to}")
    return 0


async def _follow(moved: moving.Moved, reached: connections.Connection) -> None:
    """Tell every stage once, until the node is handed over."""
    said = ""
    while True:
        now = await moving.stage(reached, moved)
        text = moving.sentence(moved, now, _clock)
        if text != said:
            output.note(text)
            said = text
        if now.done:
            return
        await asyncio.sleep(_LOOK_EVERY_S)


def _clock(at_ms: int) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at_ms / 1000))
