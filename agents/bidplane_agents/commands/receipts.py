"""The command that finds a receipt: of a bid, or of a round."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bidplane_agents import client as clients
from bidplane_agents import errors, history
from bidplane_agents import receipts as found_receipts
from bidplane_agents.commands import options, output, showing
from bidplane_topics import codec
from bidplane_topics.money import format_credits
from bidplane_topics.receipts import Receipt


def receipt(
    *,
    bid_id: Annotated[str, typer.Argument(metavar="BID")] = "",
    window: Annotated[int | None, typer.Option(help="Of this round instead.")] = None,
    market: Annotated[str, typer.Option(help="With --window: in this market.")] = "",
    out: Annotated[Path | None, typer.Option(help="Keep the receipt in this file.")] = None,
    agent: options.Agent = "",
    kafka: options.Kafka = "",
    directory: options.Directory = "",
    as_json: options.AsJson = False,
) -> int:
    """Show the receipt of a bid's last round; `audit --receipt` checks it offline."""
    if bool(bid_id) == (window is not None):
        raise errors.BadInput("name a BID, or a round with --window N")
    client = clients.Client.from_environment(agent, kafka=kafka, directory=directory, listen=False)
    profile = client.profile
    told = output.run(history.own(client.connection, profile.tenant, profile.agent))
    if window is None:
        found = found_receipts.of_bid(told, bid_id)
    else:
        found = found_receipts.of_round(told, window, market)
    if out is not None:
        _keep(found, out)
        output.note(f"kept in {out}: check it with `bidplane audit --receipt {out}`")
    output.json(found) if as_json else _show(found)
    return 0


def _keep(found: Receipt, out: Path) -> None:
    try:
        out.write_text(codec.pretty(found) + "\n", encoding="utf-8")
    except OSError as error:
        raise errors.BadInput(f"{out}: {error.strerror}: name a file to write") from error


def _show(found: Receipt) -> None:
    leaf, terms = found_receipts.leaf_of(found), found_receipts.terms_of(found)
    output.facts([
        ("agent", leaf.agent), ("market", terms.market), ("window", str(terms.window)),
        ("closed at", showing.moment(terms.closed_at_ms)), ("root", found.root),
        ("leaf", f"{found.index + 1} of {terms.leaves}"),
    ])  # fmt: skip
    output.table(["bid", "fate", ">value", ">price"], (
        [order.bid_id, order.fate, format_credits(order.value_micros),
         "" if order.award is None else format_credits(order.award.price_micros)]
        for order in leaf.orders
    ))  # fmt: skip
