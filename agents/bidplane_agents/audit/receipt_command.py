"""``bidplane audit --receipt``: is this receipt sound, and is its root the published one?

Decides what is printed and the exit code. Refuses to judge the round itself: `bidplane audit` does
that from the whole log.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import sys
from pathlib import Path
from typing import Any

import msgspec
import orjson

from bidplane_agents import log
from bidplane_agents.audit import presented
from bidplane_agents.audit.presented import Presented
from bidplane_agents.connection import Connection
from bidplane_topics import registry
from bidplane_topics.markets import MarketDeclared
from bidplane_topics.money import format_credits
from bidplane_topics.receipts import OrderFate


def run(path: str, connection: Connection | None, as_json: bool) -> int:
    """Check the receipt in a file, and against the published round where there is a connection.

    Returns the exit code: 0 it is sound, 5 it is not.

    Raises:
        BadInput: it is no receipt.
        Unreachable: Kafka does not answer.
    """
    given = presented.load(Path(path))
    problem, compared = presented.problem(given), False
    if connection is not None and not problem:
        # Kafka's client would log every retry: our errors say it once.
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
        problem, compared = asyncio.run(_published(connection, given))
    if as_json:
        data = _as_data(given, problem, compared)
        text = orjson.dumps(data, option=orjson.OPT_INDENT_2).decode()
    elif problem:
        text = f"{path} is not sound: {problem}"
    else:
        text = "\n".join(_as_lines(given, compared, asked=connection is not None))
    sys.stdout.write(text + "\n")
    return 5 if problem else 0


async def _published(connection: Connection, given: Presented) -> tuple[str, bool]:
    """What is wrong with the receipt's root, and whether there was a round to compare it with."""
    market, window = given.terms.market, given.terms.window
    partition, oldest = None, None
    async for _, event in log.events(connection, registry.MARKETS):
        if isinstance(event, MarketDeclared) and event.market == market:
            partition = event.partition
    if partition is None:
        return f"Kafka knows no market {market}", False
    rounds = log.events(connection, registry.ROUNDS, partition)
    async with contextlib.aclosing(rounds):  # it may be left early
        async for _, closed in rounds:
            oldest = closed.window if oldest is None else oldest
            if (closed.market, closed.window) == (market, window):
                wrong = f"window {window} of {market} was published with the root {closed.root}"
                return ("", True) if closed.root == given.receipt.root else (wrong, True)
    if oldest is None or oldest > window:  # too old to be kept
        return "", False
    return f"{market} published no round for window {window}", True


def _as_data(given: Presented, problem: str, compared: bool) -> dict[str, Any]:
    return {
        "sound": not problem, "problem": problem, "compared_with_published_round": compared,
        "agent": given.leaf.agent, "market": given.terms.market, "window": given.terms.window,
        "closed_at_ms": given.terms.closed_at_ms, "root": given.receipt.root,
        "orders": msgspec.to_builtins(given.leaf.orders),
    }  # fmt: skip


def _as_lines(given: Presented, compared: bool, *, asked: bool) -> list[str]:
    terms, leaf = given.terms, given.leaf
    round_said = f"window {terms.window} of {terms.market}, closed {_moment(terms.closed_at_ms)}"
    lines = [f"receipt of {leaf.agent} for {round_said} by rule {terms.rule}"]
    lines += [f"  {order.bid_id}: {_said(order)}" for order in leaf.orders]
    if leaf.parts > 1:
        lines.append(f"part {leaf.part} of {leaf.parts}: the other bids are in other receipts")
    lines.append(
        f"sound: leaf {given.receipt.index + 1} of {terms.leaves} leads to root "
        f"{given.receipt.root}"
    )
    if compared:
        lines.append("the published round has the same root")
    elif asked:
        lines.append("not compared: Kafka no longer keeps that round")
    else:
        lines.append("not compared with the published round: name Kafka with --kafka")
    return lines


def _moment(at_ms: int) -> str:
    try:
        at = dt.datetime.fromtimestamp(at_ms / 1000, tz=dt.UTC)
    except (ValueError, OverflowError, OSError):  # beyond the calendar's last year
        return f"at {at_ms} ms"
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def _said(order: OrderFate) -> str:
    value = format_credits(order.value_micros)
    if order.award is None or order.cleared is None:
        return f"{order.fate}, value {value}"
    won = order.cleared.alternatives[order.award.alternative]
    copies = f"{order.award.level} times " if order.mode == "elastic" else ""
    return (
        f"won {copies}shape {won.shape} of {won.pool} for {won.slots} slots, pays "
        f"{format_credits(order.award.price_micros)}, value {value}"
    )
